"""The floor of the API's figures: Flask and gunicorn with nothing behind them.

    python -m bench.bare ADDRESS WORKERS FILE

serves the bytes of FILE from one view at every path, under the gunicorn settings of `coffret serve`.
"""

import sys
from pathlib import Path

from flask import Flask, Response
from gunicorn.app.base import BaseApplication

from control_plane.server import gunicorn_options
from control_plane.settings import LogLevel, Settings


class _Bare(BaseApplication):
    def __init__(self, settings: Settings, body: bytes) -> None:
        self._settings = settings
        self._body = body
        super().__init__()

    def load_config(self) -> None:
        for name, value in gunicorn_options(self._settings).items():
            self.cfg.set(name, value)

    def load(self) -> Flask:  # type: ignore[override]
        app = Flask(__name__)
        app.extensions["coffret_settings"] = self._settings  # the workers ask how patient they are to be

        @app.get("/", defaults={"path": ""})
        @app.get("/<path:path>")
        def view(path: str) -> Response:
            return Response(self._body, mimetype="application/json")

        return app


if __name__ == "__main__":
    bind, workers, file = sys.argv[1:]
    settings = Settings(bind=bind, workers=int(workers), log_level=LogLevel.WARNING)
    _Bare(settings, Path(file).read_bytes()).run()
