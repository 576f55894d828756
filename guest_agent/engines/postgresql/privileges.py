"""Privileges in the catalogs: reading them, and changing those that are not as wanted."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from psycopg import sql

from guest_agent.engines.base import EngineError
from guest_agent.engines.postgresql import belongings, grants, users
from guest_agent.engines.postgresql.admin import Admin, Connection, name_of
from guest_agent.engines.postgresql.names import ADMIN, OWN_DATABASES
from guest_agent.protocol import DesiredUser, SeenUser

_BATCH = 500
"""Objects named in one GRANT."""

_OBJECTS = sql.SQL("""
    SELECT 'DATABASE' AS kind, NULL::name AS schema, datname AS name, NULL::name AS part,
        datdba AS owner, datacl AS acl
    FROM pg_database WHERE datname = current_database()
UNION ALL
    SELECT 'SCHEMA', NULL, nspname, NULL, nspowner, nspacl FROM spaces
UNION ALL
    SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, nspname, relname, NULL,
        relowner, relacl
    FROM pg_class JOIN spaces ON spaces.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
UNION ALL
    SELECT 'COLUMN', nspname, relname, attname, relowner, attacl
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        JOIN spaces ON spaces.oid = relnamespace
    WHERE attacl IS NOT NULL AND NOT attisdropped
""")
_SPACES = sql.SQL("""
spaces AS (
    SELECT * FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
)
""")

_HELD = sql.SQL("""
WITH {spaces}, objects AS ({objects}
UNION ALL
    SELECT CASE defaclobjtype WHEN 'r' THEN 'TABLE' WHEN 'S' THEN 'SEQUENCE' ELSE 'SCHEMA' END,
        NULL, NULL, NULL, defaclrole, defaclacl
    FROM pg_default_acl WHERE defaclobjtype IN ('r', 'S', 'n')
)
SELECT grantee, CASE kind WHEN 'COLUMN' THEN 'TABLE' ELSE kind END,
    array_agg(DISTINCT privilege_type)
FROM objects, aclexplode(acl) WHERE grantee NOT IN (0, owner) GROUP BY 1, 2
""").format(spaces=_SPACES, objects=_OBJECTS)

# Who may make tables or schemas here: what they will make is to be granted too. `code` is
# pg_default_acl.defaclobjtype; default privileges that nobody wants are matched with NOTHING.
_DEVIATING = sql.SQL("""
WITH {spaces}, creators AS (
    SELECT oid FROM pg_roles AS r WHERE oid <> %(role)s AND (rolname = %(admin)s
        OR NOT rolsuper AND rolname !~ '^pg_' AND (
            has_database_privilege(oid, current_database(), 'CREATE')
            OR EXISTS (SELECT FROM spaces WHERE has_schema_privilege(r.oid, spaces.oid, 'CREATE'))))
), wanted (kind, privileges) AS (
    VALUES ('DATABASE', %(DATABASE)s::text[]), ('SCHEMA', %(SCHEMA)s), ('TABLE', %(TABLE)s),
        ('SEQUENCE', %(SEQUENCE)s), ('NOTHING', '{{}}')
), defaults (code, target, kind) AS (
    VALUES ('r'::"char", 'TABLES', 'TABLE'), ('S', 'SEQUENCES', 'SEQUENCE'),
        ('n', 'SCHEMAS', 'SCHEMA')
), objects AS (
    SELECT kind AS target, CASE kind WHEN 'COLUMN' THEN 'NOTHING' ELSE kind END AS kind,
        schema, name, part, owner, acl
    FROM ({objects}) AS existing
UNION ALL
    SELECT target, kind, NULL, NULL, NULL, creators.oid, defaclacl
    FROM creators CROSS JOIN defaults LEFT JOIN pg_default_acl
        ON defaclrole = creators.oid AND defaclnamespace = 0 AND defaclobjtype = code
UNION ALL
    SELECT target, 'NOTHING', nspname, NULL, NULL, defaclrole, defaclacl
    FROM pg_default_acl JOIN defaults ON code = defaclobjtype
        LEFT JOIN pg_namespace AS n ON n.oid = defaclnamespace
    WHERE defaclnamespace <> 0 OR defaclrole NOT IN (SELECT oid FROM creators)
)
SELECT target, schema, name, part, pg_get_userbyid(owner), wanted.privileges, held.entries
FROM objects JOIN wanted USING (kind) CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(privilege_type), '{{}}') AS privileges,
        coalesce(bool_or(is_grantable), false) AS grantable,
        coalesce(jsonb_agg(jsonb_build_array(
            pg_get_userbyid(grantor), privilege_type, is_grantable)), '[]') AS entries
    FROM aclexplode(acl) WHERE grantee = %(role)s
) AS held
WHERE owner <> %(role)s AND (held.grantable
    OR NOT (held.privileges @> wanted.privileges AND wanted.privileges @> held.privileges))
""").format(spaces=_SPACES, objects=_OBJECTS)

_CONCERNED = """
SELECT datname FROM pg_database WHERE datallowconn AND (datname = ANY(%s) OR oid IN (
    SELECT CASE WHEN classid = 'pg_database'::regclass THEN objid ELSE dbid END
    FROM pg_shdepend
    WHERE refclassid = 'pg_authid'::regclass AND refobjid = %s AND deptype = 'a'))
ORDER BY datname
"""


class _Object(NamedTuple):
    """One object, or one kind of object to come, on which the privileges are not as wanted."""

    target: str
    schema: str | None
    name: str | None
    part: str | None
    owner: str
    wanted: list[str]
    entries: list[tuple[str, str, bool]]
    """Grantor, privilege, whether it may be granted on."""

    @property
    def future(self) -> bool:
        return self.name is None

    def identifier(self) -> sql.Composable:
        names = (self.schema, self.name) if self.schema else (self.name,)
        return sql.Identifier(*(each for each in names if each is not None))

    def __str__(self) -> str:
        if self.future:
            return f"{self.target.lower()} to come"
        if self.target == "DATABASE":
            return "the database"
        parts = [each for each in (self.schema, self.name, self.part) if each]
        return f"{self.target.lower()} {'.'.join(parts)}"


def seen(admin: Admin) -> list[SeenUser]:
    """All users with their grants: each privilege that they have on any object of a database."""
    with admin.session() as connection:
        names = users.names(connection)
        roles = dict(connection.execute("SELECT oid, rolname FROM pg_roles").fetchall())
        owned = belongings.owners(connection)
        databases = connection.execute(
            "SELECT datname, datdba FROM pg_database WHERE datallowconn AND datconnlimit <> -2"
        ).fetchall()
    held: dict[str, dict[str, frozenset[str]]] = defaultdict(dict)
    for database, owner in databases:
        if database in OWN_DATABASES:
            continue
        with admin.session(database) as connection:
            rows = connection.execute(_HELD).fetchall()
        kinds: dict[int, dict[str, frozenset[str]]] = defaultdict(dict)
        for grantee, kind, privileges in rows:
            kinds[grantee][kind] = frozenset(privileges)
        for grantee, of_kind in kinds.items():
            name = roles.get(grantee, "")
            held[name][database] = grants.from_objects(of_kind, owner == grantee)
    owns = {roles.get(role): databases for role, databases in owned.items()}
    return [
        SeenUser(name=name, host="%", grants=grants.as_grants(held.get(name, {})), owns=owns.get(name, []))
        for name in names
    ]


def ensure(admin: Admin, user: DesiredUser) -> str | None:
    """Make the user's privileges exactly the wanted ones in all databases."""
    name = user["name"]
    wanted = grants.normalised(user["grants"])
    if own := sorted(OWN_DATABASES & set(wanted)):
        raise EngineError(f"{', '.join(own)} is PostgreSQL's own database; nothing is granted there")
    with admin.session() as connection:
        row = connection.execute("SELECT oid FROM pg_roles WHERE rolname = %s", [name]).fetchone()
        if row is None:
            raise EngineError(f"User {name} does not exist")
        concerned = [each[0] for each in connection.execute(_CONCERNED, [list(wanted), row[0]]).fetchall()]
    done: list[str] = []
    for database in concerned:
        with admin.session(database) as connection, connection.transaction():
            changes = _put_right(connection, row[0], wanted.get(database, frozenset()))
        done += [f"{change} in {database}" for change in changes]
    if missing := sorted(set(wanted) - set(concerned)):
        raise EngineError(f"Grants to {name}: there is no database {', '.join(missing)}")
    if not done:
        return None
    more = f" and {len(done) - 5} more" if len(done) > 5 else ""
    return f"Grants of {name}: {'; '.join(done[:5])}{more}"


def _put_right(connection: Connection, role: int, privileges: frozenset[str]) -> list[str]:
    on_objects = grants.on_objects(privileges, connection.info.server_version)
    parameters: dict[str, Any] = {"role": role, "admin": ADMIN, **on_objects}
    deviating = [_Object(*row) for row in connection.execute(_DEVIATING, parameters).fetchall()]
    if not deviating:
        return []
    name = name_of(connection, role)
    done: list[str] = []
    to_grant: dict[tuple[str, tuple[str, ...]], list[_Object]] = defaultdict(list)
    for each in deviating:
        for change in _revocations(connection, name, each):
            done.append(f"{change} on {each}")
        held = {privilege for _, privilege, _ in each.entries}
        missing = tuple(p for p in each.wanted if p not in held)
        if missing and each.future:
            _alter_defaults(connection, name, each, "GRANT", missing)
        elif missing:
            to_grant[each.target, missing].append(each)
        if missing:
            done.append(f"granted {', '.join(missing)} on {each}")
    for (target, missing), objects in to_grant.items():
        for start in range(0, len(objects), _BATCH):
            connection.execute(
                sql.SQL("GRANT {} ON {} {} TO {}").format(
                    _keywords(missing),
                    sql.SQL(target),
                    sql.SQL(", ").join(each.identifier() for each in objects[start : start + _BATCH]),
                    sql.Identifier(name),
                )
            )
    return list(dict.fromkeys(done))


def _revocations(connection: Connection, name: str, of: _Object) -> Iterator[str]:
    """Take away what is not wanted and the right to grant on, each as the one who granted it."""
    by_grantor: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for grantor, privilege, grantable in of.entries:
        if privilege not in of.wanted:
            by_grantor[grantor, False].append(privilege)
        elif grantable:
            by_grantor[grantor, True].append(privilege)
    for (grantor, option), extra in by_grantor.items():
        if of.future:
            _alter_defaults(connection, name, of, "REVOKE", tuple(extra), option)
        else:
            _revoke(connection, name, of, grantor, extra, option)
        yield f"revoked {'the grant option of ' if option else ''}{', '.join(extra)}"


def _revoke(
    connection: Connection,
    name: str,
    of: _Object,
    grantor: str,
    extra: list[str],
    option: bool,
) -> None:
    target = "TABLE" if of.target == "COLUMN" else of.target
    privileges = _keywords(tuple(extra))
    if of.part:
        column = sql.SQL(" ({})").format(sql.Identifier(of.part))
        privileges = sql.SQL(", ").join(_keywords((each,)) + column for each in extra)
    statement = sql.SQL("REVOKE {}{} ON {} {} FROM {} CASCADE").format(
        sql.SQL("GRANT OPTION FOR " if option else ""),
        privileges,
        sql.SQL(target),
        of.identifier(),
        sql.Identifier(name),
    )
    if grantor == of.owner:
        connection.execute(statement)
        return
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(grantor)))
    connection.execute(statement)
    connection.execute("RESET ROLE")


def _alter_defaults(
    connection: Connection,
    name: str,
    of: _Object,
    verb: str,
    privileges: tuple[str, ...],
    option: bool = False,
) -> None:
    place = sql.SQL(" IN SCHEMA {}").format(sql.Identifier(of.schema)) if of.schema else sql.SQL("")
    connection.execute(
        sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {}{} {} {}{} ON {} {} {}").format(
            sql.Identifier(of.owner),
            place,
            sql.SQL("GRANT" if verb == "GRANT" else "REVOKE"),
            sql.SQL("GRANT OPTION FOR " if option else ""),
            _keywords(privileges),
            sql.SQL(of.target),
            sql.SQL("TO" if verb == "GRANT" else "FROM"),
            sql.Identifier(name),
        )
    )


def _keywords(privileges: tuple[str, ...]) -> sql.Composed:
    """Privileges are keywords of PostgreSQL's own, read from its catalogs or from our list."""
    return sql.SQL(", ").join(sql.SQL(each) for each in privileges)
