import marshmallow as ma

from control_plane import names
from control_plane.http.bodies import BodySchema
from control_plane.http.fields import DryRunSchema, Text, Whole, list_schema


class TokenRequestSchema(BodySchema):
    name = Text(
        required=True,
        validate=ma.validate.Length(1, 255),
        metadata={"description": "Who or what it is for; events name it."},
    )
    project_id = Text(
        required=True,
        validate=ma.validate.Regexp(names.PROJECT_PATTERN, error=names.PROJECT_RULE),
        metadata={"description": "The project that it belongs to."},
    )
    role = Text(
        load_default="member",
        validate=ma.validate.OneOf(["reader", "member", "admin"]),
        metadata={"description": "Each role includes the ones before it."},
    )
    expires_in = Whole(
        load_default=None,
        allow_none=True,
        validate=ma.validate.Range(1, 315_360_000),
        metadata={"description": "Seconds until it expires. Null: never."},
    )


class TokenSchema(DryRunSchema):
    """A token, without its secret."""

    id = ma.fields.String(required=True)
    name = ma.fields.String(required=True)
    project_id = ma.fields.String(required=True)
    role = ma.fields.String(required=True)
    created_at = ma.fields.DateTime(required=True)
    expires_at = ma.fields.DateTime(required=True, allow_none=True)


class NewTokenSchema(TokenSchema):
    token = ma.fields.String(required=True, metadata={"description": "The token's text; shown this once."})


TokenListSchema = list_schema(TokenSchema)
