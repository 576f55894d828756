from typing import Any

import marshmallow as ma

from control_plane.http.bodies import BodySchema
from control_plane.http.fields import DryRunSchema, Whole


def _limit(of: str) -> Any:
    return Whole(
        load_default=None,
        allow_none=True,
        validate=ma.validate.Range(0, 2**31 - 1),
        metadata={"description": f"Most {of}. Null: the control plane's default."},
    )


class UsageSchema(ma.Schema):
    instances = ma.fields.Integer(required=True)
    volume_size = ma.fields.Integer(required=True, metadata={"description": "GiB."})
    ram = ma.fields.Integer(required=True, metadata={"description": "MiB."})


class QuotaStatusSchema(ma.Schema):
    limits = ma.fields.Nested(UsageSchema, metadata={"description": "The limits in force."})
    usage = ma.fields.Nested(UsageSchema, metadata={"description": "What the project uses."})


class QuotaSchema(BodySchema, DryRunSchema):
    """What a project may use."""

    project_id = ma.fields.String(dump_only=True, metadata={"x-key": True})
    instances = _limit("instances")
    volume_size = _limit("GiB of volumes")
    ram = _limit("MiB of memory")
    status = ma.fields.Nested(QuotaStatusSchema, dump_only=True)
