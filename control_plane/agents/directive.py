"""The desired document of an agent, from the rows of its instance."""

from sqlalchemy import select

from control_plane.database import db
from control_plane.databases.models import Database, InstanceObject
from control_plane.datastores.catalogue import as_text
from control_plane.instances.models import Instance
from control_plane.users.models import User
from guest_agent.protocol import (
    DesiredDatabase,
    DesiredEngine,
    DesiredUser,
    Directive,
    ObjectState,
)


def build(instance: Instance) -> Directive | None:
    """None until the cloud has given the instance its place."""
    if "port" not in instance.cloud:
        return None
    group = instance.group
    databases = db.session.scalars(
        select(Database).filter_by(instance_id=instance.id).order_by(Database.name)
    )
    users = db.session.scalars(
        select(User).filter_by(instance_id=instance.id).order_by(User.name, User.host)
    )
    return Directive(
        etag=instance.etag,
        instance_id=instance.id,
        generation=instance.generation,
        request_id=instance.wanted_by,
        engine=engine(instance),
        parameters={name: as_text(value) for name, value in group.parameters.items()} if group else {},
        restart_policy="automatic" if instance.restart_policy == "automatic" else "manual",
        restart=instance.restart,
        databases=[
            DesiredDatabase(
                id=row.id,
                name=row.name,
                generation=row.generation,
                state=_state(row),
                character_set=row.character_set,
                collation=row.collation,
                owner=row.owner,
            )
            for row in databases
        ],
        users=[
            DesiredUser(
                id=row.id,
                name=row.name,
                host=row.host,
                generation=row.generation,
                state=_state(row),
                verifier=row.verifier,
                grants=row.grants,
                deletion_policy="refuse" if row.deletion_policy == "refuse" else "reassign",
            )
            for row in users
            if not row.withheld
        ],
    )


def engine(instance: Instance) -> DesiredEngine:
    """What its engine starts with, once the cloud has given it its place."""
    version = instance.datastore_version
    return DesiredEngine(
        manager=version.datastore.manager,
        version=version.name,
        listen=instance.cloud["listen"],
        port=instance.cloud["port"],
        ram=instance.ram,
        vcpus=instance.vcpus,
        volume_size=instance.volume_size,
    )


def _state(row: InstanceObject) -> ObjectState:
    return "absent" if row.deleting else "present"
