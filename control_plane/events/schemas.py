import marshmallow as ma

from control_plane.http.fields import list_schema


class EventSchema(ma.Schema):
    """Something that happened, in a sentence."""

    id = ma.fields.Integer(required=True)
    kind = ma.fields.String(
        required=True,
        metadata={
            "description": "created, changed, deleting, deleted, progress, failure, repaired, action,"
            " rotated, denied"
        },
    )
    message = ma.fields.String(required=True)
    resource_type = ma.fields.String(required=True)
    resource_id = ma.fields.String(required=True)
    resource_name = ma.fields.String(required=True)
    instance_id = ma.fields.String(required=True, allow_none=True)
    project_id = ma.fields.String(
        required=True, allow_none=True, metadata={"description": "Null: it is about the operator's own."}
    )
    actor = ma.fields.String(required=True, metadata={"description": "Who did it, for people."})
    actor_id = ma.fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "Keystone's id of the user, or the id of the token of this control plane."
        },
    )
    source = ma.fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The address that the request came from, or the host of a command."},
    )
    request_id = ma.fields.String(required=True, allow_none=True)
    created_at = ma.fields.DateTime(required=True)


EventListSchema = list_schema(EventSchema)
