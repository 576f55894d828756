"""Steps that bring a server where an instance wants it. Each asks Nova for one thing and raises
CloudPending; one that finds its thing done returns.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Never

from openstack import exceptions as sdk
from openstack.compute.v2.server import Server
from openstack.compute.v2.server_action import ServerAction

from control_plane.clouds.base import Bootstrap, CloudError, CloudPending, Port, ServerSpec, Volume
from control_plane.clouds.openstack.connection import OpenStack
from control_plane.clouds.openstack.errors import asking, sentence
from control_plane.clouds.openstack.flavors import Flavors
from control_plane.clouds.openstack.server_states import age, fault, refuse_if_locked

RETRY = timedelta(seconds=30)
"""How long the failure of a step is said before the step is tried again."""


@dataclass(frozen=True)
class Steps:
    cloud: OpenStack
    flavors: Flavors
    server: Server
    spec: ServerSpec
    volume: Volume

    def settle_resize(self) -> None:
        if self.server.status != "VERIFY_RESIZE":
            return
        refuse_if_locked(self.server)
        if self._has_flavor():
            # Nova shows no task while it confirms, and answers 400 to who asks again meanwhile
            with contextlib.suppress(sdk.BadRequestException):
                self.cloud.compute.confirm_server_resize(self.server)
            raise CloudPending("completing the server's resize")
        self.cloud.compute.revert_server_resize(self.server)
        raise CloudPending("undoing the server's resize: another flavor is wanted by now")

    def mend(self, bootstrap: Bootstrap) -> None:
        """Reboot a server in ERROR, unless its engine is known to serve."""
        if self.server.status != "ERROR":
            return
        said = f"Nova has the server {self.server.id} in ERROR: {fault(self.cloud, self.server)}"
        if bootstrap.registered and not bootstrap.silent:
            raise CloudError(
                f"{said} Its agent still answers, so it is left alone; an operator sets its state, or a"
                " rebuild action makes it anew around its volume."
            )
        refuse_if_locked(self.server)
        self.cloud.compute.reboot_server(self.server, "HARD")
        raise CloudError(f"{said} It is rebooted.")

    def hold_volume(self) -> None:
        """Have the volume attached, but for as long as it grows without a server."""
        compute = self.cloud.compute
        attached = any(item["id"] == self.volume.id for item in self.server.attached_volumes)
        if attached and not self.volume.must_detach:
            return
        if not attached:
            if self.volume.must_detach:
                raise CloudPending("waiting for the volume to grow", 1)
            self.take(
                "attach_volume",
                "attaching the volume",
                lambda: compute.create_volume_attachment(self.server, self.volume.id),
            )
        if self.server.status == "ACTIVE":
            self.take(
                "stop",
                "stopping the server: its volume does not grow while it is attached",
                lambda: compute.stop_server(self.server),
            )
        doing = "detaching the volume so that it can grow"
        if self._volume_status() != "in-use":
            raise CloudPending(doing, 1)
        self.take(
            "detach_volume", doing, lambda: compute.delete_volume_attachment(self.server, self.volume.id)
        )

    def hold_ports(self, port: Port) -> None:
        """Give the server ports that were made anew. What it has is in its addresses, some time later."""
        networks = (self.server.addresses or {}).values()
        if {*port.listen} <= {each["addr"] for addresses in networks for each in addresses}:
            return
        for port_id in port.attach:
            with asking("Neutron"):
                taken = self.cloud.network.get_port(port_id).device_id
            if not taken:
                self.take(
                    "attach_interface",
                    "attaching a port that was made anew",
                    partial(self.cloud.compute.create_server_interface, self.server, port_id=port_id),
                )

    def resize(self) -> None:
        if self._has_flavor():
            return
        flavor = self.flavors.find(self.spec.flavor)
        self.take(
            "resize",
            f"resizing the server from {self.server.flavor.original_name} to {flavor.name}",
            lambda: self.cloud.compute.resize_server(self.server, flavor.id),
        )

    def start(self) -> None:
        if self.server.status == "ACTIVE":
            return
        if self._volume_status() != "in-use":
            raise CloudPending("attaching the volume", 1)
        self.take("start", "starting the server", lambda: self.cloud.compute.start_server(self.server))

    def rename(self) -> None:
        if self.server.name == self.spec.name:
            return
        refuse_if_locked(self.server)
        self.cloud.compute.update_server(self.server.id, name=self.spec.name)

    def take(self, action: str, doing: str, ask: Callable[[], object]) -> Never:
        """Ask Nova for it, unless that failed a moment ago: then raise CloudError with why.

        `action`: Nova's name of it, https://docs.openstack.org/api-ref/compute/#servers-actions
        """
        refuse_if_locked(self.server)
        if why := self._recent_failure(action):
            raise CloudError(f"Nova failed at {doing}: {why} It is tried again.")
        ask()
        raise CloudPending(doing)

    @property
    def failed_to_rebuild(self) -> bool:
        newest = next(self._actions(), None) if self.server.status == "ERROR" else None
        return newest is not None and newest.action == "rebuild"

    def _recent_failure(self, action: str) -> str:
        """What Nova says of the newest action of that kind; empty unless it failed within RETRY."""
        newest = next((item for item in self._actions() if item.action == action), None)
        if newest is None or newest.message != "Error":
            return ""
        told = self.cloud.compute.get_server_action(newest.request_id, self.server)
        failed = [event for event in told.events if event.result == "Error"]
        if all(age(event.finish_time) > RETRY for event in failed):
            return ""
        return sentence(next((event.details for event in failed if event.details), "it does not say why"))

    def _actions(self) -> Iterator[ServerAction]:
        """What was asked of Nova for the server, the newest first."""
        return self.cloud.compute.server_actions(self.server)

    def _has_flavor(self) -> bool:
        has: str = self.server.flavor.original_name
        return has == self.spec.flavor or has == self.flavors.find(self.spec.flavor).name

    def _volume_status(self) -> str:
        return str(self.cloud.block_storage.get_volume(self.volume.id).status)
