"""The API that agents speak, as guest_agent/protocol.py says. It has its own secrets, not tokens."""

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, current_app, g, jsonify, request

from control_plane.agents import credentials, heads, service
from control_plane.agents.credentials import Gone
from control_plane.agents.gate import Crowded, Gate
from control_plane.agents.heads import Head
from control_plane.agents.hearing import Attendance, LastWords, digest
from control_plane.agents.schemas import RegistrationSchema, ReportSchema
from control_plane.agents.spacing import CONVERGING, Spacing
from control_plane.errors import Invalid
from control_plane.http.bodies import json_object, load
from control_plane.http.problems import problem
from control_plane.work.changes import Changes
from guest_agent import PROTOCOL
from guest_agent.protocol import SECRET_HEADER, Directive, Report

LONGEST_REPORT = 16 << 20
"""Bytes; a report names every database and user."""


class Foreign(Exception):
    """The agent speaks a protocol that is not spoken here."""

    def __init__(self, protocol: Any) -> None:
        super().__init__(protocol)
        self.protocol = protocol


blueprint = Blueprint("agents", __name__, url_prefix="/agent/v1")


@blueprint.errorhandler(Gone)
def gone(_: Gone) -> Response:
    return problem(410, "gone", "The instance is gone", "The instance is gone; stop the engine and exit.")


@blueprint.errorhandler(Invalid)
def invalid(error: Invalid) -> Response:
    return problem(400, error.code, error.title, error.detail, error.errors)


@blueprint.errorhandler(Foreign)
def foreign(error: Foreign) -> Response:
    return problem(
        426,
        "protocol",
        "The agent's protocol is not spoken here",
        f"This control plane speaks protocols {PROTOCOL - 1} and {PROTOCOL}; the agent sent"
        f" {error.protocol!r}. Update the agent.",
    )


@blueprint.errorhandler(Crowded)
def crowded(_: Crowded) -> Response:
    spacing: Spacing = current_app.extensions["coffret_spacing"]
    answer = problem(503, "crowded", "Too many agents at once", "Come again after the pause.")
    answer.headers["Retry-After"] = str(spacing.crowded())
    return answer


@blueprint.post("/register")
def register() -> Response:
    body = load(RegistrationSchema(), json_object())
    secret = credentials.register(body["instance_id"], body["bootstrap_token"])
    return _answer({"secret": secret})


@blueprint.post("/sync")
def sync() -> Response:
    claim = credentials.claim(request.headers.get("Authorization", ""))
    changes: Changes = current_app.extensions["coffret_changes"]
    gate: Gate = current_app.extensions["coffret_gate"]
    with changes.place("agents", claim.instance_id) as place:  # before anything is read
        with gate.entry():
            head = credentials.authenticate(claim)
        g.instance_id = claim.instance_id
        heard = _hear(head)

        def look() -> Directive | None:
            with gate.passage():
                return service.desired(claim.instance_id, heard.etag)

        directive = None if heads.holds(heard.head, heard.etag) else look()
        if heard.offered is not None:  # at once, rather than held while parked
            response = _answer(directive) if directive is not None else _unchanged(0)
            response.headers[SECRET_HEADER] = heard.offered
            return response
        if directive is not None:
            return _answer(directive)
        if place is not None and heard.wait:
            directive = place.wait(heard.wait, look)
            return _answer(directive) if directive is not None else _unchanged(_scattered(changes))
    return _unchanged(_pause(heard.head))


@dataclass(frozen=True)
class _Heard:
    """What stays of a report while its sync is parked."""

    head: Head
    """As it is after that."""
    etag: str | None
    wait: float
    offered: str | None
    """A new secret for the agent."""


def _hear(head: Head) -> _Heard:
    """Take the request's report."""
    attendance: Attendance = current_app.extensions["coffret_attendance"]
    last_words: LastWords = current_app.extensions["coffret_last_words"]
    gate: Gate = current_app.extensions["coffret_gate"]
    attendance.note(head)
    request.max_content_length = LONGEST_REPORT
    body = json_object()
    if body.get("protocol") not in (PROTOCOL, PROTOCOL - 1):
        raise Foreign(body.get("protocol"))
    words = digest(body)
    if not last_words.repeated(head, words):
        report: Report = load(ReportSchema(), body)  # type: ignore[assignment]
        with gate.passage():
            revision = service.take(head.instance_id, report)
            if revision != head.revision:
                head = service.head(head.instance_id)
        if revision is not None:
            last_words.keep(head.instance_id, revision, words)
    offered = None
    if "new_secrets" in body.get("abilities", ()):
        with gate.passage():
            offered = credentials.offer(head)
    return _Heard(head, body["etag"], body["wait"], offered)


def _pause(head: Head) -> int:
    """Seconds until an agent that could not be parked asks again."""
    spacing: Spacing = current_app.extensions["coffret_spacing"]
    at_work = head.converged_revision < head.desired_revision or not head.ready
    return CONVERGING if at_work else spacing.steady()


def _scattered(changes: Changes) -> int:
    """Likewise one that was parked: at once, unless all who are parked are let go."""
    spacing: Spacing = current_app.extensions["coffret_spacing"]
    return spacing.scattered(changes.let_go("agents"))


def _answer(body: object) -> Response:
    response = jsonify(body)
    response.headers["Retry-After"] = "0"
    return response


def _unchanged(pause: int) -> Response:
    response = Response(status=304)
    response.headers["Retry-After"] = str(pause)
    return response
