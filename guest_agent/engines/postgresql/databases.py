"""Databases: their encoding, locale and owner."""

import re

from psycopg import sql

from guest_agent.engines.base import EngineError
from guest_agent.engines.postgresql import belongings
from guest_agent.engines.postgresql.admin import Admin, Connection, check_name
from guest_agent.engines.postgresql.names import ADMIN, OWN_DATABASES
from guest_agent.protocol import DesiredDatabase, SeenDatabase

_DEFAULT_ENCODING = "UTF8"
_LAST_SERVER_ENCODING = 34
"""PG_ENCODING_BE_LAST, src/include/mb/pg_wchar.h."""
_BROKEN = -2
"""datconnlimit of a database whose DROP was interrupted; nothing but DROP works on it."""

# Aliases such as en_US are left out, since pg_database shows what they stand for.
_LOCALES = """
SELECT collname, pg_encoding_to_char(collencoding)
FROM pg_collation
WHERE collnamespace = 'pg_catalog'::regnamespace AND collprovider = 'c'
    AND collname = collcollate AND collcollate = collctype AND collname NOT IN ('C', 'POSIX')
ORDER BY collname
"""


def seen(admin: Admin) -> list[SeenDatabase]:
    """All databases but the engine's own, with their owners where that is a user."""
    with admin.session() as connection:
        rows = connection.execute(
            sql.SQL(
                "SELECT datname, pg_encoding_to_char(encoding), {}, pg_get_userbyid(datdba)"
                " FROM pg_database ORDER BY datname"
            ).format(_collation(connection))
        ).fetchall()
    return [
        SeenDatabase(
            name=name,
            character_set=encoding,
            collation=_spelt(collation),
            owner=None if owner == ADMIN else owner,
        )
        for name, encoding, collation, owner in rows
        if name not in OWN_DATABASES
    ]


def character_sets(connection: Connection) -> dict[str, list[str]]:
    """Server encodings and the locales that a database in them can have, default first."""
    names = [
        row[0]
        for row in connection.execute(
            "SELECT pg_encoding_to_char(n) FROM generate_series(0, %s) AS n"
            " WHERE pg_encoding_to_char(n) NOT IN ('', 'MULE_INTERNAL')"  # no way to UTF8
            " ORDER BY n = pg_char_to_encoding('UTF8') DESC, 1",
            [_LAST_SERVER_ENCODING],
        ).fetchall()
    ]
    version = connection.info.server_version
    sets: dict[str, list[str]] = {name: ["C"] for name in names}
    if version >= 170000:
        sets["UTF8"].append("C.UTF-8")
    if version >= 180000:
        sets["UTF8"].append("PG_UNICODE_FAST")
    for name, encoding in connection.execute(_LOCALES).fetchall():
        for each in [encoding] if encoding else names:
            if each in sets and _spelt(name) not in sets[each]:
                sets[each].append(_spelt(name))
    sets["UTF8"].sort(key=lambda name: name != "C.UTF-8")
    return sets


def ensure(admin: Admin, database: DesiredDatabase) -> str | None:
    """Create the database, or put its owner and its openness right."""
    name = database["name"]
    check_name("database", name)
    if name in OWN_DATABASES:
        raise EngineError(f'"{name}" is PostgreSQL\'s own database; choose another name')
    done: list[str] = []
    with admin.session() as connection:
        found = connection.execute(
            "SELECT datconnlimit = %s FROM pg_database WHERE datname = %s", [_BROKEN, name]
        ).fetchone()
        if found and found[0]:
            connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
        if not found or found[0]:
            _create(connection, database)
            done.append("created")
        done += _put_right(admin, connection, database)
    return f"Database {name}: {', '.join(done)}" if done else None


def drop(admin: Admin, name: str) -> str | None:
    """Drop the database and the sessions in it."""
    if name in OWN_DATABASES:
        raise EngineError(f'"{name}" is PostgreSQL\'s own database and stays')
    with admin.session() as connection:
        if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).rowcount:
            return None
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    return f"Database {name}: dropped"


def _create(connection: Connection, database: DesiredDatabase) -> None:
    encoding = _encoding(connection, database["character_set"] or _DEFAULT_ENCODING)
    offered = character_sets(connection)[encoding]
    collation = database["collation"] or offered[0]
    if collation not in offered:
        raise EngineError(
            f'Collation "{collation}" does not go with character set {encoding}; '
            f"choose one of {', '.join(offered)}"
        )
    connection.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {} OWNER {} {}").format(
            sql.Identifier(database["name"]),
            sql.Literal(encoding),
            sql.Identifier(database["owner"] or ADMIN),
            _locale(connection, collation),
        )
    )


def _locale(connection: Connection, collation: str) -> sql.Composed:
    """CREATE DATABASE's words for a collation of `character_sets`."""
    version = connection.info.server_version
    if (collation == "C.UTF-8" and version >= 170000) or collation == "PG_UNICODE_FAST":
        return sql.SQL("LOCALE_PROVIDER builtin BUILTIN_LOCALE {} LOCALE 'C.UTF-8'").format(
            sql.Literal(collation)
        )
    return sql.SQL("LOCALE_PROVIDER libc LOCALE {}").format(sql.Literal(collation))


def _put_right(admin: Admin, connection: Connection, database: DesiredDatabase) -> list[str]:
    """Compare what exists with what is wanted; returns what was changed."""
    identifier = sql.Identifier(database["name"])
    row = connection.execute(
        sql.SQL(
            "SELECT pg_encoding_to_char(encoding), {}, pg_get_userbyid(datdba), datallowconn,"
            " EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba)))"
            "   WHERE grantee = 0)"
            " FROM pg_database WHERE datname = %s"
        ).format(_collation(connection)),
        [database["name"]],
    ).fetchone()
    if row is None:
        raise EngineError(f'Database "{database["name"]}" was dropped at the same moment')
    encoding, collation, owner, open_, public = row
    wanted_set, wanted_collation = database["character_set"], database["collation"]
    if wanted_set and _encoding(connection, wanted_set) != encoding:
        raise EngineError(
            f"The database has character set {encoding}, which cannot become {wanted_set}; "
            "create another database and move the data"
        )
    if wanted_collation and _spelt(wanted_collation) != _spelt(collation):
        raise EngineError(
            f"The database has collation {_spelt(collation)}, which cannot become "
            f"{wanted_collation}; create another database and move the data"
        )
    done: list[str] = []
    if not open_:
        connection.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true").format(identifier))
        done.append("opened for connections")
    if public:
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(identifier))
        done.append("closed to PUBLIC")
    wanted_owner = database["owner"] or ADMIN
    if owner != wanted_owner:
        if database["owner"]:
            belongings.claim(admin, database["name"], wanted_owner)
        connection.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(identifier, sql.Identifier(wanted_owner))
        )
        done.append(f"owner {owner} replaced by {wanted_owner}")
    return done


def _encoding(connection: Connection, name: str) -> str:
    """The engine's own spelling of an encoding's name."""
    row = connection.execute("SELECT pg_encoding_to_char(pg_char_to_encoding(%s))", [name]).fetchone()
    offered = character_sets(connection)
    if row is None or row[0] not in offered:
        raise EngineError(f'"{name}" is no character set here; one of {", ".join(offered)} would be')
    return str(row[0])


def _collation(connection: Connection) -> sql.SQL:
    """What pg_database calls the locale: not libc's has a column of its own."""
    if connection.info.server_version >= 170000:
        return sql.SQL("coalesce(datlocale, datcollate)")
    return sql.SQL("coalesce(daticulocale, datcollate)")


def _spelt(locale: str) -> str:
    """One spelling for the operating system's two: C.utf8 is C.UTF-8."""
    return re.sub(r"\.utf-?8$", ".UTF-8", locale, flags=re.IGNORECASE)
