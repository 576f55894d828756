"""Errors as RFC 9457 problem+json, with a stable `code` and a JSON pointer for each bad field."""

import logging
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, current_app, g
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from control_plane import errors, stores
from control_plane.auth import identity
from control_plane.clouds import CloudError

log = logging.getLogger(__name__)

STATUS: dict[type[errors.CoffretError], HTTPStatus] = {
    errors.Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.IdentityUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.StateUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.QuotaExceeded: HTTPStatus.FORBIDDEN,
    errors.RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    errors.IdempotencyMismatch: HTTPStatus.UNPROCESSABLE_ENTITY,
    CloudError: HTTPStatus.SERVICE_UNAVAILABLE,
}
HTTP_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}
"""Codes of what Flask refuses by itself. The phrases of http.HTTPStatus differ between Pythons."""
PROBLEM_TYPE = "application/problem+json"


def codes() -> dict[str, int]:
    """Every code that an answer of /v1 may have, and its status."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    own = {
        kind.code: int(_status(kind))
        for kind in (*kinds, CloudError)
        if issubclass(kind, errors.CoffretError) and kind is not errors.CoffretError
    }
    return own | {code: status for status, code in HTTP_CODES.items()} | {"internal_error": 500}


def _status(kind: type[errors.CoffretError]) -> HTTPStatus:
    return next(STATUS[parent] for parent in kind.__mro__ if parent in STATUS)


def problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    fields: Iterable[errors.FieldError] = (),
    **extra: Any,
) -> Response:
    body: dict[str, Any] = {
        "type": f"urn:coffret:problem:{code}",
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if listed := [{"pointer": item.pointer, "detail": item.detail} for item in fields]:
        body["errors"] = listed
    if request_id := g.get("request_id"):
        body["request_id"] = request_id
    return Response(current_app.json.dumps(body | extra), status, content_type=PROBLEM_TYPE)


def pointers(messages: Any, path: str = "") -> Iterator[errors.FieldError]:
    """Flatten marshmallow's nested messages into FieldErrors."""
    if isinstance(messages, dict):
        for key, inner in messages.items():
            step = "" if key == "_schema" else errors.pointer(str(key))  # _schema: the object itself
            yield from pointers(inner, path + step)
    elif isinstance(messages, list):
        for inner in messages:
            yield from pointers(inner, path)
    else:
        yield errors.FieldError(path, str(messages))


def register(app: Flask) -> None:
    @app.errorhandler(errors.CoffretError)
    def coffret_error(error: errors.CoffretError) -> Response:
        status = _status(type(error))
        response = problem(status, error.code, error.title, error.detail, error.errors, **error.extra)
        if retry_after := getattr(error, "retry_after", None):
            response.headers["Retry-After"] = str(retry_after)
        if status == HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = identity.challenge()
        return response

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        status = error.code or 500
        phrase = HTTPStatus(status).phrase
        response = problem(
            status,
            HTTP_CODES.get(status, "bad_request"),
            phrase,
            error.description or phrase,
        )
        for name, value in error.get_headers():
            if name.lower() in ("allow", "retry-after"):
                response.headers[name] = value
        return response

    @app.errorhandler(SQLAlchemyError)
    def state_error(error: SQLAlchemyError) -> Response:
        if not (stores.is_unavailable(error) or stores.is_collision(error)):
            return unexpected(error)
        log.warning("request %s: %s", g.get("request_id"), stores.said(error))
        return coffret_error(
            errors.StateUnavailable("The state database cannot serve just now; send the request again.")
        )

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        log.exception("request %s failed", g.get("request_id"), exc_info=error)
        return problem(
            500,
            "internal_error",
            "Something is wrong in Coffret",
            "The request failed for a reason that is not yours; the server's log has it under the"
            " request_id.",
        )
