from datetime import timedelta
from typing import Any

from flask import Response
from flask.views import MethodView
from flask_smorest import Blueprint

from control_plane.auth import Role, authorize, tokens
from control_plane.auth.schemas import (
    NewTokenSchema,
    TokenListSchema,
    TokenRequestSchema,
    TokenSchema,
)
from control_plane.http import answers
from control_plane.http.bodies import takes
from control_plane.http.dry_run import takes_dry_run
from control_plane.http.paging import Page
from control_plane.http.queries import PAGED, takes_query

blueprint = Blueprint(
    "tokens", __name__, url_prefix="/v1/tokens", description="Tokens of the API; for admins."
)


@blueprint.route("")
class Tokens(MethodView):
    @blueprint.response(200, TokenListSchema)
    @authorize("tokens:list")
    @takes_query(*PAGED)
    def get(self) -> Response:
        """List the tokens"""
        page = Page.of_request()
        rows = tokens.listing(page.marker or "", page.limit + 1)
        return page.answer(rows, lambda row: row.id, TokenSchema().dump)

    @blueprint.response(201, NewTokenSchema)
    @authorize("tokens:create")
    @takes_query()
    @takes(TokenRequestSchema)
    def post(self, body: dict[str, Any]) -> Response:
        """Make a token

        The answer holds its secret and is not kept, so an Idempotency-Key has no effect here:
        after a lost answer delete the token and make another.
        """
        seconds = body["expires_in"]
        token, text = tokens.create(
            body["name"],
            body["project_id"],
            Role[body["role"].upper()],
            timedelta(seconds=seconds) if seconds else None,
        )
        return answers.plain({**TokenSchema().dump(token), "token": text}, 201)


@blueprint.route("/<token>")
class TokenById(MethodView):
    @blueprint.response(204)
    @authorize("tokens:delete")
    @takes_dry_run(TokenSchema)
    def delete(self, token: str) -> Response:
        """Revoke a token"""
        return answers.deleted(tokens.delete(token), TokenSchema().dump)
