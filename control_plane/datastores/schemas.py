import marshmallow as ma

from control_plane.datastores.managers import MANAGERS
from control_plane.http.fields import NAMED, Flag, ResourceSchema, Text, check_name, list_schema


class DatastoreSchema(ResourceSchema):
    """A database engine that can be managed."""

    name = Text(
        validate=check_name,
        metadata={
            "description": "Name of the datastore.",
            **NAMED,
            "x-key": True,
            "x-immutable": True,
        },
    )
    manager = Text(
        required=True,
        metadata={
            "description": "What knows the engine.",
            "enum": list(MANAGERS),
            "x-immutable": True,
        },
    )
    description = Text(
        load_default="",
        validate=ma.validate.Length(max=1024),
        metadata={"description": "For people."},
    )
    default_version = Text(
        load_default=None,
        allow_none=True,
        validate=ma.validate.Length(1, 255),
        metadata={"description": "Version of new instances that name none. Null: the newest."},
    )


class DatastoreVersionSchema(ResourceSchema):
    """One version of a datastore: its image, its packages and its parameter catalogue."""

    name = Text(
        validate=check_name,
        metadata={
            "description": "The version, such as `18`.",
            **NAMED,
            "x-key": True,
            "x-immutable": True,
        },
    )
    image = Text(
        load_default=None,
        allow_none=True,
        validate=ma.validate.Length(1, 255),
        metadata={"description": "Glance image. Null: by image_tags, or this machine's binaries."},
    )
    image_tags = ma.fields.List(
        Text(validate=ma.validate.Length(1, 255)),
        load_default=list,
        validate=ma.validate.Length(max=5),
        metadata={
            "description": "Tags of the Glance image; the newest that has all is used.",
            "default": [],
        },
    )
    packages = ma.fields.List(
        Text(validate=ma.validate.Length(1, 255)),
        load_default=list,
        validate=ma.validate.Length(max=1000),
        metadata={"description": "Packages in the image.", "default": []},
    )
    active = Flag(load_default=True, metadata={"description": "Whether new instances may be of it."})
    deprecated = Flag(
        load_default=False, metadata={"description": "Whether users should move away from it."}
    )
    engine_version = ma.fields.String(
        dump_only=True,
        metadata={
            "description": "The exact engine that the parameter catalogue was read from.",
            "x-stable": True,
        },
    )


class ParameterSchema(ma.Schema):
    """A parameter that the engine knows."""

    name = ma.fields.String(required=True)
    type = ma.fields.String(
        required=True, metadata={"enum": ["string", "integer", "number", "boolean", "enum"]}
    )
    description = ma.fields.String(required=True)
    default = ma.fields.String(
        required=True, allow_none=True, metadata={"description": "Null: none, or derived."}
    )
    unit = ma.fields.String(
        required=True, allow_none=True, metadata={"description": "What a bare number counts."}
    )
    minimum = ma.fields.Float(required=True, allow_none=True)
    maximum = ma.fields.Float(required=True, allow_none=True)
    values = ma.fields.List(ma.fields.String(), required=True, allow_none=True)
    restart_required = ma.fields.Boolean(
        required=True, metadata={"description": "Whether a change takes a restart."}
    )
    settable = ma.fields.Boolean(
        required=True, metadata={"description": "False: the engine's or Coffret's own."}
    )


DatastoreListSchema = list_schema(DatastoreSchema)
DatastoreVersionListSchema = list_schema(DatastoreVersionSchema)
ParameterListSchema = list_schema(ParameterSchema)
