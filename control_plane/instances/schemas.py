import ipaddress
from typing import Any

import marshmallow as ma

from control_plane.databases.schemas import DatabaseSchema
from control_plane.http.bodies import BodySchema
from control_plane.http.fields import (
    NAMED,
    ConditionSchema,
    Flag,
    ResourceSchema,
    StatusSchema,
    Text,
    Whole,
    check_name,
    labels,
    list_schema,
)
from control_plane.instances import status
from control_plane.instances.models import Instance
from control_plane.users.schemas import UserSchema


class VolumeSchema(BodySchema):
    size = Whole(
        required=True,
        validate=ma.validate.Range(1, 65_536),
        metadata={"description": "GiB. A volume grows; it never shrinks."},
    )
    type = Text(
        load_default=None,
        allow_none=True,
        validate=ma.validate.Length(1, 255),
        metadata={
            "description": "Cinder volume type. Null: the cloud's default.",
            "x-immutable": True,
        },
    )


def _address(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        raise ma.ValidationError(f"{text!r} is not an IP address.") from error


class NetworkSchema(BodySchema):
    network_id = Text(
        load_default=None,
        allow_none=True,
        validate=ma.validate.Length(1, 255),
        metadata={"description": "Neutron network."},
    )
    subnet_id = Text(
        load_default=None,
        allow_none=True,
        validate=ma.validate.Length(1, 255),
        metadata={"description": "Neutron subnet."},
    )
    ip_address = Text(
        load_default=None,
        allow_none=True,
        validate=_address,
        metadata={"description": "Fixed address.", "format": "ip"},
    )


def _cidr(text: str) -> None:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise ma.ValidationError(
            f"{text!r} is not a CIDR such as 192.0.2.0/24 or 2001:db8::/32."
        ) from error
    if str(network) != text:
        raise ma.ValidationError(f"Write {text!r} as {network}: with its prefix and no host bits.")


class AccessSchema(BodySchema):
    is_public = Flag(
        load_default=False, metadata={"description": "Whether the instance gets a public address."}
    )
    allowed_cidrs = ma.fields.List(
        Text(validate=_cidr, metadata={"format": "cidr"}),
        load_default=None,
        allow_none=True,
        validate=ma.validate.Length(max=100),
        metadata={
            "description": "Networks that may connect. Empty: nobody. Null: whoever is on the network.",
            "x-set": True,
        },
    )

    @ma.post_load
    def _order(self, access: dict[str, Any], **_: Any) -> dict[str, Any]:
        cidrs = access["allowed_cidrs"]
        return access | {"allowed_cidrs": None if cidrs is None else sorted(set(cidrs))}


class ServerGroupSchema(BodySchema):
    name = Text(
        required=True,
        validate=check_name,
        metadata={
            "description": "Name, the project's own. Instances that name the same group belong together.",
            **NAMED,
        },
    )
    policy = Text(
        required=True,
        validate=ma.validate.OneOf(["affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"]),
        metadata={
            "description": "Whether its instances shall share a host or shall not; `soft-` where possible."
        },
    )


class EndpointSchema(ma.Schema):
    name = ma.fields.String(required=True)
    host = ma.fields.String(required=True)
    port = ma.fields.Integer(required=True)
    uri = ma.fields.String(
        required=True, metadata={"description": "Connection URI without user, password, database."}
    )


class PendingChangeSchema(ma.Schema):
    name = ma.fields.String(required=True, metadata={"description": "The parameter."})
    running = ma.fields.String(
        required=True, allow_none=True, metadata={"description": "Value that runs now."}
    )
    desired = ma.fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Value after a restart; null: the default."},
    )


class InstanceStatusSchema(StatusSchema):
    operating_status = ma.fields.String(metadata={"description": "How the engine is, in Trove's words."})
    conditions = ma.fields.List(
        ma.fields.Nested(ConditionSchema),
        metadata={"description": "The state, aspect by aspect.", "x-terraform": "omit"},
    )
    datastore_version = ma.fields.String(
        metadata={"description": "The datastore version that it runs.", "x-stable": True}
    )
    engine_version = ma.fields.String(
        allow_none=True,
        metadata={"description": "The engine's own version.", "x-stable": True},
    )
    endpoints = ma.fields.List(
        ma.fields.Nested(EndpointSchema),
        metadata={"description": "Where clients connect.", "x-stable": True},
    )
    pending_changes = ma.fields.List(
        ma.fields.Nested(PendingChangeSchema),
        metadata={"description": "Parameters that take a restart to become what is wanted."},
    )
    restart_required = ma.fields.Boolean(
        metadata={"description": "Whether pending_changes wait for a restart."}
    )
    volume_used = ma.fields.Integer(
        allow_none=True,
        metadata={"description": "Bytes used on the volume.", "x-terraform": "omit"},
    )


class InstanceSchema(ResourceSchema):
    """A datastore version that runs, with its volume and its guest agent."""

    name = Text(
        validate=check_name,
        metadata={
            "description": "Name, unique in the project. It can be changed.",
            **NAMED,
            "x-key": True,
        },
    )
    datastore = Text(required=True, metadata={"description": "Name of the datastore.", "x-immutable": True})
    version = Text(
        load_default=None,
        allow_none=True,
        validate=ma.validate.Length(1, 255),
        metadata={"description": "Datastore version or the beginning of one (`18`). Null: the default."},
    )
    flavor = Text(required=True, metadata={"description": "Name or id of the flavor."})
    volume = ma.fields.Nested(VolumeSchema, required=True, metadata={"description": "The data volume."})
    network = ma.fields.Nested(
        NetworkSchema,
        load_default=None,
        allow_none=True,
        metadata={
            "description": "Where its port is. Null: the cloud's choice.",
            "x-immutable": True,
        },
    )
    access = ma.fields.Nested(
        AccessSchema,
        load_default=lambda: {"is_public": False, "allowed_cidrs": None},
        metadata={
            "description": "Who may connect.",
            "default": {"is_public": False, "allowed_cidrs": None},
        },
    )
    availability_zone = Text(
        load_default=None,
        allow_none=True,
        validate=ma.validate.Length(1, 255),
        metadata={"description": "Nova availability zone. Null: any.", "x-immutable": True},
    )
    configuration_group = Text(
        load_default=None,
        allow_none=True,
        metadata={"description": "Name of the configuration group that it is attached to."},
    )
    restart_policy = Text(
        load_default="manual",
        validate=ma.validate.OneOf(["manual", "automatic"]),
        metadata={
            "description": "What to do with changes that need a restart: leave them pending"
            " (`manual`) or restart (`automatic`)."
        },
    )
    rebuild_policy = Text(
        load_default="automatic",
        validate=ma.validate.OneOf(["manual", "automatic"]),
        metadata={
            "description": "What to do when its server is gone: make another around the kept volume"
            " (`automatic`) or wait for a rebuild action (`manual`)."
        },
    )
    server_group = ma.fields.Nested(
        ServerGroupSchema,
        load_default=None,
        allow_none=True,
        metadata={"description": "Nova server group, which says where it is placed.", "x-immutable": True},
    )
    deletion_protection = Flag(
        load_default=False,
        metadata={
            "description": "Refuse to delete it while true, and those databases in it whose"
            " `deletion_policy` is null."
        },
    )
    labels = labels()
    databases = ma.fields.List(
        ma.fields.Nested(DatabaseSchema),
        dump_only=True,
        metadata={"description": "With `include=databases`.", "x-terraform": "omit"},
    )
    users = ma.fields.List(
        ma.fields.Nested(UserSchema),
        dump_only=True,
        metadata={"description": "With `include=users`.", "x-terraform": "omit"},
    )
    status = ma.fields.Nested(InstanceStatusSchema, dump_only=True)

    @ma.pre_dump
    def _shape(self, row: Instance, **_: Any) -> dict[str, Any]:
        return {
            "id": row.id,
            "name": row.name,
            "generation": row.generation,
            "created_at": row.created_at,
            "updated_at": row.updated_at,
            "datastore": row.datastore_version.datastore.name,
            "version": row.version,
            "flavor": row.flavor,
            "volume": {"size": row.volume_size, "type": row.volume_type},
            "network": {**_NOWHERE, **row.network} if row.network else None,
            "access": {"is_public": row.is_public, "allowed_cidrs": row.allowed_cidrs},
            "availability_zone": row.availability_zone,
            "configuration_group": row.group.name if row.group else None,
            "restart_policy": row.restart_policy,
            "rebuild_policy": row.rebuild_policy,
            "server_group": row.server_group,
            "deletion_protection": row.deletion_protection,
            "labels": row.labels,
            "status": status.shown(row),
        }


_NOWHERE = {"network_id": None, "subnet_id": None, "ip_address": None}
InstanceListSchema = list_schema(InstanceSchema)


_ACTIONS = {
    "restart": "Restarts the engine. Parameters that wait for a restart take effect.",
    "rebuild": "Makes the server anew, from the image that its datastore version has now. The volume and"
    " what is on it are kept.",
}


class ActionRequestSchema(BodySchema):
    type = Text(
        required=True,
        validate=ma.validate.OneOf(list(_ACTIONS)),
        metadata={"description": "What to do.", "x-enumDescriptions": _ACTIONS},
    )


class ActionSchema(ma.Schema):
    id = ma.fields.String(required=True)
    type = ma.fields.String(required=True)
    phase = ma.fields.String(
        required=True, metadata={"enum": ["REQUESTED", "DONE"], "description": "How far it is."}
    )
    created_at = ma.fields.DateTime(required=True)
    finished_at = ma.fields.DateTime(required=True, allow_none=True)


ActionListSchema = list_schema(ActionSchema)
