"""ETag, If-Match and If-None-Match (RFC 9110 §13) to and from upsert.Preconditions."""

from flask import Response, request
from werkzeug.http import quote_etag

from control_plane.upsert import Identified, Preconditions, etag


def set_etag(response: Response, row: Identified) -> Response:
    response.headers["ETag"] = quote_etag(etag(row))
    return response


def of_request() -> Preconditions:
    if_match = None
    if "If-Match" in request.headers:
        if_match = frozenset(request.if_match.as_set()) | (
            {"*"} if request.if_match.star_tag else frozenset()
        )
    return Preconditions(if_match=if_match, create_only=request.if_none_match.star_tag)
