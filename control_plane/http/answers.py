"""How a write is answered: status, ETag, Location."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, cast

import marshmallow as ma
from flask import Response, current_app, url_for

from control_plane.database import Resource, is_dry_run, transaction
from control_plane.http.preconditions import set_etag
from control_plane.upsert import Outcome

T = TypeVar("T")


def resource(row: Resource, body: Mapping[str, Any], status: int = 200) -> Response:
    return set_etag(plain(body, status), row)


def written(
    row: Resource,
    body: Mapping[str, Any],
    outcome: Outcome,
    endpoint: str,
    *,
    later: bool = False,
    **keys: str,
) -> Response:
    """The answer to a PUT or PATCH; `later`: the work goes on after it, so 202 instead of 200/201."""
    done = 201 if outcome is Outcome.CREATED else 200
    response = resource(row, body, 202 if later and outcome is not Outcome.UNCHANGED else done)
    if outcome is Outcome.CREATED:
        response.headers["Location"] = url_for(endpoint, **keys)  # type: ignore[arg-type]
    return response


class Going(Protocol):
    deleting: Any


def deleting(delete: Callable[[], Going | None], schema: ma.Schema) -> Response:
    """The answer to a DELETE: 202 with the resource while it goes; as `deleted` if it need not.

    It is made before the commit: whoever does the work may be quicker than a read after it.
    """
    with transaction() as session:
        row = delete()
        if row is None or not row.deleting:
            return deleted(row, schema.dump)
        session.flush()
        return resource(cast(Resource, row), schema.dump(row), 202)


def deleted(row: T | None, dump: Callable[[T], Mapping[str, Any]]) -> Response:
    """The answer to a DELETE that is done at once: 204, and in a dry run the resource, if there is one."""
    return Response(status=204) if row is None or not is_dry_run() else plain(dump(row))


def plain(body: Mapping[str, Any], status: int = 200) -> Response:
    """What has no ETag."""
    return text(current_app.json.dumps(body), status)


def text(body: str, status: int = 200) -> Response:
    """What is JSON already."""
    return Response(body, status, mimetype="application/json")
