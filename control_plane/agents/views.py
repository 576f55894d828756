"""The API that agents speak, as guest_agent/protocol.py says. It has its own secrets, not tokens."""

import math
import random

from flask import Blueprint, Response, current_app, jsonify, request
from sqlalchemy import func, select

from control_plane.agents import credentials, service
from control_plane.agents.credentials import Gone
from control_plane.agents.schemas import RegistrationSchema, ReportSchema
from control_plane.database import db
from control_plane.errors import Invalid
from control_plane.http.bodies import json_object, load
from control_plane.http.problems import problem
from control_plane.instances.models import Instance
from control_plane.work.changes import Changes
from guest_agent import PROTOCOL
from guest_agent.protocol import SECRET_HEADER, Directive, Report

SYNCS_PER_SECOND = 40
"""Agents that cannot be parked are asked to come so often, all together."""
LONGEST_REPORT = 16 << 20
"""Bytes; a report names every database and user."""

blueprint = Blueprint("agents", __name__, url_prefix="/agent/v1")


@blueprint.errorhandler(Gone)
def gone(_: Gone) -> Response:
    return problem(410, "gone", "The instance is gone", "The instance is gone; stop the engine and exit.")


@blueprint.errorhandler(Invalid)
def invalid(error: Invalid) -> Response:
    return problem(400, error.code, error.title, error.detail, error.errors)


@blueprint.post("/register")
def register() -> Response:
    body = load(RegistrationSchema(), json_object())
    secret = credentials.register(body["instance_id"], body["bootstrap_token"])
    return _answer({"secret": secret})


@blueprint.post("/sync")
def sync() -> Response:
    instance_id = credentials.authenticate(request.headers.get("Authorization", ""))
    request.max_content_length = LONGEST_REPORT
    body = json_object()
    if body.get("protocol") not in (PROTOCOL, PROTOCOL - 1):
        return problem(
            426,
            "protocol",
            "The agent's protocol is not spoken here",
            f"This control plane speaks protocols {PROTOCOL - 1} and {PROTOCOL}; the agent sent"
            f" {body.get('protocol')!r}. Update the agent.",
        )
    report: Report = load(ReportSchema(), body)  # type: ignore[assignment]
    service.take(instance_id, report)
    abilities = report.get("abilities", [])
    offered = credentials.offer(instance_id) if "new_secrets" in abilities else None
    changes: Changes = current_app.extensions["coffret_changes"]

    def look() -> Directive | None:
        db.session.rollback()  # a new snapshot, and no connection held while parked
        try:
            return service.desired(instance_id, report["etag"])
        finally:
            db.session.rollback()

    with changes.place("agents", instance_id) as place:
        directive = look()
        if offered is not None:  # at once, rather than held while parked
            response = _answer(directive) if directive is not None else _unchanged(0)
            response.headers[SECRET_HEADER] = offered
            return response
        if directive is not None:
            return _answer(directive)
        if place is not None and report["wait"]:
            directive = place.wait(report["wait"], look)
            return _answer(directive) if directive is not None else _unchanged(0)
    return _unchanged(_pause(instance_id))


def _pause(instance_id: str) -> int:
    """Seconds until an agent that could not be parked asks again."""
    if service.converging(instance_id):
        return 2
    count = db.session.scalar(select(func.count()).select_from(Instance)) or 0
    steady = min(30.0, max(5.0, count / SYNCS_PER_SECOND))
    return math.ceil(steady * random.uniform(0.75, 1))  # noqa: S311 - jitter


def _answer(body: object) -> Response:
    response = jsonify(body)
    response.headers["Retry-After"] = "0"
    return response


def _unchanged(pause: int) -> Response:
    response = Response(status=304)
    response.headers["Retry-After"] = str(pause)
    return response
