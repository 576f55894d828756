"""`?dry_run=true` on PUT, PATCH and DELETE: what would be, and what it would do to what runs."""

import functools
from collections.abc import Callable, Sequence
from typing import ParamSpec

import marshmallow as ma
from flask import Response

from control_plane.database import dry_run
from control_plane.http import answers
from control_plane.http.bodies import document
from control_plane.http.fields import ImpactSchema
from control_plane.http.queries import flag, takes_query
from control_plane.impact import Impact, foreseen

P = ParamSpec("P")

_AT_ITS_MAKING = ("id", "created_at", "updated_at")
"""Left out of what a dry run shows of a new resource: nobody knows them before."""


def takes_dry_run(
    deleted: type[ma.Schema] | None = None,
) -> Callable[[Callable[P, Response]], Callable[P, Response]]:
    """Let a write be tried: the view runs as ever, and what it wrote is undone.

    The answer is 200, or 204 where there is nothing to delete. `deleted`: the schema of what a DELETE
    shows then.
    """

    def decorate(view: Callable[P, Response]) -> Callable[P, Response]:
        @takes_query("dry_run")
        @functools.wraps(view)
        def tried(*args: P.args, **kwargs: P.kwargs) -> Response:
            if not flag("dry_run"):
                return view(*args, **kwargs)
            with dry_run():
                return _foretold(view(*args, **kwargs), foreseen())

        if deleted is None:
            return tried
        content = {"application/json": {"schema": deleted}}
        return document(
            tried, responses={"200": {"description": "With `dry_run=true`.", "content": content}}
        )

    return decorate


def _foretold(answer: Response, impact: Sequence[Impact]) -> Response:
    body = answer.get_json(silent=True)
    if body is None:
        return answer
    if "Location" in answer.headers:
        body = {name: value for name, value in body.items() if name not in _AT_ITS_MAKING}
    return answers.plain({**body, "impact": ImpactSchema(many=True).dump(impact)})
