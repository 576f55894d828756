"""The floor of the gateway's figures: Flask and gunicorn on gevent, which park agents and know nothing.

    python -m bench.parking ADDRESS

POST /agent/v1/sync is answered `unchanged` after 25 s, or with a directive as soon as POST /tell/ID comes.
"""

import sys
import threading
from typing import Any

from flask import Flask, Response, request
from gevent import monkey

PARK_SECONDS = 25
DIRECTIVE = {
    "etag": "x" * 38,
    "databases": [
        {"id": "x" * 36, "name": "database-0", "generation": 1, "state": "present"}
        | {"character_set": "UTF8", "collation": None, "owner": None}
    ]
    * 4,
    "users": [],
    "rest": "x" * 300,
}


def make_app() -> Flask:
    app = Flask(__name__)
    parked: dict[str, threading.Event] = {}

    @app.get("/")
    def root() -> str:
        return ""

    @app.post("/agent/v1/sync")
    def sync() -> Response | dict[str, Any]:
        request.get_json()
        instance_id = request.headers["Authorization"].split()[1].partition(".")[0]
        told = parked[instance_id] = threading.Event()
        return DIRECTIVE if told.wait(PARK_SECONDS) else Response(status=304)

    @app.post("/tell/<instance_id>")
    def tell(instance_id: str) -> str:
        parked[instance_id].set()
        return ""

    return app


def main(bind: str) -> None:
    from gunicorn.app.base import BaseApplication

    from control_plane.app import ServerRole
    from control_plane.server import gunicorn_options
    from control_plane.settings import LogLevel, Settings

    class Bare(BaseApplication):
        def load_config(self) -> None:
            settings = Settings(bind=bind, log_level=LogLevel.WARNING)
            for name, value in gunicorn_options(settings, ServerRole.AGENTS).items():
                self.cfg.set(name, value)

        def load(self) -> Flask:  # type: ignore[override]
            return make_app()

    Bare().run()


if __name__ == "__main__":
    monkey.patch_all()
    main(sys.argv[1])
