"""What the OpenAPI document says of all operations alike: authentication, names, problems."""

from typing import Any

import marshmallow as ma
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import resolve_schema_instance
from apispec.ext.marshmallow.field_converter import FieldConverterMixin
from flask import Flask
from flask_smorest import Api

from control_plane.http.problems import codes


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
    code = ma.fields.String(
        required=True,
        metadata={
            "description": "Stable; programs go by it. docs/api/problems.md explains each.",
            "examples": sorted(codes()),
        },
    )
    detail = ma.fields.String(required=True)
    errors = ma.fields.List(ma.fields.Nested(FieldErrorSchema))
    request_id = ma.fields.String()


class CoffretApi(Api):  # type: ignore[misc]
    """flask-smorest's Api with problem+json as the answer to all that fails (http/problems.py)."""

    def __init__(self, app: Flask) -> None:
        super().__init__(
            app,
            spec_kwargs={
                "marshmallow_plugin": MarshmallowPlugin(schema_name_resolver=_schema_name),
                "info": {"description": "Database-as-a-service for OpenStack, made for Terraform."},
                "security": [{"token": []}, {"keystone": []}],
            },
        )
        self.ma_plugin.converter.add_attribute_function(_property_names)
        self.spec.components.security_scheme("token", {"type": "http", "scheme": "bearer"})
        self.spec.components.security_scheme(
            "keystone", {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}
        )

    def _register_error_handlers(self) -> None:
        """None: http/problems.py answers."""

    def _register_responses(self) -> None:
        problem = {
            "description": "What was wrong, where, and what would be right.",
            "content": {"application/problem+json": {"schema": ProblemSchema}},
        }
        self.spec.components.response(self.DEFAULT_ERROR_RESPONSE_NAME, problem)


def _property_names(
    converter: FieldConverterMixin, field: ma.fields.Field[Any], **_: Any
) -> dict[str, Any]:
    """What apispec leaves out of a mapping: what its names may be."""
    if not isinstance(field, ma.fields.Dict) or field.key_field is None:
        return {}
    facts = converter.field2property(field.key_field)
    said = {word: value for word, value in facts.items() if word != "type"}
    return {"propertyNames": said} if said else {}


def _schema_name(schema: Any) -> str:
    """`Database` for DatabaseSchema, `DatabasePatch` where every field may be left out."""
    made = resolve_schema_instance(schema)
    name = type(made).__name__.removesuffix("Schema")
    return f"{name}Patch" if made.partial else name
