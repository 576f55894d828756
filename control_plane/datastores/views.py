from typing import Any

from flask import Response
from flask.views import MethodView
from flask_smorest import Blueprint

from control_plane.auth import authorize
from control_plane.database import transaction
from control_plane.datastores import service
from control_plane.datastores.schemas import (
    DatastoreListSchema,
    DatastoreSchema,
    DatastoreVersionListSchema,
    DatastoreVersionSchema,
    ParameterListSchema,
    ParameterSchema,
)
from control_plane.http import answers, preconditions
from control_plane.http.bodies import patched, takes, takes_patch
from control_plane.http.dry_run import takes_dry_run
from control_plane.http.paging import Page
from control_plane.http.queries import PAGED, flag, takes_query

blueprint = Blueprint(
    "datastores",
    __name__,
    url_prefix="/v1/datastores",
    description="Engines that can be managed, their versions and parameters.",
)
schema = DatastoreSchema()
version_schema = DatastoreVersionSchema()
parameter_schema = ParameterSchema()


@blueprint.route("")
class Datastores(MethodView):
    @blueprint.response(200, DatastoreListSchema)
    @authorize("datastores:list")
    @takes_query(*PAGED)
    def get(self) -> Response:
        """List the datastores"""
        page = Page.of_request()
        rows = service.listing(page.marker or "", page.limit + 1)
        return page.answer(rows, lambda row: row.name, schema.dump)


@blueprint.route("/<datastore>")
class DatastoreByName(MethodView):
    @blueprint.response(200, DatastoreSchema)
    @authorize("datastores:get")
    @takes_query()
    def get(self, datastore: str) -> Response:
        """Show a datastore"""
        row = service.find(datastore)
        return answers.resource(row, schema.dump(row))

    @blueprint.response(200, DatastoreSchema)
    @blueprint.alt_response(201, schema=DatastoreSchema)
    @authorize("datastores:update")
    @takes_dry_run()
    @takes(DatastoreSchema)
    def put(self, datastore: str, body: dict[str, Any]) -> Response:
        """Create or replace a datastore"""
        return self._put(datastore, body)

    @blueprint.response(200, DatastoreSchema)
    @authorize("datastores:update")
    @takes_dry_run()
    @takes_patch(DatastoreSchema)
    def patch(self, datastore: str) -> Response:
        """Change a datastore by JSON merge-patch"""
        with transaction():
            return self._put(datastore, patched(schema, service.find(datastore, for_update=True)))

    def _put(self, datastore: str, body: dict[str, Any]) -> Response:
        row, outcome = service.put(datastore, body, preconditions.of_request())
        return answers.written(
            row, schema.dump(row), outcome, "datastores.DatastoreByName", datastore=row.name
        )

    @blueprint.response(204)
    @authorize("datastores:delete")
    @takes_dry_run(DatastoreSchema)
    def delete(self, datastore: str) -> Response:
        """Delete a datastore that has no versions"""
        row = service.delete(datastore, preconditions.of_request())
        return answers.deleted(row, schema.dump)


@blueprint.route("/<datastore>/versions")
class Versions(MethodView):
    @blueprint.response(200, DatastoreVersionListSchema)
    @authorize("datastores:versions:list")
    @takes_query(*PAGED)
    def get(self, datastore: str) -> Response:
        """List a datastore's versions"""
        page = Page.of_request()
        rows = service.versions(datastore, page.marker or "", page.limit + 1)
        return page.answer(rows, lambda row: row.name, version_schema.dump)


@blueprint.route("/<datastore>/versions/<version>")
class VersionByName(MethodView):
    @blueprint.response(200, DatastoreVersionSchema)
    @authorize("datastores:versions:get")
    @takes_query()
    def get(self, datastore: str, version: str) -> Response:
        """Show a datastore version"""
        row = service.find_version(datastore, version)
        return answers.resource(row, version_schema.dump(row))

    @blueprint.response(200, DatastoreVersionSchema)
    @blueprint.alt_response(201, schema=DatastoreVersionSchema)
    @authorize("datastores:versions:update")
    @takes_dry_run()
    @takes(DatastoreVersionSchema)
    def put(self, datastore: str, version: str, body: dict[str, Any]) -> Response:
        """Create or replace a datastore version

        A new version starts with the parameter catalogue of its nearest sibling of the same major
        number; `coffret datastore import` brings a catalogue of its own.
        """
        return self._put(datastore, version, body)

    @blueprint.response(200, DatastoreVersionSchema)
    @authorize("datastores:versions:update")
    @takes_dry_run()
    @takes_patch(DatastoreVersionSchema)
    def patch(self, datastore: str, version: str) -> Response:
        """Change a datastore version by JSON merge-patch"""
        with transaction():
            row = service.find_version(datastore, version)
            return self._put(datastore, version, patched(version_schema, row))

    def _put(self, datastore: str, version: str, body: dict[str, Any]) -> Response:
        row, outcome = service.put_version(datastore, version, body, preconditions.of_request())
        return answers.written(
            row, version_schema.dump(row), outcome, "datastores.VersionByName",
            datastore=row.datastore.name, version=row.name,
        )  # fmt: skip

    @blueprint.response(204)
    @authorize("datastores:versions:delete")
    @takes_dry_run(DatastoreVersionSchema)
    def delete(self, datastore: str, version: str) -> Response:
        """Delete a datastore version that nothing uses"""
        row = service.delete_version(datastore, version, preconditions.of_request())
        return answers.deleted(row, version_schema.dump)


@blueprint.route("/<datastore>/versions/<version>/parameters")
class Parameters(MethodView):
    @blueprint.response(200, ParameterListSchema)
    @authorize("datastores:parameters:list")
    @takes_query("settable", *PAGED)
    def get(self, datastore: str, version: str) -> Response:
        """List the parameters that the version knows"""
        page = Page.of_request()
        entries = service.parameters(
            service.find_version(datastore, version),
            page.marker or "",
            page.limit + 1,
            settable_only=flag("settable"),
        )
        return page.answer(entries, lambda entry: entry["name"], parameter_schema.dump)


@blueprint.route("/<datastore>/versions/<version>/parameters/<parameter>")
class ParameterByName(MethodView):
    @blueprint.response(200, ParameterSchema)
    @authorize("datastores:parameters:get")
    @takes_query()
    def get(self, datastore: str, version: str, parameter: str) -> Response:
        """Show a parameter"""
        entry = service.parameter(service.find_version(datastore, version), parameter)
        return answers.plain(parameter_schema.dump(entry))
