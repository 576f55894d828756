from flask import Response
from flask.views import MethodView
from flask_smorest import Blueprint

from control_plane.auth import authorize
from control_plane.flavors import service
from control_plane.flavors.schemas import FlavorListSchema, FlavorSchema
from control_plane.http import answers
from control_plane.http.queries import count, takes_query

blueprint = Blueprint(
    "flavors", __name__, url_prefix="/v1/flavors", description="Memory and CPU of instances."
)
schema = FlavorSchema()
FITTING = ("min_ram", "min_vcpus", "min_memory_per_vcpu")


@blueprint.route("")
class Flavors(MethodView):
    @blueprint.response(200, FlavorListSchema)
    @authorize("flavors:list")
    @takes_query(*FITTING)
    def get(self) -> Response:
        """List the flavors that fit, the smallest first"""
        rows = service.listing(**{name: count(name) for name in FITTING})
        return answers.plain({"items": schema.dump(rows, many=True), "links": []})


@blueprint.route("/<flavor>")
class FlavorByName(MethodView):
    @blueprint.response(200, FlavorSchema)
    @authorize("flavors:get")
    @takes_query()
    def get(self, flavor: str) -> Response:
        """Show a flavor"""
        return answers.plain(schema.dump(service.find(flavor)))
