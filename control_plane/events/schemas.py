import marshmallow as ma

from control_plane.http.fields import list_schema


class EventSchema(ma.Schema):
    """Something that happened, in a sentence."""

    id = ma.fields.Integer(required=True)
    kind = ma.fields.String(
        required=True,
        metadata={
            "description": "created, updated, deleting, deleted, progress, failure, repaired, action"
        },
    )
    message = ma.fields.String(required=True)
    resource_type = ma.fields.String(required=True)
    resource_id = ma.fields.String(required=True)
    resource_name = ma.fields.String(required=True)
    instance_id = ma.fields.String(required=True, allow_none=True)
    actor = ma.fields.String(required=True)
    request_id = ma.fields.String(required=True, allow_none=True)
    created_at = ma.fields.DateTime(required=True)


EventListSchema = list_schema(EventSchema)
