"""Grants: which privileges a user has in which database, and making them exactly the wanted ones.

Per database: CONNECT, CREATE, TEMPORARY on the database itself; SELECT, INSERT, UPDATE, DELETE,
TRUNCATE, REFERENCES, TRIGGER on its tables and views, those there are and those to come; ALL is
everything and CREATE in its schemas. Each implies CONNECT, each of the second group USAGE of the
schemas; SELECT, INSERT and UPDATE reach the sequences too. What a user owns needs no grant.
"""

from collections.abc import Iterable, Mapping

from guest_agent.engines.base import EngineError
from guest_agent.protocol import Grant

DATABASE = ("CONNECT", "CREATE", "TEMPORARY")
TABLE = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
_ORDER = (*DATABASE, *TABLE)
_EVERYTHING = frozenset(_ORDER)

_SEQUENCE = {"SELECT": "SELECT", "INSERT": "USAGE", "UPDATE": "UPDATE"}


def normalised(grants: Iterable[Grant]) -> dict[str, frozenset[str]]:
    """Database -> privileges, {`ALL`} for all of them; grants for one database are put together."""
    found: dict[str, frozenset[str]] = {}
    for grant in grants:
        database = grant.get("database")
        if not database:
            raise EngineError("A grant on PostgreSQL names its database")
        privileges = frozenset(grant["privileges"])
        if unknown := privileges - _EVERYTHING - {"ALL"}:
            raise EngineError(
                f"PostgreSQL has no privilege {', '.join(sorted(unknown))}; "
                f"one of ALL, {', '.join(_ORDER)} would be"
            )
        if privileges:
            found[database] = found.get(database, frozenset()) | privileges | {"CONNECT"}
    return {name: frozenset({"ALL"}) if "ALL" in held else held for name, held in found.items()}


def as_grants(held: Mapping[str, frozenset[str]]) -> list[Grant]:
    """What `normalised` gives, as it goes into a report."""
    return [
        Grant(database=database, privileges=[p for p in ("ALL", *_ORDER) if p in privileges])
        for database, privileges in sorted(held.items())
        if privileges
    ]


def on_objects(privileges: frozenset[str], version: int) -> dict[str, list[str]]:
    """Normalised privileges in one database -> kind of object -> what PostgreSQL is to be told."""
    everything = "ALL" in privileges
    if everything:
        privileges = _EVERYTHING
    table = [each for each in TABLE if each in privileges]
    schema = ["USAGE"] if table else []
    if everything:
        schema.append("CREATE")
        if version >= 170000:
            table.append("MAINTAIN")
    return {
        "DATABASE": [each for each in DATABASE if each in privileges],
        "SCHEMA": schema,
        "TABLE": table,
        "SEQUENCE": [to for of, to in _SEQUENCE.items() if of in privileges],
        "NOTHING": [],
    }


def from_objects(held: Mapping[str, frozenset[str]], owner: bool) -> frozenset[str]:
    """Kind of object -> privileges seen on any of them; as `normalised`.

    `owner`: the database is the user's own, so that it may do all on the database itself.
    """
    table = held.get("TABLE", frozenset()) & _EVERYTHING
    database = held.get("DATABASE", frozenset()) & _EVERYTHING
    everything = table >= set(TABLE) and "CREATE" in held.get("SCHEMA", frozenset())
    if everything and (owner or database >= set(DATABASE)):
        return frozenset({"ALL"})
    return table | ({"CONNECT"} if owner and table else database)
