import marshmallow as ma

from control_plane import names
from control_plane.http.fields import ResourceSchema, StatusSchema, Text, list_schema


class DatabaseStatusSchema(StatusSchema):
    managed = ma.fields.Boolean(
        metadata={"description": "False: seen in the engine, but nobody's here; a PUT adopts it."}
    )
    uri = ma.fields.String(
        allow_none=True,
        metadata={"description": "Connection URI without user and password.", "x-stable": True},
    )


class DatabaseSchema(ResourceSchema):
    """A database inside an instance: what applications connect to."""

    name = Text(
        metadata={
            "description": "Name of the database; its key in the instance.",
            "minLength": 1,
            "maxLength": 64,
            "pattern": f"^{names.INNER}$",
            "x-rule": names.INNER_RULE,
            "x-key": True,
            "x-immutable": True,
        }
    )
    character_set = Text(
        load_default=None,
        allow_none=True,
        validate=ma.validate.Length(1, 64),
        metadata={
            "description": "Character set (PostgreSQL: encoding). Null: the engine's default.",
            "example": "UTF8",
        },
    )
    collation = Text(
        load_default=None,
        allow_none=True,
        validate=ma.validate.Length(1, 64),
        metadata={
            "description": "Collation, one of the character set's. Null: the engine's default.",
            "example": "C.UTF-8",
        },
    )
    owner = Text(
        load_default=None,
        allow_none=True,
        metadata={
            "description": "User of the instance that owns the database (PostgreSQL). Null: Coffret."
        },
    )
    deletion_policy = Text(
        load_default=None,
        allow_none=True,
        validate=ma.validate.OneOf(["drop", "refuse", "abandon"]),
        metadata={
            "description": "What deleting it does: `drop` it with all that is in it, `refuse`, also to"
            " delete the instance, or leave it in the engine and forget it (`abandon`). Null: `drop`, but"
            " `refuse` while the instance has `deletion_protection`."
        },
    )
    status = ma.fields.Nested(DatabaseStatusSchema, dump_only=True)


DatabaseListSchema = list_schema(DatabaseSchema)
