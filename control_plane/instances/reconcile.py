"""Making the cloud what an instance asks for. What is inside the engine is its agent's to converge."""

from dataclasses import dataclass
from typing import Any

from control_plane.agents import double
from control_plane.agents.credentials import Bootstrap
from control_plane.clouds import (
    Cloud,
    CloudError,
    CloudPending,
    CloudRefusal,
    Port,
    Server,
    ServerSpec,
    Volume,
)
from control_plane.database import db, now
from control_plane.events import service as events
from control_plane.instances.models import Action, Instance
from control_plane.instances.service import spec
from control_plane.instances.status import summarise
from control_plane.work import wake
from control_plane.work.lease import Lease


@dataclass(frozen=True)
class Look:
    """What a reconcile has to say."""

    sentence: str
    again: float | None = None
    """Seconds until the next look; None: when asked. Of no meaning after a failure."""
    failed: bool = False
    """Tried again with backoff."""
    pending: bool = False
    """The cloud is at work: neither a success nor a failure yet."""
    gone: bool = False


def reconcile(instance_id: str, cloud: Cloud, lease: Lease) -> Look:
    """Look at what is wanted and do what is not yet so. Run twice, it does nothing more.

    Raises LeaseLost. No transaction is open while a driver works.
    """
    instance = db.session.get_one(Instance, instance_id, populate_existing=True)
    wanted, generation = spec(instance), instance.generation
    deleting, failed, before = instance.deleting, instance.cloud_failed, instance.cloud_message
    place, automatic = instance.cloud, instance.rebuild_policy == "automatic"
    db.session.rollback()
    if failed:
        return Look(f"{wanted.name}: the cloud refuses: {before}")
    try:
        if deleting:
            return _delete(wanted, cloud, lease)
        return _ensure(wanted, generation, place, cloud, lease, automatic)
    except CloudPending as pending:
        return Look(f"{wanted.name}: {pending}", pending.again, pending=True)
    except (CloudError, CloudRefusal) as error:
        return _excuse(wanted, generation, error, lease)


def _delete(wanted: ServerSpec, cloud: Cloud, lease: Lease) -> Look:
    cloud.delete(wanted.instance_id, between=lease.renew)
    sentence = f"deleted {wanted.name}"
    with lease.fenced() as instance:
        events.record("deleted", f"Instance {wanted.name!r} is deleted.", instance)
        db.session.delete(instance)
        wake(wanted.instance_id)
    return Look(sentence, gone=True)


def _ensure(
    wanted: ServerSpec,
    generation: int,
    place: dict[str, Any],
    cloud: Cloud,
    lease: Lease,
    automatic: bool,
) -> Look:
    known = cloud.compute.find(wanted.instance_id)
    if known is not None and known.busy:
        raise CloudPending(f"the cloud is {known.busy}")
    if known is None:
        _see_that_it_vanished(wanted, place, lease, automatic)
    volume = cloud.volumes.ensure(wanted, known=place.get("volume_id"))
    lease.renew()
    port = cloud.network.ensure(wanted)
    if not volume.ready:  # it had the time that the port took
        volume = cloud.volumes.ensure(wanted, known=place.get("volume_id"))
    if place | _made(volume, port) != place:
        _note_place(volume, port, lease)
    if not volume.ready:
        raise CloudPending("waiting for the volume", again=1)
    server = cloud.compute.ensure(wanted, volume, port, Bootstrap(lease))
    with lease.fenced() as instance:
        _finish_rebuild(instance, server)
        changed = _note(
            instance,
            cloud=_made(volume, port) | _runs(server),
            cloud_generation=max(generation, instance.cloud_generation),
            cloud_message="",
        )
        if changed:
            summarise(instance)
            wake(instance.id)
        if cloud.agentless:
            double.play(instance)
        said = _say(instance, known, server)
    return Look(said, cloud.resync_seconds)


def _note_place(volume: Volume, port: Port, lease: Lease) -> None:
    """Write down the address before a server starts whose agent will ask for it."""
    with lease.fenced() as instance:
        instance.cloud = instance.cloud | _made(volume, port)
        _expect_another_engine(instance)
        summarise(instance)
        wake(instance.id)


def _see_that_it_vanished(wanted: ServerSpec, place: dict[str, Any], lease: Lease, automatic: bool) -> None:
    """A server that was there and is gone was not deleted by us. Raises CloudRefusal by the policy."""
    if "server_id" not in place:
        return
    asked = wanted.rebuild != place.get("rebuild")
    if not automatic and not asked:
        raise CloudRefusal(
            f"The server {place['server_id']} is gone, and Coffret did not delete it. Its volume is kept:"
            " a rebuild action makes another server around it, and so does rebuild_policy = automatic."
        )
    with lease.fenced() as instance:
        instance.cloud = {name: item for name, item in instance.cloud.items() if name != "server_id"}
        _expect_another_engine(instance)
        summarise(instance)
        wake(instance.id)
        sentence = f"The server {place['server_id']} is gone; another is made around the kept volume."
        events.record("repaired", sentence, instance)


def _finish_rebuild(instance: Instance, server: Server) -> None:
    if server.rebuild is None or server.rebuild == instance.cloud.get("rebuild"):
        return
    _expect_another_engine(instance)
    action = db.session.get(Action, server.rebuild)
    if action is not None and action.phase == "REQUESTED":
        action.phase, action.finished_at = "DONE", now()
        events.record("action", f"The server of {instance.name!r} was made anew.", instance)


def _expect_another_engine(instance: Instance) -> None:
    """What the agent of the old server reported is not true of the new one."""
    instance.desired_revision += 1
    instance.wanted_by = instance.asked_by or instance.wanted_by
    instance.engine_revision = instance.desired_revision


def _made(volume: Volume, port: Port) -> dict[str, Any]:
    """A volume is known from when it is ready, and so before any server can have it."""
    ready = {"volume_id": volume.id, "volume_size": volume.size} if volume.ready else {}
    return ready | {
        "port_id": port.id,
        "host": port.host,
        "listen": list(port.listen),
        "port": port.port,
    }


def _runs(server: Server) -> dict[str, Any]:
    return {"server_id": server.id, "flavor": server.flavor, "rebuild": server.rebuild}


def _note(instance: Instance, **columns: Any) -> bool:
    """Set what differs. Returns whether anything did."""
    changed = {name: value for name, value in columns.items() if getattr(instance, name) != value}
    for name, value in changed.items():
        setattr(instance, name, value)
    return bool(changed)


def _say(instance: Instance, known: Server | None, server: Server) -> str:
    if known is None and not instance.ready:
        return f"{instance.name}: made the server; waiting for its agent"
    if known is not None and not known.running and server.running:
        return f"{instance.name}: started the server again"
    if instance.ready:
        return f"{instance.name}: nothing to do, it is as wanted"
    if not instance.report:
        return f"{instance.name}: waiting for its agent"
    if instance.agent_lost:
        return f"{instance.name}: the agent is silent; its server is there"
    return f"{instance.name}: the agent is at work" + (f": {instance.message}" if instance.message else "")


def _excuse(wanted: ServerSpec, generation: int, error: CloudError | CloudRefusal, lease: Lease) -> Look:
    """Say on the instance why its cloud objects are not as wanted."""
    with lease.fenced() as instance:
        if instance.generation != generation:
            return Look(f"{wanted.name}: something else is wanted by now", again=0)
        final = isinstance(error, CloudRefusal) and not instance.deleting
        _note(instance, cloud_message=str(error), cloud_failed=final)
        summarise(instance)
        wake(instance.id)
    if final:
        return Look(f"{wanted.name}: the cloud refuses: {error}")
    return Look(f"{wanted.name}: {error} (tried again)", failed=True)
