"""Query parameters: documented, and a misspelt one is an error instead of being ignored."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from flask import request

from control_plane.errors import Invalid, nearest
from control_plane.http.bodies import document

P = ParamSpec("P")
R = TypeVar("R")

STRING = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
KNOWN: dict[str, tuple[dict[str, Any], str]] = {
    "limit": ({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}, "Most items."),
    "marker": (STRING, "Items after this one, as the last page's `next` link says."),
    "name": (STRING, "Only the one of this name."),
    "datastore": (STRING, "Only those of this datastore."),
    "status": (STRING, "Only those in this phase, such as `ACTIVE`."),
    "label": (
        {"type": "array", "items": STRING},
        "Only those with this label, as `name=value`; may be repeated.",
    ),
    "wait_for": (
        {"type": "string", "enum": ["ready"]},
        "Answer as soon as it is ready or in an error that waiting does not mend.",
    ),
    "timeout": (
        {"type": "number", "minimum": 0, "maximum": 60, "default": 25},
        "Seconds to wait at most; then the answer is what it is.",
    ),
    "include": (STRING, "What to read with it: `databases`, `users`, or both with a comma."),
    "min_ram": (COUNT, "Only flavors with so many MiB."),
    "min_vcpus": (COUNT, "Only flavors with so many vCPUs."),
    "min_memory_per_vcpu": (COUNT, "Only flavors with so many MiB for each vCPU."),
    "settable": ({"type": "boolean", "default": False}, "Only parameters that can be set."),
    "instance": (STRING, "Only events of this instance, by name or id."),
    "dry_run": (
        {"type": "boolean", "default": False},
        "Check all and answer what would be, with its `impact`; write nothing.",
    ),
    "all_projects": (
        {"type": "boolean", "default": False},
        "Those of all projects, and the operator's own; for admins.",
    ),
    "kind": (STRING, "Only events of this kind."),
}
PAGED = ("limit", "marker")


def takes_query(*names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Document these query parameters of KNOWN and refuse all others."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(view)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in request.args:
                if name not in names:
                    known = f"Known here: {', '.join(names)}." if names else "None is known here."
                    raise Invalid.field(
                        f"?{name}",
                        f"There is no query parameter {name!r}.{nearest(name, names)} {known}",
                    )
            return view(*args, **kwargs)

        parameters = [
            {"in": "query", "name": name, "schema": KNOWN[name][0], "description": KNOWN[name][1]}
            for name in names
        ]
        return document(checked, parameters=parameters) if names else checked

    return decorate


def flag(name: str) -> bool:
    """A query parameter that is true or false; false when it is left out."""
    text = request.args.get(name, "false")
    if text not in ("true", "false"):
        raise Invalid.field(f"?{name}", f"{text!r} is neither true nor false.")
    return text == "true"


def count(name: str) -> int:
    """A query parameter that counts; 0 when it is left out."""
    text = request.args.get(name, "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise Invalid.field(f"?{name}", f"{text!r} is not a whole number from 0 up.")
    return int(text)
