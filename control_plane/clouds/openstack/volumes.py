"""Volumes of Cinder, found by the instance's id in their metadata. Data comes before everything else:

a volume that a server may have had is never deleted but with its instance, and never replaced by an
empty one.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from openstack import exceptions as sdk
from openstack.block_storage.v3.volume import Volume as CinderVolume

from control_plane.clouds.base import CloudError, CloudPending, CloudRefusal, ServerSpec, Volume
from control_plane.clouds.openstack.cached import Cached
from control_plane.clouds.openstack.connection import OpenStack
from control_plane.clouds.openstack.errors import asks, reason
from control_plane.clouds.openstack.reservations import release
from control_plane.errors import nearest

DEPLOYMENT, INSTANCE, PROJECT, OFFLINE = (
    f"coffret_{name}" for name in ("deployment", "instance", "project", "grows_detached_to")
)
"""Keys of a volume's metadata. OFFLINE holds the size, in GiB, that Cinder refused an attached volume."""
IN_VAIN = "in vain"
"""Behind the size: it was refused a detached one too."""
KEPT_SECONDS = 60
WAIT_SECONDS = 5.0
"""How long a look waits for what takes Cinder a moment; past it the instance is looked at again."""
POLL_SECONDS = 0.5
STUCK = timedelta(minutes=10)
TWIN_AGE = timedelta(minutes=15)
"""Of a lost answer two volumes come this close together. An older or younger one is an operator's."""
_ATTACHED = ("in-use", "attaching", "reserved", "detaching")
_DELETABLE = (
    "available",
    "error",
    "error_restoring",
    "error_extending",
    "error_managing",
    "error_deleting",
)


@dataclass(frozen=True)
class Volumes:
    cloud: OpenStack
    default_type: str
    """Empty: Cinder's."""
    default_zone: str
    """Nova's; empty: any."""
    _types: Cached[list[str]] = field(default_factory=lambda: Cached(KEPT_SECONDS))
    _zones: Cached[list[str]] = field(default_factory=lambda: Cached(KEPT_SECONDS))

    @asks("Cinder")
    def validate(self, spec: ServerSpec) -> None:
        """Whether the type exists. That of a volume that is there is fixed."""
        wanted = spec.volume_type or self.default_type
        if spec.instance_id or not wanted:
            return
        names = self._types.get("all", lambda: [each.name for each in self.cloud.block_storage.types()])
        if wanted not in names:
            raise CloudRefusal(
                f"Cinder has no volume type {wanted!r}.{nearest(wanted, names)}"
                f" There are {', '.join(sorted(names))}.",
                "/volume/type",
            )

    @asks("Cinder")
    def ensure(self, spec: ServerSpec, *, known: str | None) -> Volume:
        volume = self._the_one(spec, known)
        if volume is None:
            return self._create(spec)
        self._see_that_it_is_well(volume, known)
        if volume.size > spec.volume_size:
            raise CloudRefusal(
                f"The volume has {volume.size} GiB and only grows; {spec.volume_size} were asked for.",
                "/volume/size",
            )
        if volume.name != spec.name:
            self.cloud.block_storage.update_volume(volume, name=spec.name)
        if volume.size < spec.volume_size and volume.status != "creating":
            return self._grow(volume, spec.volume_size)
        return Volume(volume.id, volume.size, ready=volume.status != "creating")

    @asks("Cinder")
    def delete(self, instance_id: str) -> None:
        """Raises CloudPending while they go, and CloudError while something holds them."""
        volumes = self._all(instance_id)
        for volume in volumes:
            if volume.status == "reserved" and release(self.cloud, volume.id):
                raise CloudPending("freeing the volume of a server that was never made", 1)
            if volume.status in _ATTACHED:
                raise CloudError(f"The volume {volume.id} is {volume.status}{_server_of(volume)}.")
            if volume.status in _DELETABLE:
                self._delete(volume)
            elif volume.status != "deleting":
                _see_that_it_moves(volume)
                raise CloudPending(f"waiting for Cinder: the volume {volume.id} is {volume.status}", 5)
        deadline = time.monotonic() + WAIT_SECONDS
        while volumes:
            time.sleep(POLL_SECONDS)
            volumes = self._all(instance_id)
            for volume in volumes:
                if volume.status == "error_deleting":
                    raise CloudError(f"Cinder could not delete the volume {volume.id}{self._why(volume)}")
            if volumes and time.monotonic() > deadline:
                raise CloudPending("Cinder is deleting the volume")

    def _all(self, instance_id: str) -> list[CinderVolume]:
        """Only the service project's, so no other project can slip in one of its own. Oldest first."""
        query = json.dumps({INSTANCE: instance_id})
        volumes = self.cloud.block_storage.volumes(properties=query)
        return sorted(volumes, key=lambda volume: (volume.created_at, volume.id))

    def _the_one(self, spec: ServerSpec, known: str | None) -> CinderVolume | None:
        """The instance's volume. Raises CloudRefusal when the known one is gone."""
        volumes = self._all(spec.instance_id)
        if known is None:  # no server has had any of them
            volumes = [volume for volume in volumes if volume.status not in ("deleting", "error_deleting")]
            chosen = next(iter(volumes), None)
        else:
            chosen = next((volume for volume in volumes if volume.id == known), None)
            if chosen is None:
                raise CloudRefusal(
                    f"The volume {known} is gone, and the data with it; Coffret did not delete it. It is"
                    " never replaced by an empty one: delete the instance and make another."
                )
        for volume in volumes:
            if chosen is not None and volume is not chosen and _is_twin(volume, chosen):
                self.cloud.block_storage.delete_volume(volume)
        return chosen

    def _create(self, spec: ServerSpec) -> Volume:
        wanted: dict[str, Any] = {
            "name": spec.name,
            "size": spec.volume_size,
            "description": f"coffret {self.cloud.deployment}: data of instance {spec.instance_id}",
            "metadata": {
                DEPLOYMENT: self.cloud.deployment,
                INSTANCE: spec.instance_id,
                PROJECT: spec.project_id,
            },
        }
        if volume_type := spec.volume_type or self.default_type:
            wanted["volume_type"] = volume_type
        if (zone := spec.availability_zone or self.default_zone) and zone in self._cinder_zones():
            wanted["availability_zone"] = zone
        try:
            volume = self.cloud.block_storage.create_volume(**wanted)
        except sdk.NotFoundException as error:
            raise CloudRefusal(reason("Cinder", error), "/volume/type") from error
        return Volume(volume.id, volume.size, ready=False)

    def _cinder_zones(self) -> list[str]:
        """Cinder's zones are its own; a cloud that keeps volumes near servers gives both one name."""
        zones = self.cloud.block_storage.availability_zones
        return self._zones.get("all", lambda: [zone.name for zone in zones()])

    def _see_that_it_is_well(self, volume: CinderVolume, known: str | None) -> None:
        """Raises CloudError or CloudPending unless it can be used or is being made."""
        status = volume.status
        if status == "error" and known is None and not volume.attachments and _never_lived(volume):
            why = self._why(volume)
            self.cloud.block_storage.delete_volume(volume)
            raise CloudError(f"Cinder could not make the volume{why} It is made anew until there is one.")
        if status.startswith("error"):
            raise CloudError(
                f"Cinder has the volume {volume.id} in status {status}{self._why(volume)} The data may be"
                " whole: once the operator has looked, `openstack volume set --state` makes it"
                f" {'in-use' if volume.attachments else 'available'} again, and it goes on."
            )
        if status == "deleting":
            raise CloudError(f"Someone is deleting the volume {volume.id}, and it is not Coffret.")
        if status in ("creating", "extending"):
            _see_that_it_moves(volume)
        if status == "extending":
            raise CloudPending("Cinder is growing the volume")
        if status not in ("creating", "available", *_ATTACHED) and not volume.attachments:
            raise CloudPending(f"waiting for Cinder: the volume is {status}", 5)

    def _grow(self, volume: CinderVolume, size: int) -> Volume:
        """To `size` GiB; where Cinder refuses while a server has it, say that it must be detached.

        When that was of no use either, the instance goes on with what it has, and says so.
        """
        if volume.status in ("attaching", "reserved"):  # the server is being made: it grows afterwards
            return Volume(volume.id, volume.size)
        attached = volume.status == "in-use"
        if not attached and volume.status != "available":
            raise CloudPending(f"waiting for Cinder: the volume is {volume.status}, then it grows")
        refused = volume.metadata.get(OFFLINE, "")
        if attached and refused == str(size):
            return Volume(volume.id, volume.size, must_detach=True)
        grown, why = self._extend(volume, size)
        if grown.size >= size:
            return Volume(volume.id, grown.size)
        if grown.status == volume.status and not attached:
            self._note_refusal(volume, f"{size} {IN_VAIN}")
            return Volume(volume.id, volume.size)
        in_vain = refused == f"{size} {IN_VAIN}"
        if grown.status == volume.status and not in_vain and self._is_for_being_attached(volume, size):
            self._note_refusal(volume, str(size))
            return Volume(volume.id, volume.size, must_detach=True)
        hint = " It refused the detached volume too: once it can, ask for another size." if in_vain else ""
        raise CloudError(
            f"Cinder did not grow the volume from {volume.size} to {size} GiB{why}"
            f" It is {grown.status}, and the growth is tried again.{hint}"
        )

    def _extend(self, volume: CinderVolume, size: int) -> tuple[CinderVolume, str]:
        """The volume after a moment, and why it has not grown if it has not."""
        said = ""
        try:
            self.cloud.block_storage.extend_volume(volume, size)
        except sdk.HttpException as error:
            if volume.status == "in-use" and not isinstance(error, sdk.BadRequestException):
                raise
            said = f": {reason('Cinder', error)}"
        grown = self._await_growth(volume.id)
        return grown, "" if grown.size >= size else said or self._why(volume)

    def _note_refusal(self, volume: CinderVolume, what: str) -> None:
        self.cloud.block_storage.set_volume_metadata(volume, **{OFFLINE: what})

    def _await_growth(self, volume_id: str) -> CinderVolume:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            volume = self.cloud.block_storage.get_volume(volume_id)
            if volume.status != "extending":
                return volume
            if time.monotonic() > deadline:
                raise CloudPending("Cinder is growing the volume")
            time.sleep(POLL_SECONDS)

    def _is_for_being_attached(self, volume: CinderVolume, size: int) -> bool:
        """Whether it would grow detached. Cinder words a lack of room the same way as its refusal.

        A database is not stopped for nothing: so its backend must be one that says it cannot, and have
        the room. Where Cinder does not let us see its backends, it is believed.
        """
        response = self.cloud.block_storage.get("/scheduler-stats/get_pools", params={"detail": "true"})
        if response.status_code in (403, 404):
            return True
        sdk.raise_from_response(response)
        for pool in response.json()["pools"]:
            if pool["name"] == volume.host:
                can = pool["capabilities"]
                return can.get("online_extend_support") is False and _has_room(can, size - volume.size)
        return True

    def _delete(self, volume: CinderVolume) -> None:
        try:
            self.cloud.block_storage.delete_volume(volume)
        except sdk.BadRequestException as error:
            snapshots = list(self.cloud.block_storage.snapshots(volume_id=volume.id))
            if not snapshots:
                raise
            names = ", ".join(each.name or each.id for each in snapshots)
            raise CloudError(
                f"The volume {volume.id} has snapshots that Coffret did not make ({names}). Once they are"
                " deleted, it goes."
            ) from error

    def _why(self, volume: CinderVolume) -> str:
        """`: ` and what Cinder last said of the volume, or a full stop."""
        response = self.cloud.block_storage.get("/messages", params={"resource_uuid": volume.id})
        messages = response.json()["messages"] if response.status_code == 200 else []
        newest = max(messages, key=lambda message: str(message["created_at"]), default=None)
        if newest is None:
            return "."
        what, _, why = str(newest["user_message"]).rstrip(".").partition(":")
        return f": {what}: {why}."


def _see_that_it_moves(volume: CinderVolume) -> None:
    """Raises CloudError once Cinder has been at it for so long that somebody should look."""
    since = datetime.fromisoformat(volume.updated_at or volume.created_at).replace(tzinfo=UTC)
    if datetime.now(UTC) - since > STUCK:
        raise CloudError(
            f"Cinder has the volume {volume.id} in status {volume.status} since {since:%Y-%m-%d %H:%M} UTC."
            " It goes on when that ends; the operator may find why in Cinder's log."
        )


def _never_lived(volume: CinderVolume) -> bool:
    """Whether all that ever happened to it happened as it was made; a restored row may not know it."""
    made = datetime.fromisoformat(volume.created_at)
    return datetime.fromisoformat(volume.updated_at or volume.created_at) - made < TWIN_AGE


def _is_twin(volume: CinderVolume, chosen: CinderVolume) -> bool:
    """Whether it was made by the same wish, and no server can have had it."""
    apart = abs(datetime.fromisoformat(volume.created_at) - datetime.fromisoformat(chosen.created_at))
    made_of = (volume.snapshot_id, volume.source_volume_id, volume.backup_id)
    return (
        volume.status in ("available", "error")
        and not volume.attachments
        and not any(made_of)
        and apart < TWIN_AGE
    )


def _has_room(capabilities: dict[str, Any], growth: int) -> bool:
    """Cinder's numbers are GiB, or `infinite` or `unknown`."""
    free = capabilities.get("free_capacity_gb")
    return not isinstance(free, int | float) or free >= growth


def _server_of(volume: CinderVolume) -> str:
    return "".join(f", the server {each['server_id']} has it" for each in volume.attachments)


def in_deployment(cloud: OpenStack) -> Iterator[CinderVolume]:
    """All volumes that carry this deployment's name."""
    query = json.dumps({DEPLOYMENT: cloud.deployment})
    yield from cloud.block_storage.volumes(properties=query)
