"""Request bodies: a schema's full body for PUT, an RFC 7396 merge-patch for PATCH."""

import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import marshmallow as ma
from flask import current_app, request
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from control_plane.errors import MOST_ERRORS, Invalid, nearest
from control_plane.http.problems import pointers

P = ParamSpec("P")
R = TypeVar("R")


class BodySchema(ma.Schema):
    """Base of all request schemas: unknown fields are errors that name the nearest known one."""

    class Meta:
        unknown = ma.RAISE

    error_messages = {"type": "It must be an object."}  # noqa: RUF012 - marshmallow reads it here

    def handle_error(self, error: ma.ValidationError, data: Any, **_: Any) -> None:
        known = [name for name, item in self.fields.items() if not item.dump_only]
        messages, unknown = _messages(error), self.error_messages["unknown"]
        strangers = [name for name, said in messages.items() if said == [unknown]]
        for name in strangers[MOST_ERRORS:]:
            del messages[name]
        for name in strangers[:MOST_ERRORS]:
            if name in self.fields:
                messages[name] = ["This field belongs to the server; leave it out."]
            else:
                near = nearest(str(name), known)
                messages[name] = [f"There is no field {name!r}.{near} Fields: {', '.join(known)}."]
        error.messages = messages


def _messages(error: ma.ValidationError) -> dict[str, Any]:
    messages: dict[str, Any] = error.normalized_messages()  # type: ignore[no-untyped-call]
    return messages


def json_object() -> dict[str, Any]:
    """The request's JSON object; 415 for another content type, 400 for what is not JSON."""
    if not request.is_json:
        raise UnsupportedMediaType("Send the body as application/json.")
    try:
        # request.get_json would hide what is wrong with the text
        body = current_app.json.loads(request.get_data())
    except ValueError as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from error
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.")
    return body


def load(schema: ma.Schema, body: Mapping[str, Any]) -> dict[str, Any]:
    """Check a body; raises Invalid with a pointer for every bad field."""
    try:
        return dict(schema.load(dict(body)))
    except ma.ValidationError as error:
        found = list(itertools.islice(pointers(_messages(error)), MOST_ERRORS))
        raise Invalid(
            "; ".join(f"{item.pointer or 'body'}: {item.detail}" for item in found), errors=found
        ) from error


def merge_patch(current: Any, patch: Any) -> Any:
    """Apply a JSON merge-patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(current) if isinstance(current, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def patched(schema: ma.Schema, row: object) -> dict[str, Any]:
    """The full, checked body that the request's merge-patch makes of the row as it is wanted today."""
    current = {name: value for name, value in schema.dump(row).items() if not schema.fields[name].dump_only}
    return load(schema, merge_patch(current, json_object()))


def takes(schema_class: type[ma.Schema]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Document the request body of a PUT or POST and pass it, checked, as keyword `body`."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(view)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            kwargs["body"] = load(schema_class(), json_object())
            return view(*args, **kwargs)

        return document(checked, requestBody=_body(schema_class, "application/json"))

    return decorate


def takes_patch(schema_class: type[ma.Schema]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Document the merge-patch body of a PATCH; the view calls `patched` itself."""
    body = _body(schema_class(partial=True), "application/merge-patch+json")
    return lambda view: document(view, requestBody=body)


def _body(schema: ma.Schema | type[ma.Schema], kind: str) -> dict[str, Any]:
    return {"required": True, "content": {kind: {"schema": schema}}}


def document(view: Callable[P, R], **operation: Any) -> Callable[P, R]:
    """Add to what the OpenAPI document says of a view, as flask-smorest's Blueprint.doc does."""
    documented: dict[str, Any] = dict(getattr(view, "_apidoc", {}))
    documented["manual_doc"] = documented.get("manual_doc", {}) | operation
    view._apidoc = documented  # type: ignore[attr-defined]
    return view
