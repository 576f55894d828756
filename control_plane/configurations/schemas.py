from typing import Any

import marshmallow as ma

from control_plane.http.fields import (
    NAMED,
    Mapping,
    ResourceSchema,
    Text,
    check_name,
    list_schema,
)


class Scalar(ma.fields.Field[Any]):
    """A string, number or boolean, kept as it was sent."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        if not isinstance(value, str | int | float | bool):
            raise ma.ValidationError("A parameter's value is a string, a number or a boolean.")
        return value


class GroupInstanceSchema(ma.Schema):
    """How far an attached instance is."""

    id = ma.fields.String(required=True)
    name = ma.fields.String(required=True)
    in_sync = ma.fields.Boolean(
        required=True, metadata={"description": "Whether the engine has been told the values."}
    )
    restart_required = ma.fields.Boolean(
        required=True, metadata={"description": "Whether some values wait for a restart."}
    )


class ConfigurationGroupStatusSchema(ma.Schema):
    datastore_version = ma.fields.String(
        metadata={"description": "The datastore version that it is for.", "x-stable": True}
    )
    instances = ma.fields.List(
        ma.fields.Nested(GroupInstanceSchema),
        metadata={"description": "The instances attached to it.", "x-terraform": "omit"},
    )


class ConfigurationGroupSchema(ResourceSchema):
    """Parameter values that many instances share and are kept in sync with."""

    name = Text(
        validate=check_name,
        metadata={
            "description": "Name, unique in the project. It can be changed.",
            **NAMED,
            "x-key": True,
        },
    )
    datastore = Text(
        required=True,
        metadata={"description": "Name of the datastore.", "x-immutable": True},
    )
    version = Text(
        load_default=None,
        allow_none=True,
        validate=ma.validate.Length(1, 255),
        metadata={
            "description": "Datastore version or the beginning of one. Null: the default.",
            "x-immutable": True,
        },
    )
    description = Text(
        load_default="",
        validate=ma.validate.Length(max=1024),
        metadata={"description": "For people."},
    )
    parameters = Mapping(
        keys=Text(validate=ma.validate.Length(1, 255)),
        values=Scalar(metadata={"type": ["string", "number", "boolean"]}),
        load_default=dict,
        validate=ma.validate.Length(max=1000),
        metadata={
            "description": "Values by the engine's parameter names, checked against the version's"
            " catalogue. What is not named has the engine's default.",
            "default": {},
        },
    )
    status = ma.fields.Nested(ConfigurationGroupStatusSchema, dump_only=True)


ConfigurationGroupListSchema = list_schema(ConfigurationGroupSchema)
