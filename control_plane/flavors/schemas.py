import marshmallow as ma

from control_plane.http.fields import list_schema


class FlavorSchema(ma.Schema):
    """The memory and CPU of an instance. The cloud's; read only."""

    id = ma.fields.String(required=True)
    name = ma.fields.String(required=True, metadata={"x-key": True})
    ram = ma.fields.Integer(required=True, metadata={"description": "MiB."})
    vcpus = ma.fields.Integer(required=True)
    disk = ma.fields.Integer(required=True, metadata={"description": "GiB of root disk."})
    memory_per_vcpu = ma.fields.Integer(
        required=True, metadata={"description": "MiB; databases do best with much of it."}
    )


FlavorListSchema = list_schema(FlavorSchema)
