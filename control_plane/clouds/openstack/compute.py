"""A server of Nova: found by its tags, made in one request, changed one step a look.

Every step raises CloudPending, so a reconcile goes on with the next one when Nova is done with it.
"""

import contextlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from openstack import exceptions as sdk
from openstack.compute.v2.server import Server as NovaServer

from control_plane.clouds.base import (
    Bootstrap,
    CloudError,
    CloudPending,
    CloudRefusal,
    Port,
    Server,
    ServerSpec,
    Volume,
)
from control_plane.clouds.openstack import server_states as states
from control_plane.clouds.openstack.cached import Cached
from control_plane.clouds.openstack.connection import OpenStack
from control_plane.clouds.openstack.errors import asks
from control_plane.clouds.openstack.flavors import Flavors
from control_plane.clouds.openstack.images import Images
from control_plane.clouds.openstack.reservations import release
from control_plane.clouds.openstack.server_groups import ServerGroups
from control_plane.clouds.openstack.server_steps import Steps
from control_plane.clouds.openstack.user_data import user_data
from control_plane.errors import nearest

ZONES_SECONDS = 60
BUILD_SECONDS = 3.0
"""Until the first look at a server that was just asked for."""
STOP = timedelta(minutes=3)
"""How long an engine may take to stop before its server is deleted all the same."""

INSTANCE, DEPLOYMENT, PROJECT, REBUILD, GROUP = (
    f"coffret_{name}" for name in ("instance", "deployment", "project", "rebuild", "server_group")
)
"""Keys of a server's metadata."""


def instance_tag(instance_id: str) -> str:
    return f"coffret-instance:{instance_id}"


def deployment_tag(deployment: str) -> str:
    return f"coffret:{deployment}"


@dataclass(frozen=True)
class Compute:
    cloud: OpenStack
    flavors: Flavors
    images: Images
    groups: ServerGroups
    availability_zone: str = ""
    """Of instances that name none; empty: Nova's choice."""
    _zones: Cached[dict[str, bool]] = field(default_factory=lambda: Cached(ZONES_SECONDS))
    _found: dict[str, NovaServer | None] = field(default_factory=dict)
    """What `find` saw, for the `ensure` of the same look."""

    def validate(self, spec: ServerSpec) -> None:
        flavor = self.flavors.find(spec.flavor)
        if flavor.disk == 0:
            raise CloudRefusal(
                f"The flavor {flavor.name!r} has no root disk, which a server needs beside its volume.",
                "/flavor",
            )
        if spec.instance_id:
            self._refuse_smaller_disk(spec.instance_id, flavor.name, flavor.disk)
            return
        self._check_zone(spec.availability_zone)
        self.groups.validate(spec)

    def find(self, instance_id: str) -> Server | None:
        server = self._look(instance_id)
        self._found[instance_id] = server
        if server is None:
            return None
        return Server(
            server.id,
            running=server.status == "ACTIVE",
            flavor=server.flavor.original_name,
            rebuild=server.metadata.get(REBUILD),
            busy=states.busy(server),
        )

    @asks("Nova")
    def ensure(self, spec: ServerSpec, volume: Volume, port: Port, bootstrap: Bootstrap) -> Server:
        if spec.instance_id in self._found:
            server = self._found.pop(spec.instance_id)
        else:
            server = self._look(spec.instance_id)
        if server is None:
            self._create(spec, volume, port, bootstrap)
            raise CloudPending("the cloud is building the server", BUILD_SECONDS)
        if doing := states.busy(server):
            raise CloudPending(f"the cloud is {doing}")
        states.leave_to_operator(server)
        self._start_over_if_never_built(server)
        steps = Steps(self.cloud, self.flavors, server, spec, volume)
        steps.settle_resize()
        self._rebuild_if_needed(steps, bootstrap)
        steps.mend(bootstrap)
        steps.hold_volume()
        steps.hold_ports(port)
        steps.resize()
        steps.start()
        steps.rename()
        return Server(server.id, True, spec.flavor, server.metadata.get(REBUILD))

    @asks("Nova")
    def delete(self, instance_id: str) -> None:
        server = self._look(instance_id)
        self._found.pop(instance_id, None)
        if server is None:
            return
        if states.busy(server) == states.DELETING:
            raise CloudPending(f"the cloud is {states.DELETING}", 1)
        if server.status == "ACTIVE":
            if server.task_state is None:
                self.cloud.compute.stop_server(server)
                raise CloudPending("stopping the server", 1)
            if server.task_state == "powering-off" and states.age(server.updated_at) < STOP:
                raise CloudPending("stopping the server", 1)
        if group_id := server.metadata.get(GROUP):
            self.groups.leave(group_id, server.id)
        self._remove(server)
        raise CloudPending(f"the cloud is {states.DELETING}", 1)

    @asks("Nova")
    def _look(self, instance_id: str) -> NovaServer | None:
        """The instance's server. A twin, whose making seemed to have failed, has no volume and goes."""
        servers = list(self.cloud.compute.servers(tags=instance_tag(instance_id)))
        if len(servers) < 2:
            return servers[0] if servers else None
        servers.sort(key=lambda server: (not server.attached_volumes, server.created_at, server.id))
        first, *others = servers
        for other in others:
            if other.attached_volumes:
                raise CloudError(
                    f"Two servers, {first.id} and {other.id}, are this instance's and have volumes. Detach"
                    " or delete one of them."
                )
            if states.busy(other) != states.DELETING:
                self._remove(other)
        return first

    def _remove(self, server: NovaServer) -> None:
        """Delete it now, where Nova keeps deleted servers for a while too: they would keep the volume."""
        with contextlib.suppress(sdk.NotFoundException):
            self.cloud.compute.delete_server(server, force=True)

    def _create(self, spec: ServerSpec, volume: Volume, port: Port, bootstrap: Bootstrap) -> None:
        flavor, image = self.flavors.find(spec.flavor), self.images.resolve(spec)
        group_id = self.groups.ensure(spec)
        wanted: dict[str, Any] = {
            "name": spec.name,
            "flavor_id": flavor.id,
            "image_id": image,
            "block_device_mapping": [
                {
                    "uuid": image,
                    "source_type": "image",
                    "destination_type": "local",
                    "boot_index": 0,
                    "delete_on_termination": True,
                },
                {
                    "uuid": volume.id,
                    "source_type": "volume",
                    "destination_type": "volume",
                    "boot_index": -1,
                    "delete_on_termination": False,
                },
            ],
            "networks": [{"port": port_id} for port_id in port.attach],
            "config_drive": True,
            "user_data": user_data(spec, volume.id, bootstrap),
            "metadata": self._metadata(spec, group_id),
            "tags": [deployment_tag(self.cloud.deployment), instance_tag(spec.instance_id)],
        }
        if zone := spec.availability_zone or self.availability_zone:
            wanted["availability_zone"] = zone
        if group_id:
            wanted["scheduler_hints"] = {"group": group_id}
        try:
            self.cloud.compute.create_server(**wanted)
        except sdk.BadRequestException:
            if release(self.cloud, volume.id):  # of this attempt or an earlier one
                raise CloudPending("making the server once more: its volume was not free", 1) from None
            if group_id and not self.groups.exists(group_id):  # its last other member has just left
                raise CloudPending("making the server group anew", 0) from None
            raise

    def _metadata(self, spec: ServerSpec, group_id: str | None) -> dict[str, str]:
        metadata = {
            DEPLOYMENT: self.cloud.deployment,
            INSTANCE: spec.instance_id,
            PROJECT: spec.project_id,
            REBUILD: spec.rebuild,
            GROUP: group_id,
        }
        return {name: value for name, value in metadata.items() if value}

    def _start_over_if_never_built(self, server: NovaServer) -> None:
        if server.status != "ERROR" or server.launched_at:
            return
        why = states.fault(self.cloud, server)
        self._remove(server)
        raise CloudError(f"Nova could not build the server: {why} It is made again.")

    def _rebuild_if_needed(self, steps: Steps, bootstrap: Bootstrap) -> None:
        """Make it anew for a newer rebuild action, or when its agent never got in and no longer can.

        One whose agent is merely silent is left alone: its engine may be serving.
        """
        server, spec = steps.server, steps.spec
        asked = spec.rebuild is not None and spec.rebuild != server.metadata.get(REBUILD)
        shut_out = not bootstrap.registered and not bootstrap.waiting
        if not (asked or shut_out or steps.failed_to_rebuild):
            return
        image = self.images.resolve(spec)

        def rebuild() -> None:
            self.cloud.compute.rebuild_server(
                server,
                image,
                user_data=user_data(spec, steps.volume.id, bootstrap),
                metadata=self._metadata(spec, server.metadata.get(GROUP)),
            )

        steps.take("rebuild", "making the server anew", rebuild)

    def _refuse_smaller_disk(self, instance_id: str, name: str, disk: int) -> None:
        server = self._look(instance_id)
        if server is not None and server.flavor.original_name != name and server.flavor.disk > disk:
            raise CloudRefusal(
                f"The root disk of flavor {name!r} has {disk} GiB; that of the server,"
                f" {server.flavor.disk} GiB, can't shrink.",
                "/flavor",
            )

    def _check_zone(self, zone: str | None) -> None:
        if zone is None:
            return
        zones = self._zones.get("all", self._ask_zones)
        if zone not in zones:
            raise CloudRefusal(
                f"Nova has no availability zone {zone!r}.{nearest(zone, zones)}"
                f" There are {', '.join(sorted(zones))}.",
                "/availability_zone",
            )
        if not zones[zone]:
            raise CloudRefusal(
                f"The availability zone {zone!r} is not available now.", "/availability_zone"
            )

    @asks("Nova")
    def _ask_zones(self) -> dict[str, bool]:
        zones = self.cloud.compute.availability_zones()
        return {zone.name: bool(zone.state["available"]) for zone in zones}
