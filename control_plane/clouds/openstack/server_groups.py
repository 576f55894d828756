"""Nova's server groups. Nova takes the same name twice, so the name is looked up before one is made."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from openstack import exceptions as sdk
from openstack.compute.v2.server_group import ServerGroup

from control_plane.clouds.base import CloudRefusal, ServerSpec
from control_plane.clouds.openstack.connection import OpenStack
from control_plane.clouds.openstack.errors import asks


@dataclass(frozen=True)
class ServerGroups:
    cloud: OpenStack
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def validate(self, spec: ServerSpec) -> None:
        """Raises CloudRefusal when the project has the group with another policy."""
        if spec.server_group is not None:
            self._find(self._name(spec.project_id, spec.server_group), spec.server_group)

    @asks("Nova")
    def ensure(self, spec: ServerSpec) -> str | None:
        """Id of the instance's group; None when it wants none. Raises CloudRefusal as `validate` does."""
        if spec.server_group is None:
            return None
        wanted = spec.server_group
        name = self._name(spec.project_id, wanted)
        with self._lock:
            if (group_id := self._find(name, wanted)) is not None:
                return group_id
            made = self.cloud.compute.create_server_group(name=name, policy=wanted["policy"])
            group_id = self._find(name, wanted)
            if group_id not in (None, made.id):  # another process was first
                self.cloud.compute.delete_server_group(made.id)
            return group_id or str(made.id)

    @asks("Nova")
    def leave(self, group_id: str, server_id: str) -> None:
        """Remove the group if the server is the last in it. It is called before the server goes."""
        group = self._get(group_id)
        if group is not None and set(group.member_ids) <= {server_id}:
            self.cloud.compute.delete_server_group(group_id)

    @asks("Nova")
    def exists(self, group_id: str) -> bool:
        return self._get(group_id) is not None

    def _get(self, group_id: str) -> ServerGroup | None:
        try:
            return self.cloud.compute.get_server_group(group_id)
        except sdk.NotFoundException:
            return None

    def _name(self, project_id: str, wanted: dict[str, str]) -> str:
        """That of the group on the cloud: the name asked for is the project's own."""
        return f"coffret-{self.cloud.deployment}-{project_id}-{wanted['name']}"

    @asks("Nova")
    def _find(self, name: str, wanted: dict[str, str]) -> str | None:
        """Id of the oldest group of that name: Nova lists them in the order they were made in."""
        group = next((group for group in self._listing() if group["name"] == name), None)
        if group is None:
            return None
        if group["policy"] != wanted["policy"]:
            raise CloudRefusal(
                f"The project's server group {wanted['name']!r} has the policy {group['policy']}, not"
                f" {wanted['policy']}. Ask for that one, or choose another name.",
                "/server_group",
            )
        return str(group["id"])

    def _listing(self) -> Iterator[dict[str, Any]]:
        """All groups of the service project. openstacksdk knows no offset, which is how Nova pages here."""
        offset = 0
        while True:
            response = self.cloud.compute.get("/os-server-groups", params={"offset": offset})
            sdk.raise_from_response(response)
            page = response.json()["server_groups"]
            if not page:
                return
            yield from page
            offset += len(page)
