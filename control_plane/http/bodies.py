"""Request bodies: a schema's full body for PUT, an RFC 7396 merge-patch for PATCH."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import marshmallow as ma
from flask import current_app, request
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from control_plane.errors import Invalid, nearest
from control_plane.http.problems import pointers

P = ParamSpec("P")
R = TypeVar("R")


class BodySchema(ma.Schema):
    """Base of all request schemas: unknown fields are errors that name the nearest known one."""

    class Meta:
        unknown = ma.RAISE

    def handle_error(self, error: ma.ValidationError, data: Any, **_: Any) -> None:
        known = [name for name, item in self.fields.items() if not item.dump_only]
        read_only = [name for name, item in self.fields.items() if item.dump_only]
        for name, messages in list(error.normalized_messages().items()):
            if messages != [self.error_messages["unknown"]]:
                continue
            if name in read_only:
                error.messages[name] = ["This field belongs to the server; leave it out."]  # type: ignore[index]
            else:
                error.messages[name] = [  # type: ignore[index]
                    f"There is no field {name!r}.{nearest(str(name), known)}"
                    f" The fields are {', '.join(known)}."
                ]


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
        found = list(pointers(error.normalized_messages()))
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

        return _document(checked, schema_class, "application/json")

    return decorate


def takes_patch(schema_class: type[ma.Schema]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Document the merge-patch body of a PATCH; the view calls `patched` itself."""
    return lambda view: _document(view, schema_class, "application/merge-patch+json", partial=True)


def _document(
    view: Callable[P, R], schema_class: type[ma.Schema], kind: str, partial: bool = False
) -> Callable[P, R]:
    # flask-smorest merges `_apidoc["manual_doc"]` into the operation, as its own Blueprint.doc does
    documented: dict[str, Any] = dict(getattr(view, "_apidoc", {}))
    documented["manual_doc"] = {
        **documented.get("manual_doc", {}),
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": schema_class(partial=partial)}},
        },
    }
    view._apidoc = documented  # type: ignore[attr-defined]
    return view
