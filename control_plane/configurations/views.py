from typing import Any

from flask import Response, request
from flask.views import MethodView
from flask_smorest import Blueprint

from control_plane.auth import authorize, context
from control_plane.configurations import service
from control_plane.configurations.models import ConfigurationGroup
from control_plane.configurations.schemas import (
    ConfigurationGroupListSchema,
    ConfigurationGroupSchema,
)
from control_plane.database import transaction
from control_plane.http import answers, preconditions
from control_plane.http.bodies import patched, takes, takes_patch
from control_plane.http.dry_run import takes_dry_run
from control_plane.http.paging import Page
from control_plane.http.queries import PAGED, takes_query

blueprint = Blueprint(
    "configuration_groups",
    __name__,
    url_prefix="/v1/configuration-groups",
    description="Parameter values that many instances share.",
)
schema = ConfigurationGroupSchema()


def _dump(row: ConfigurationGroup) -> dict[str, Any]:
    return {**schema.dump(row), "status": service.status(row)}


@blueprint.route("")
class ConfigurationGroups(MethodView):
    @blueprint.response(200, ConfigurationGroupListSchema)
    @authorize("configuration_groups:list")
    @takes_query("name", "datastore", *PAGED)
    def get(self) -> Response:
        """List the project's configuration groups"""
        query = request.args
        page = Page.of_request()
        rows = service.listing(
            context(), query.get("name"), query.get("datastore"), page.marker or "", page.limit + 1
        )
        return page.answer(rows, lambda row: row.name, _dump)


@blueprint.route("/<group>")
class ConfigurationGroupByName(MethodView):
    @blueprint.response(200, ConfigurationGroupSchema)
    @authorize("configuration_groups:get")
    @takes_query()
    def get(self, group: str) -> Response:
        """Show a configuration group and how far its instances are"""
        row = service.find(context(), group)
        return answers.resource(row, _dump(row))

    @blueprint.response(200, ConfigurationGroupSchema)
    @blueprint.alt_response(201, schema=ConfigurationGroupSchema)
    @authorize("configuration_groups:update")
    @takes_dry_run()
    @takes(ConfigurationGroupSchema)
    def put(self, group: str, body: dict[str, Any]) -> Response:
        """Create or replace a configuration group; attached instances follow"""
        return self._put(group, body)

    @blueprint.response(200, ConfigurationGroupSchema)
    @authorize("configuration_groups:update")
    @takes_dry_run()
    @takes_patch(ConfigurationGroupSchema)
    def patch(self, group: str) -> Response:
        """Change a configuration group by JSON merge-patch; attached instances follow"""
        with transaction():
            return self._put(group, patched(schema, service.find(context(), group, for_update=True)))

    def _put(self, group: str, body: dict[str, Any]) -> Response:
        row, outcome = service.put(context(), group, body, preconditions.of_request())
        return answers.written(
            row,
            _dump(row),
            outcome,
            "configuration_groups.ConfigurationGroupByName",
            group=row.name,
        )

    @blueprint.response(204)
    @authorize("configuration_groups:delete")
    @takes_dry_run(ConfigurationGroupSchema)
    def delete(self, group: str) -> Response:
        """Delete a configuration group that no instance is attached to"""
        return answers.deleted(service.delete(context(), group, preconditions.of_request()), _dump)
