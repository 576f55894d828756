from typing import Any

from flask import Response
from flask.views import MethodView
from flask_smorest import Blueprint

from control_plane.auth import authorize, context
from control_plane.http import answers, preconditions
from control_plane.http.bodies import patched, takes, takes_patch
from control_plane.http.dry_run import takes_dry_run
from control_plane.http.paging import Page
from control_plane.http.queries import PAGED, takes_query
from control_plane.http.waiting import wait_for
from control_plane.instances import service as instances
from control_plane.upsert import Outcome
from control_plane.users import service
from control_plane.users.models import User
from control_plane.users.schemas import UserListSchema, UserSchema

blueprint = Blueprint(
    "users",
    __name__,
    url_prefix="/v1/instances/<instance>/users",
    description="Users inside an instance.",
)
schema = UserSchema()


@blueprint.route("")
class Users(MethodView):
    @blueprint.response(200, UserListSchema)
    @authorize("users:list")
    @takes_query(*PAGED)
    def get(self, instance: str) -> Response:
        """List the instance's users, unmanaged ones included"""
        page = Page.of_request()
        rows = service.listing(instances.find(context(), instance), page.marker or "", page.limit + 1)
        return page.answer(rows, lambda row: row.key, schema.dump)


@blueprint.route("/<user>")
class UserByName(MethodView):
    @blueprint.response(200, UserSchema)
    @authorize("users:get")
    @takes_query("wait_for", "timeout")
    def get(self, instance: str, user: str) -> Response:
        """Show a user"""
        row = wait_for(
            lambda row: row.instance_id,
            lambda: service.find(context(), instance, user),
            lambda row: row.settled,
        )
        return answers.resource(row, schema.dump(row))

    @blueprint.response(200, UserSchema)
    @blueprint.alt_response(202, schema=UserSchema)
    @authorize("users:update")
    @takes_dry_run()
    @takes(UserSchema)
    def put(self, instance: str, user: str, body: dict[str, Any]) -> Response:
        """Create or replace a user"""
        return self._written(
            instance, *service.put(context(), instance, user, body, preconditions.of_request())
        )

    @blueprint.response(200, UserSchema)
    @blueprint.alt_response(202, schema=UserSchema)
    @authorize("users:update")
    @takes_dry_run()
    @takes_patch(UserSchema)
    def patch(self, instance: str, user: str) -> Response:
        """Change a user by JSON merge-patch"""
        return self._written(
            instance,
            *service.patch(
                context(), instance, user, lambda row: patched(schema, row), preconditions.of_request()
            ),
        )

    def _written(self, instance: str, row: User, outcome: Outcome) -> Response:
        return answers.written(
            row, schema.dump(row), outcome, "users.UserByName", later=True,
            instance=instance, user=row.key,
        )  # fmt: skip

    @blueprint.response(202, UserSchema)
    @blueprint.alt_response(204)
    @authorize("users:delete")
    @takes_dry_run(UserSchema)
    def delete(self, instance: str, user: str) -> Response:
        """Drop a user"""
        return answers.deleting(
            lambda: service.delete(context(), instance, user, preconditions.of_request()), schema
        )
