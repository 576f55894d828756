"""Engine plugins, by datastore manager."""

import importlib
from typing import cast

from guest_agent.engines.base import Engine, EngineError

PLUGINS = {
    "mariadb": "guest_agent.engines.mariadb.MariaDB",
    "postgresql": "guest_agent.engines.postgresql.PostgreSQL",
    "valkey": "guest_agent.engines.valkey.Valkey",
}


def plugin(manager: str) -> type[Engine]:
    """The plugin of a manager, imported only now: a guest has the client library of its own engine.

    Raises EngineError when there is none, or when what it imports is missing.
    """
    try:
        module, _, name = PLUGINS[manager].rpartition(".")
    except KeyError:
        known = ", ".join(sorted(PLUGINS))
        raise EngineError(f"There is no engine plugin for {manager!r}; there are {known}.") from None
    try:
        return cast(type[Engine], getattr(importlib.import_module(module), name))
    except ImportError as error:
        raise EngineError(f"The engine plugin for {manager} cannot be loaded: {error}.") from error
