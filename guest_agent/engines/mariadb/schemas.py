"""Databases, which SQL also calls schemas, and the character sets they can have."""

from collections import defaultdict

from guest_agent.engines.base import EngineError
from guest_agent.engines.mariadb.session import Session, identifier
from guest_agent.protocol import DesiredDatabase, SeenDatabase

_OWN = ("information_schema", "mysql", "performance_schema", "sys")


def databases(server: Session, named: str | None = None) -> list[SeenDatabase]:
    """All but the engine's own, or the one of this name."""
    rows = server.rows(
        "SELECT SCHEMA_NAME AS name, DEFAULT_CHARACTER_SET_NAME AS character_set, "
        "DEFAULT_COLLATION_NAME AS collation FROM information_schema.SCHEMATA "
        "WHERE SCHEMA_NAME NOT IN %s AND (%s IS NULL OR SCHEMA_NAME = %s) ORDER BY SCHEMA_NAME",
        _OWN,
        named,
        named,
    )
    return [
        {
            "name": row["name"],
            "character_set": row["character_set"],
            "collation": row["collation"],
            "owner": None,
        }
        for row in rows
    ]


def ensure(server: Session, database: DesiredDatabase) -> str | None:
    """Create it, or give it the wanted defaults; tables that exist keep theirs."""
    name = _checked(database["name"])
    before = _one(server, name)
    wanted = {
        "CHARACTER SET": (database["character_set"], before and before["character_set"]),
        "COLLATE": (database["collation"], before and before["collation"]),
    }
    asked = [(words, value) for words, (value, _) in wanted.items() if value]
    options = "".join(f" {words} %s" for words, _ in asked)
    values = [value for _, value in asked]
    if before is None:
        server.run(f"CREATE DATABASE {identifier(name)}{options}", *values)
        return f"database {name} created"
    if all(value is None or value == is_now for value, is_now in wanted.values()):
        return None
    server.run(f"ALTER DATABASE {identifier(name)}{options}", *values)
    after = _one(server, name)
    if before == after or after is None:  # another name of the same character set
        return None
    return f"database {name}: {before['collation']} became {after['collation']}"


def drop(server: Session, name: str) -> str | None:
    if _one(server, _checked(name)) is None:
        return None
    server.run(f"DROP DATABASE IF EXISTS {identifier(name)}")
    return f"database {name} dropped"


def _checked(name: str) -> str:
    if name.lower() in _OWN:
        raise EngineError(f"database {name} is MariaDB's own")
    return name


def _one(server: Session, name: str) -> SeenDatabase | None:
    return next((one for one in databases(server, name) if one["name"] == name), None)


def character_sets(server: Session) -> dict[str, list[str]]:
    """Character set -> its collations, by their full names."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in server.rows("SELECT * FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"):
        collation = row.get("FULL_COLLATION_NAME") or row["COLLATION_NAME"]  # before 10.10: one name
        if row["CHARACTER_SET_NAME"]:
            found[row["CHARACTER_SET_NAME"]].append(collation)
    return {name: sorted(collations) for name, collations in sorted(found.items())}
