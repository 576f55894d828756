from flask import Response
from flask.views import MethodView
from flask_smorest import Blueprint

from control_plane.auth import Role, require
from control_plane.errors import Invalid
from control_plane.flavors import service
from control_plane.flavors.schemas import FlavorListSchema, FlavorSchema
from control_plane.http import answers
from control_plane.http.paging import query_parameters

blueprint = Blueprint(
    "flavors", __name__, url_prefix="/v1/flavors", description="Memory and CPU of instances."
)
schema = FlavorSchema()


@blueprint.route("")
class Flavors(MethodView):
    @blueprint.response(200, FlavorListSchema)
    @require(Role.READER)
    def get(self) -> Response:
        """List the flavors that fit, the smallest first"""
        query = query_parameters("min_ram", "min_vcpus", "min_memory_per_vcpu")
        rows = service.listing(**{name: _number(name, text) for name, text in query.items()})
        return answers.plain({"items": schema.dump(rows, many=True), "links": []})


@blueprint.route("/<flavor>")
class FlavorByName(MethodView):
    @blueprint.response(200, FlavorSchema)
    @require(Role.READER)
    def get(self, flavor: str) -> Response:
        """Show a flavor"""
        query_parameters()
        return answers.plain(schema.dump(service.find(flavor)))


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise Invalid.field(f"?{name}", f"{text!r} is not a whole number from 0 up.")
    return int(text)
