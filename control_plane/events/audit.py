"""Writes that were refused for who asks are noted, too."""

import logging

from flask import Response, g, request
from sqlalchemy.exc import SQLAlchemyError

from control_plane.database import transaction
from control_plane.events import service
from control_plane.http.rate_limits import SAFE

_REFUSED = (401, 403)
_LONGEST_PATH = 300

log = logging.getLogger(__name__)


def note_refusal(response: Response) -> Response:
    """Record an event `denied` for a write of the API that is answered with 401 or 403."""
    if response.status_code in _REFUSED and request.method not in SAFE and request.path.startswith("/v1/"):
        problem = response.get_json(silent=True) or {}
        caller = g.get("caller")
        what = service.Subject(
            resource_type="request",
            key=f"{request.method} {request.path[:_LONGEST_PATH]}",
            project_id=caller.project_id if caller else None,
        )
        try:
            with transaction():
                service.record("denied", str(problem.get("detail", "")), what)
        except SQLAlchemyError:
            log.exception("the refusal of request %s is not recorded", g.get("request_id"))
    return response
