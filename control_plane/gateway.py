"""`coffret serve --role agents`: thousands of parked agents in a process, each in a greenlet of gevent.

gevent must replace sockets, locks and threads of the standard library before anything else is loaded:
psycopg and others decide at that moment how they wait. So the command runs this module in its own place:

    python -m control_plane.gateway serve --role agents
"""

import importlib.util
import os
import sys
from typing import Any

OPTIONS: dict[str, Any] = {"worker_class": "gevent"}
"""gunicorn's settings that differ from those of the other roles."""


def begin() -> None:
    """Return if gevent has been first in this process, else begin anew so that it will have been.

    Raises SettingsError when gevent is not installed.
    """
    from control_plane.settings import SettingsError

    if importlib.util.find_spec("gevent") is None:
        raise SettingsError("The role `agents` needs gevent: pip install 'coffret[gateway]'.")
    from gevent import monkey

    if not monkey.is_module_patched("threading"):
        os.execv(sys.executable, [sys.executable, "-m", __name__, *sys.argv[1:]])  # noqa: S606


if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()
    from control_plane.cli import main

    main(prog_name="coffret")
