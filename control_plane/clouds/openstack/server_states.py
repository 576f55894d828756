"""What Nova says of a server, in sentences."""

from datetime import UTC, datetime, timedelta

from openstack.compute.v2.server import Server

from control_plane.clouds.base import CloudError
from control_plane.clouds.openstack.connection import OpenStack
from control_plane.clouds.openstack.errors import sentence

DELETING = "deleting the server"
_BY_OPERATOR = {
    "PAUSED": "paused",
    "SUSPENDED": "suspended",
    "RESCUE": "in rescue mode",
    "SHELVED": "shelved",
    "SHELVED_OFFLOADED": "shelved",
}
_DOING = {
    "rebuilding": "making the server anew",
    "rebuild_block_device_mapping": "making the server anew",
    "rebuild_spawning": "making the server anew",
    "resize_prep": "resizing the server",
    "resize_migrating": "resizing the server",
    "resize_migrated": "resizing the server",
    "resize_finish": "resizing the server",
    "resize_reverting": "undoing the server's resize",
    "resize_confirming": "completing the server's resize",
    "powering-off": "stopping the server",
    "powering-on": "starting the server",
    "deleting": DELETING,
    "rebooting_hard": "rebooting the server",
    "reboot_pending_hard": "rebooting the server",
    "reboot_started_hard": "rebooting the server",
}
"""By Nova's task states, as the end of a sentence."""


def busy(server: Server) -> str:
    """What Nova does to it, as the end of a sentence; empty: nothing."""
    if server.status == "BUILD":
        return "building the server"
    if server.status in ("DELETED", "SOFT_DELETED"):  # it stays in Nova's list for a moment
        return DELETING
    task = server.task_state
    return _DOING.get(task, f"at work on the server ({task})") if task else ""


def leave_to_operator(server: Server) -> None:
    """Raises CloudError when it is in a state that Coffret never puts a server into."""
    if state := _BY_OPERATOR.get(server.status):
        raise CloudError(
            f"The server {server.id} is {state}, and Coffret did not do that: it leaves the server alone"
            " until an operator undoes it."
        )


def refuse_if_locked(server: Server) -> None:
    """An admin's request would pass the lock, and the lock is there for a reason. Raises CloudError."""
    if server.is_locked:
        why = f" ({server.locked_reason})" if server.locked_reason else ""
        raise CloudError(
            f"The server {server.id} is locked{why}: it is not changed until an operator unlocks it."
        )


def fault(cloud: OpenStack, server: Server) -> str:
    """Why it is in ERROR. Nova's list leaves that out for a server that no host ever had."""
    told = server.fault or cloud.compute.get_server(server.id).fault or {}
    return sentence(told.get("message") or "It does not say why")


def age(timestamp: str) -> timedelta:
    """How long ago that was, by this machine's clock. Nova's timestamps are UTC, some without saying so."""
    when = datetime.fromisoformat(timestamp)
    return datetime.now(UTC) - (when if when.tzinfo else when.replace(tzinfo=UTC))
