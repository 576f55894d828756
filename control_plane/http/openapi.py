"""What the OpenAPI document says of all operations alike: authentication, parameters, problems."""

import marshmallow as ma
from flask_smorest import Api

from control_plane.http.fields import LinkSchema

SHARED_SCHEMAS = (LinkSchema,)


class FieldErrorSchema(ma.Schema):
    pointer = ma.fields.String(
        required=True, metadata={"description": "JSON pointer into the body, or `?name`."}
    )
    detail = ma.fields.String(required=True)


class ProblemSchema(ma.Schema):
    """RFC 9457 problem details with a stable `code`."""

    type = ma.fields.String(required=True)
    title = ma.fields.String(required=True)
    status = ma.fields.Integer(required=True)
    code = ma.fields.String(required=True)
    detail = ma.fields.String(required=True)
    errors = ma.fields.List(ma.fields.Nested(FieldErrorSchema))
    request_id = ma.fields.String()


def describe(api: Api) -> None:
    """Add the security scheme and the problem schema, and say they hold everywhere."""
    spec = api.spec
    assert spec is not None
    spec.components.security_scheme("token", {"type": "http", "scheme": "bearer"})
    spec.options["security"] = [{"token": []}]
    spec.components.schema("Problem", schema=ProblemSchema)
