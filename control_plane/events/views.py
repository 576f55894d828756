from flask import Response, request
from flask.views import MethodView
from flask_smorest import Blueprint

from control_plane.auth import authorize, context, ensure
from control_plane.errors import Invalid
from control_plane.events import service
from control_plane.events.schemas import EventListSchema, EventSchema
from control_plane.http.paging import Page
from control_plane.http.queries import PAGED, flag, takes_query
from control_plane.instances import service as instances

blueprint = Blueprint(
    "events", __name__, url_prefix="/v1/events", description="What happened, oldest first."
)
schema = EventSchema()


@blueprint.route("")
class Events(MethodView):
    @blueprint.response(200, EventListSchema)
    @authorize("events:list")
    @takes_query("instance", "kind", "all_projects", *PAGED)
    def get(self) -> Response:
        """List the project's events, or one instance's

        Events of different instances may come into sight some seconds after others with higher ids. Who
        follows them asks again from some seconds back, and drops the ids already seen.
        """
        if everywhere := flag("all_projects"):
            ensure("events:list_all")
        query = request.args
        page = Page.of_request()
        marker = page.marker or "0"
        if not (marker.isascii() and marker.isdecimal() and len(marker) < 19):
            raise Invalid.field("?marker", f"{marker!r} is not an event's id.")
        instance = instances.find(context(), query["instance"]) if "instance" in query else None
        rows = service.listing(
            None if everywhere else context().project_id,
            instance.id if instance else None,
            int(marker),
            page.limit + 1,
            query.get("kind"),
        )
        return page.answer(rows, lambda row: str(row.id), schema.dump)
