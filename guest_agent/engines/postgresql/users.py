"""Users: plain login roles whose password is known by its verifier alone."""

import re

from psycopg import sql

from guest_agent.engines.base import EngineError
from guest_agent.engines.postgresql import belongings
from guest_agent.engines.postgresql.admin import Admin, Connection, check_name
from guest_agent.engines.postgresql.names import ADMIN, HEIR
from guest_agent.protocol import DeletionPolicy, DesiredUser

_VERIFIER = re.compile(r"SCRAM-SHA-256\$[0-9]{1,9}:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+")
"""https://www.postgresql.org/docs/current/catalog-pg-authid.html. Anything else would be taken for
a password in clear."""

_PLAIN = sql.SQL(
    "LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
    " CONNECTION LIMIT -1 VALID UNTIL 'infinity'"
)
_DRIFTED = """
SELECT rolpassword IS DISTINCT FROM %s,
    NOT (rolcanlogin AND rolinherit) OR rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication
    OR rolbypassrls OR rolconnlimit <> -1 OR coalesce(rolvaliduntil < 'infinity', false)
FROM pg_authid WHERE rolname = %s
"""


def names(connection: Connection) -> list[str]:
    """All roles that may log in but the engine's own and the agent's."""
    rows = connection.execute(
        "SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname !~ '^pg_' AND rolname <> %s"
        " ORDER BY rolname",
        [ADMIN],
    ).fetchall()
    return [row[0] for row in rows]


def ensure(admin: Admin, user: DesiredUser) -> str | None:
    """Create the role, or put its verifier, attributes and memberships right."""
    name, verifier = user["name"], user["verifier"]
    _check(name)
    if not _VERIFIER.fullmatch(verifier):
        raise EngineError(f"The verifier of user {name} is no SCRAM-SHA-256 verifier")
    with admin.session() as connection:
        row = connection.execute(_DRIFTED, [verifier, name]).fetchone()
        done: list[str] = []
        if row is None or any(row):
            connection.execute(
                sql.SQL("{} ROLE {} WITH {} PASSWORD {}").format(
                    sql.SQL("CREATE" if row is None else "ALTER"),
                    sql.Identifier(name),
                    _PLAIN,
                    sql.Literal(verifier),
                )
            )
            if row is None:
                done.append("created")
            elif row[0]:
                done.append("password set")
            if row and row[1]:
                done.append("made a plain login role again")
        done += _leave_roles(connection, name)
    return f"User {name}: {', '.join(done)}" if done else None


def _leave_roles(connection: Connection, name: str) -> list[str]:
    """A membership would give more than the user's grants say."""
    rows = connection.execute(
        "SELECT roleid::regrole::text, pg_get_userbyid(roleid), pg_get_userbyid(grantor)"
        " FROM pg_auth_members WHERE member = (SELECT oid FROM pg_roles WHERE rolname = %s)",
        [name],
    ).fetchall()
    tracked = connection.info.server_version >= 160000  # before, a membership has one grantor
    for _, role, grantor in rows:
        statement = sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(role), sql.Identifier(name))
        if tracked:
            statement += sql.SQL(" GRANTED BY {}").format(sql.Identifier(grantor))
        connection.execute(statement + sql.SQL(" CASCADE"))
    return [f"taken out of role {shown}" for shown, _, _ in rows]


def drop(admin: Admin, name: str, policy: DeletionPolicy) -> str | None:
    """End the user's sessions, give what it owns to the owner of its database, drop the role."""
    _check(name)
    with admin.session() as connection:
        row = connection.execute("SELECT oid FROM pg_roles WHERE rolname = %s", [name]).fetchone()
        if row is None:
            return None
        role = row[0]
        if policy == "refuse" and (owned := belongings.described(admin, role)):
            raise EngineError(
                f"User {name} owns {'; '.join(owned)}. Its deletion_policy is refuse: give this to others,"
                " drop it, or change the policy to reassign."
            )
        identifier = sql.Identifier(name)
        connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(identifier))
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usesysid = %s",
            [role],
        )
        left = belongings.hand_over(admin, role)
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(identifier))
    return "; ".join([f"User {name}: dropped", *left])


def _check(name: str) -> None:
    check_name("user", name)
    if name in (ADMIN, HEIR) or name.startswith("pg_") or name in ("public", "none"):
        raise EngineError(f'"{name}" is a reserved user name; choose another')
