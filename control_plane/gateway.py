"""`coffret serve --role agents`: thousands of parked agents in a process, each in a greenlet of gevent."""

import importlib.util
import logging
import os
import resource
import sys
from typing import Any

from control_plane.settings import Settings, SettingsError

RESERVED_FILES = 200
"""Of a process's open files, those that are not agents' connections."""
GRACE_SECONDS = 5
"""Parked agents are let go at once, and a report is taken in no time; what is left are idle connections."""
BACKLOG = 4096
"""Connections that wait to be accepted, as far as net.core.somaxconn allows: after a break many come."""

log = logging.getLogger(__name__)


def begin() -> None:
    """Return if gevent has been first in this process, else run the command anew, in this one's place.

    Raises SettingsError when gevent is not installed.
    """
    if importlib.util.find_spec("gevent") is None:
        raise SettingsError("The role `agents` needs gevent: pip install 'coffret[gateway]'.")
    from gevent import monkey

    if not monkey.is_module_patched("threading"):
        os.execv(sys.executable, [sys.executable, "-m", "control_plane.greenlets", *sys.argv[1:]])  # noqa: S606


def gunicorn_options(settings: Settings) -> dict[str, Any]:
    """What differs from the other roles. Raises the limit of open files to where the system allows it."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    connections = files - RESERVED_FILES
    if connections < settings.agents_parked_limit:
        log.warning(
            "a process may open %s files here, too few to park %s agents (COFFRET_AGENTS_PARKED_LIMIT):"
            " raise LimitNOFILE of the unit, or ulimit -Hn",
            files,
            settings.agents_parked_limit,
        )
    return {
        "worker_class": "gevent",
        "worker_connections": connections,
        "backlog": BACKLOG,
        "graceful_timeout": GRACE_SECONDS,
    }
