"""What users own, and where it goes when they go.

https://www.postgresql.org/docs/current/role-removal.html
"""

from collections import defaultdict

from psycopg import sql

from guest_agent.engines.base import EngineError
from guest_agent.engines.postgresql.admin import Admin, Connection, name_of
from guest_agent.engines.postgresql.names import ADMIN, ADMIN_DATABASE, HEIR

_NAMED = 20
"""Objects of a database that are named; of more only the number is said."""

# Default privileges and user mappings are a role's own too, but nobody else's use: they go with it.
_OWNED = """
refclassid = 'pg_authid'::regclass AND deptype = 'o'
    AND classid NOT IN ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass)
"""
_OWNERS = f"""
SELECT DISTINCT refobjid, datname FROM pg_shdepend JOIN pg_database AS d
    ON d.oid = CASE WHEN classid = 'pg_database'::regclass THEN objid ELSE dbid END
WHERE {_OWNED} ORDER BY datname
"""  # noqa: S608 - of our own words
_HERE = f"""
SELECT pg_describe_object(classid, objid, 0) FROM pg_shdepend AS s
WHERE {_OWNED} AND refobjid = %s
    AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND NOT EXISTS (SELECT FROM pg_class WHERE s.classid = 'pg_class'::regclass AND oid = s.objid
        AND relpersistence = 't')
ORDER BY classid, objid
"""  # noqa: S608
_CONCERNED = """
SELECT datname, datdba FROM pg_database
WHERE datallowconn AND (datname = %s OR oid IN (SELECT dbid FROM pg_shdepend
    WHERE refclassid = 'pg_authid'::regclass AND refobjid = %s))
"""


def owners(connection: Connection) -> dict[int, list[str]]:
    """Role -> the databases that are its own, or in which objects are."""
    found: dict[int, list[str]] = defaultdict(list)
    for role, database in connection.execute(_OWNERS).fetchall():
        found[role].append(database)
    return found


def described(admin: Admin, role: int) -> list[str]:
    """In words what the role owns, database by database; temporary tables are none of it."""
    with admin.session() as connection:
        mine = connection.execute("SELECT datname FROM pg_database WHERE datdba = %s", [role]).fetchall()
        databases = owners(connection).get(role, [])
    found = [f"database {name}" for (name,) in mine]
    for database in databases:
        with admin.session(database) as connection:
            names = [row[0] for row in connection.execute(_HERE, [role]).fetchall()]
        more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
        if names:
            found.append(f"in {database}: {', '.join([*names[:_NAMED], *more])}")
    return found


def hand_over(admin: Admin, role: int) -> list[str]:
    """Give all that the role owns to its database's owner and take its privileges away.

    Returns what went where, in words.
    """
    with admin.session() as connection:
        databases = owners(connection).get(role, [])
        for (name,) in connection.execute(
            "SELECT datname FROM pg_database WHERE datdba = %s", [role]
        ).fetchall():
            connection.execute(
                sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(ADMIN))
            )
        concerned = connection.execute(_CONCERNED, [ADMIN_DATABASE, role]).fetchall()
    heirs = {database: _leave(admin, database, role, owner) for database, owner in concerned}
    return [f"what it owned in {name} is {heirs[name]}'s now" for name in databases if name in heirs]


def _leave(admin: Admin, database: str, role: int, owner: int) -> str:
    """Returns the heir. Nothing is dropped but privileges: there is nothing of the role's left to drop."""
    with admin.session(database) as connection, connection.transaction():
        leaver, heir = name_of(connection, role), name_of(connection, owner)
        if heir == ADMIN:
            heir = _ownerless(connection)
        connection.execute(
            sql.SQL("REASSIGN OWNED BY {} TO {}").format(sql.Identifier(leaver), sql.Identifier(heir))
        )
        connection.execute(sql.SQL("DROP OWNED BY {} RESTRICT").format(sql.Identifier(leaver)))
    return heir


def claim(admin: Admin, database: str, owner: str) -> None:
    """Give a database's coming owner what others have left there while it was nobody's."""
    with admin.session(database) as connection:
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [HEIR]).rowcount:
            connection.execute(
                sql.SQL("REASSIGN OWNED BY {} TO {}").format(sql.Identifier(HEIR), sql.Identifier(owner))
            )


def _ownerless(connection: Connection) -> str:
    row = connection.execute(
        "SELECT rolcanlogin OR rolsuper FROM pg_roles WHERE rolname = %s", [HEIR]
    ).fetchone()
    if row is None:
        connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(HEIR)))
    elif row[0]:
        raise EngineError(f"Role {HEIR} is Coffret's own, and somebody made a user of it; drop that one")
    return HEIR
