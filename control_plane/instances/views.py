from typing import Any

from flask import Response, request
from flask.views import MethodView
from flask_smorest import Blueprint

from control_plane import names
from control_plane.auth import authorize, context, ensure
from control_plane.databases import service as databases
from control_plane.databases.schemas import DatabaseSchema
from control_plane.errors import Invalid
from control_plane.http import answers, preconditions
from control_plane.http.bodies import patched, takes, takes_patch
from control_plane.http.dry_run import takes_dry_run
from control_plane.http.idempotency import idempotent
from control_plane.http.paging import Page
from control_plane.http.preconditions import set_etag
from control_plane.http.queries import PAGED, takes_query
from control_plane.http.representations import Insides, Representations
from control_plane.http.waiting import wait_for
from control_plane.instances import service
from control_plane.instances.models import Instance
from control_plane.instances.schemas import (
    ActionListSchema,
    ActionRequestSchema,
    ActionSchema,
    InstanceListSchema,
    InstanceSchema,
)
from control_plane.instances.status import settled
from control_plane.upsert import Outcome
from control_plane.users import service as users
from control_plane.users.schemas import UserSchema

blueprint = Blueprint(
    "instances",
    __name__,
    url_prefix="/v1/instances",
    description="Instances: a datastore version that runs.",
)
schema = InstanceSchema()
shown = Representations(schema.dump, service.load)
action_schema = ActionSchema()
INCLUDES = {
    "databases": Insides(
        DatabaseSchema(many=True).dump, lambda key: databases.listing(_find(key)), databases.revisions
    ),
    "users": Insides(UserSchema(many=True).dump, lambda key: users.listing(_find(key)), users.revisions),
}


def _find(key: str) -> Instance:
    return service.find(context(), key)


def _filters() -> service.Filters:
    labels = {}
    for item in request.args.getlist("label"):
        name, equals, value = item.partition("=")
        if not equals:
            raise Invalid.field("?label", f"{item!r} is not `name=value`.")
        if not names.is_label(name):
            raise Invalid.field("?label", f"A label's name {names.LABEL_RULE}.")
        labels[name] = value
    return service.Filters(
        name=request.args.get("name"),
        datastore=request.args.get("datastore"),
        phase=request.args.get("status"),
        labels=labels,
    )


def _includes() -> list[str]:
    wanted = [name for name in request.args.get("include", "").split(",") if name]
    for name in wanted:
        if name not in INCLUDES:
            raise Invalid.field("?include", f"{name!r} can't be included; {', '.join(INCLUDES)} can.")
        ensure(f"{name}:list")
    return wanted


def _text(head: service.Head, includes: list[str]) -> str:
    (text,) = shown.texts([head])
    parts = [f'"{name}":{INCLUDES[name].text(head)}' for name in includes]
    return ",".join([text.removesuffix("}"), *parts]) + "}"


@blueprint.route("")
class Instances(MethodView):
    @blueprint.response(200, InstanceListSchema)
    @authorize("instances:list")
    @takes_query("name", "datastore", "status", "label", *PAGED)
    def get(self) -> Response:
        """List the project's instances"""
        filters = _filters()
        page = Page.of_request()
        rows = service.listing(context(), filters, page.marker or "", page.limit + 1)
        texts = shown.texts(rows[: page.limit])
        return page.answer_texts(rows, lambda row: row.name, texts)


@blueprint.route("/<instance>")
class InstanceByName(MethodView):
    @blueprint.response(200, InstanceSchema)
    @authorize("instances:get")
    @takes_query("wait_for", "timeout", "include")
    def get(self, instance: str) -> Response:
        """Show an instance"""
        includes = _includes()
        head: service.Head
        if request.args.keys() <= {"include"}:
            head = service.head(context(), instance)
        else:
            head = wait_for(lambda row: row.id, lambda: _find(instance), settled)
        return set_etag(answers.text(_text(head, includes)), head)

    @blueprint.response(200, InstanceSchema)
    @blueprint.alt_response(202, schema=InstanceSchema)
    @authorize("instances:update")
    @takes_dry_run()
    @takes(InstanceSchema)
    def put(self, instance: str, body: dict[str, Any]) -> Response:
        """Create or replace an instance"""
        return self._written(*service.put(context(), instance, body, preconditions.of_request()))

    @blueprint.response(200, InstanceSchema)
    @blueprint.alt_response(202, schema=InstanceSchema)
    @authorize("instances:update")
    @takes_dry_run()
    @takes_patch(InstanceSchema)
    def patch(self, instance: str) -> Response:
        """Change an instance by JSON merge-patch"""
        return self._written(
            *service.patch(
                context(), instance, lambda row: patched(schema, row), preconditions.of_request()
            )
        )

    def _written(self, row: Instance, outcome: Outcome) -> Response:
        return answers.written(
            row, schema.dump(row), outcome, "instances.InstanceByName", later=True,
            instance=row.name,
        )  # fmt: skip

    @blueprint.response(202, InstanceSchema)
    @blueprint.alt_response(204)
    @authorize("instances:delete")
    @takes_dry_run(InstanceSchema)
    def delete(self, instance: str) -> Response:
        """Delete an instance with its volume and all that is on it"""
        return answers.deleting(
            lambda: service.delete(context(), instance, preconditions.of_request()), schema
        )


@blueprint.route("/<instance>/actions")
class Actions(MethodView):
    @blueprint.response(200, ActionListSchema)
    @authorize("instances:actions:list")
    @takes_query(*PAGED)
    def get(self, instance: str) -> Response:
        """List the instance's actions"""
        page = Page.of_request()
        row = service.find(context(), instance)
        rows = service.actions(row, page.marker or "", page.limit + 1)
        return page.answer(rows, lambda action: action.id, action_schema.dump)

    @blueprint.response(202, ActionSchema)
    @authorize("instances:actions:create")
    @takes_query()
    @takes(ActionRequestSchema)
    @idempotent
    def post(self, instance: str, body: dict[str, Any]) -> Response:
        """Do something once to the instance: restart its engine, rebuild its server"""
        return answers.plain(action_schema.dump(service.act(context(), instance, body["type"])), 202)


@blueprint.route("/<instance>/actions/<action>")
class ActionById(MethodView):
    @blueprint.response(200, ActionSchema)
    @authorize("instances:actions:get")
    @takes_query()
    def get(self, instance: str, action: str) -> Response:
        """Show an action"""
        row = service.action(service.find(context(), instance), action)
        return answers.plain(action_schema.dump(row))
