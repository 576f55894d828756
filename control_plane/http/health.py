"""/healthz: the process answers. /readyz: it can do its work."""

from flask import Blueprint
from sqlalchemy import text

from control_plane.database import db

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "ok"}


@blueprint.get("/readyz")
def readyz() -> tuple[dict[str, str], int]:
    try:
        db.session.execute(text("SELECT 1 FROM instances LIMIT 1"))
    except Exception as error:
        return {"status": "unready", "database": type(error).__name__}, 503
    return {"status": "ok"}, 200
