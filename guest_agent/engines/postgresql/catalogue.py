"""The parameter catalogue, read from a running engine."""

from typing import Literal

from guest_agent.engines.postgresql import databases
from guest_agent.engines.postgresql.admin import Connection
from guest_agent.engines.postgresql.ownership import OWNED, OWNED_CATEGORIES
from guest_agent.protocol import Catalogue, Parameter

_TYPES: dict[str, Literal["string", "integer", "number", "boolean", "enum"]] = {
    "bool": "boolean",
    "enum": "enum",
    "integer": "integer",
    "real": "number",
    "string": "string",
}


def read(
    connection: Connection, engine_version: str, from_flavor: frozenset[str], ours: dict[str, str]
) -> Catalogue:
    """All parameters of pg_settings; those from the flavor have no default of their own."""
    rows = connection.execute(
        "SELECT name, vartype, concat_ws(' ', short_desc, extra_desc), boot_val, unit,"
        " min_val::float8, max_val::float8, enumvals, context, category"
        " FROM pg_settings WHERE name !~ '[.]' ORDER BY lower(name)"
    ).fetchall()
    parameters = [
        Parameter(
            name=name,
            type=_TYPES[vartype],
            description=description,
            default=None if name in from_flavor else ours.get(name.lower(), boot_value),
            unit=unit,
            minimum=minimum,
            maximum=maximum,
            values=values,
            restart_required=context == "postmaster",
            settable=context != "internal"
            and name.lower() not in OWNED
            and category not in OWNED_CATEGORIES,
        )
        for (
            name, vartype, description, boot_value, unit, minimum, maximum, values, context,
            category,
        ) in rows
    ]  # fmt: skip
    version = engine_version.split(".")[0]
    return Catalogue(
        datastore="postgresql",
        manager="postgresql",
        version=version,
        engine_version=engine_version,
        description=f"PostgreSQL {version}",
        parameters=parameters,
        character_sets=databases.character_sets(connection),
    )
