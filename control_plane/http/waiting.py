"""`?wait_for=ready&timeout=25`: the answer as soon as it holds, or as it is when the time is over."""

import re
from collections.abc import Callable
from typing import TypeVar

from flask import current_app, request

from control_plane.database import db
from control_plane.errors import Invalid
from control_plane.work.changes import Changes

LONGEST = 60.0
T = TypeVar("T")


def wait_for(instance_id_of: Callable[[T], str], read: Callable[[], T], settled: Callable[[T], bool]) -> T:
    """Read until `settled`; errors of `read`, such as NotFound once it is deleted, end the waiting.

    Without wait_for in the query, or with no place to park, it reads once.
    """
    wanted = request.args.get("wait_for")
    if wanted not in (None, "ready"):
        raise Invalid.field("?wait_for", f"{wanted!r} cannot be waited for; `ready` can.")
    timeout = _timeout()
    row = read()
    if wanted is None or settled(row):
        return row
    changes: Changes = current_app.extensions["coffret_changes"]

    def look() -> T | None:
        db.session.rollback()  # a new snapshot, and no connection held while parked
        fresh = read()
        if settled(fresh):
            return fresh
        db.session.rollback()
        return None

    with changes.place("clients", instance_id_of(row)) as place:
        if place is not None and (found := look() or place.wait(timeout, look)) is not None:
            return found
    return read()


def _timeout() -> float:
    text = request.args.get("timeout", "25")
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", text) or float(text) > LONGEST:
        raise Invalid.field("?timeout", f"{text!r} is not a number of seconds from 0 to {LONGEST:g}.")
    return float(text)
