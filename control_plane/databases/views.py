from typing import Any

from flask import Response
from flask.views import MethodView
from flask_smorest import Blueprint

from control_plane.auth import authorize, context
from control_plane.database import transaction
from control_plane.databases import service
from control_plane.databases.schemas import DatabaseListSchema, DatabaseSchema
from control_plane.http import answers, preconditions
from control_plane.http.bodies import patched, takes, takes_patch
from control_plane.http.dry_run import takes_dry_run
from control_plane.http.paging import Page
from control_plane.http.queries import PAGED, takes_query
from control_plane.http.waiting import wait_for
from control_plane.instances import service as instances

blueprint = Blueprint(
    "databases",
    __name__,
    url_prefix="/v1/instances/<instance>/databases",
    description="Databases inside an instance.",
)
schema = DatabaseSchema()


@blueprint.route("")
class Databases(MethodView):
    @blueprint.response(200, DatabaseListSchema)
    @authorize("databases:list")
    @takes_query(*PAGED)
    def get(self, instance: str) -> Response:
        """List the instance's databases, unmanaged ones included"""
        page = Page.of_request()
        rows = service.listing(instances.find(context(), instance), page.marker or "", page.limit + 1)
        return page.answer(rows, lambda row: row.name, schema.dump)


@blueprint.route("/<database>")
class DatabaseByName(MethodView):
    @blueprint.response(200, DatabaseSchema)
    @authorize("databases:get")
    @takes_query("wait_for", "timeout")
    def get(self, instance: str, database: str) -> Response:
        """Show a database"""
        row = wait_for(
            lambda row: row.instance_id,
            lambda: service.find(context(), instance, database),
            lambda row: row.settled,
        )
        return answers.resource(row, schema.dump(row))

    @blueprint.response(200, DatabaseSchema)
    @blueprint.alt_response(202, schema=DatabaseSchema)
    @authorize("databases:update")
    @takes_dry_run()
    @takes(DatabaseSchema)
    def put(self, instance: str, database: str, body: dict[str, Any]) -> Response:
        """Create or replace a database"""
        return self._put(instance, database, body)

    @blueprint.response(200, DatabaseSchema)
    @blueprint.alt_response(202, schema=DatabaseSchema)
    @authorize("databases:update")
    @takes_dry_run()
    @takes_patch(DatabaseSchema)
    def patch(self, instance: str, database: str) -> Response:
        """Change a database by JSON merge-patch"""
        with transaction():
            row = service.find(context(), instance, database, for_update=True)
            return self._put(instance, database, patched(schema, row))

    def _put(self, instance: str, database: str, body: dict[str, Any]) -> Response:
        row, outcome = service.put(context(), instance, database, body, preconditions.of_request())
        return answers.written(
            row, schema.dump(row), outcome, "databases.DatabaseByName", later=True,
            instance=instance, database=row.name,
        )  # fmt: skip

    @blueprint.response(202, DatabaseSchema)
    @blueprint.alt_response(204)
    @authorize("databases:delete")
    @takes_dry_run(DatabaseSchema)
    def delete(self, instance: str, database: str) -> Response:
        """Drop a database and all that is in it"""
        return answers.deleting(
            lambda: service.delete(context(), instance, database, preconditions.of_request()), schema
        )
