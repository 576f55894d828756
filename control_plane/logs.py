"""The log on standard error: one line a message, plain or JSON, with the ids of what it is about."""

import logging
import logging.config
import sys
import time
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, g, has_app_context, request

from control_plane.settings import LogFormat, Settings, Switch
from guest_agent import logs as forms

QUIET = ("health.healthz", "health.readyz", "metrics.show")
"""Endpoints that are asked every few seconds, which is nothing to write down."""

access = logging.getLogger("control_plane.access")


def log_to_stderr(level: str, form: LogFormat = LogFormat.PLAIN) -> None:
    logging.config.dictConfig(configuration(level, form))


def configuration(level: str, form: LogFormat) -> dict[str, Any]:
    """For logging.config.dictConfig."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            name: {"()": f"{forms.__name__}.{form.__name__}"} for name, form in forms.FORMATTERS.items()
        },
        "filters": {"ids": {"()": f"{__name__}.Ids"}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": str(form),
                "filters": ["ids"],
                "stream": sys.stderr,
            }
        },
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {
            "alembic": {"level": "WARNING"},
            "gunicorn.error": {"level": "WARNING", "handlers": [], "propagate": True},
            "gunicorn.access": {"level": "WARNING", "handlers": [], "propagate": True},
            "celery.worker.strategy": {"level": "WARNING"},  # a line for each message
            "celery.app.trace": {"level": "WARNING"},
        },
    }


class Ids(forms.Ids):
    """Of the request, or of the instance's turn, that a record is written in."""

    def known(self) -> Mapping[str, str]:
        if not has_app_context():
            return {}
        caller = g.get("caller")
        found = {
            "request_id": g.get("request_id"),
            "instance_id": g.get("instance_id"),
            "project_id": caller.project_id if caller else None,
        }
        return {name: value for name, value in found.items() if value}


def register(app: Flask, settings: Settings) -> None:
    """Have the application write a line for each request that it answers."""
    if settings.log_requests is Switch.ON:
        app.before_request(_begin)
        app.after_request(_tell)


def _begin() -> None:
    g.began = time.monotonic()


def _tell(response: Response) -> Response:
    if request.endpoint not in QUIET and access.isEnabledFor(logging.INFO):
        route = request.url_rule.rule if request.url_rule else "none"
        seconds = time.monotonic() - g.began
        about = {
            "method": request.method,
            "route": route,
            "status": response.status_code,
            "seconds": round(seconds, 4),
        }
        if instance := (request.view_args or {}).get("instance"):
            about["instance"] = instance
        words = (request.method, route, response.status_code, seconds)
        access.info("%s %s %d in %.3f s", *words, extra={"about": about})
    return response
