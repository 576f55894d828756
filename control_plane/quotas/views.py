from typing import Any

from flask import Response
from flask.views import MethodView
from flask_smorest import Blueprint

from control_plane.auth import authorize
from control_plane.http import answers, preconditions
from control_plane.http.bodies import takes
from control_plane.http.dry_run import takes_dry_run
from control_plane.http.queries import takes_query
from control_plane.quotas import service
from control_plane.quotas.models import Quota
from control_plane.quotas.schemas import QuotaSchema

blueprint = Blueprint("quotas", __name__, url_prefix="/v1/quotas", description="What a project may use.")
schema = QuotaSchema()


def _dump(row: Quota) -> dict[str, Any]:
    status = {"limits": service.limits(row.project_id), "usage": service.usage(row.project_id)}
    return {**schema.dump(row), "status": status}


@blueprint.route("/<project>")
class QuotaByProject(MethodView):
    @blueprint.response(200, QuotaSchema)
    @authorize("quotas:get")
    @takes_query()
    def get(self, project: str) -> Response:
        """Show a project's quota and what it uses"""
        row = service.find(project)
        return answers.resource(row, _dump(row))

    @blueprint.response(200, QuotaSchema)
    @blueprint.alt_response(201, schema=QuotaSchema)
    @authorize("quotas:update")
    @takes_dry_run()
    @takes(QuotaSchema)
    def put(self, project: str, body: dict[str, Any]) -> Response:
        """Set a project's quota"""
        row, outcome = service.put(project, body, preconditions.of_request())
        return answers.written(row, _dump(row), outcome, "quotas.QuotaByProject", project=project)
