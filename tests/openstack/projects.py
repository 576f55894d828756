"""A service project for one test alone, whose quotas are nobody else's."""

import contextlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from openstack.connection import Connection


@dataclass(frozen=True)
class OwnProject:
    id: str
    environment: dict[str, str]
    """What names it to openstacksdk."""


@contextlib.contextmanager
def own_project(operator: Connection, folder: Path) -> Iterator[OwnProject]:
    """A project, with a user who is admin in it; its clouds.yaml is in the folder. Gone at the end."""
    name, identity = f"test-{uuid.uuid4().hex[:8]}", operator.identity
    with contextlib.ExitStack() as ending:
        project = identity.create_project(name=name)
        ending.callback(identity.delete_project, project)
        user = identity.create_user(name=name, password=name, default_project_id=project.id)
        ending.callback(identity.delete_user, user)
        identity.assign_project_role_to_user(project, user, identity.find_role("admin"))
        login = operator.config.auth | {"username": name, "password": name, "project_name": name}
        own = {"region_name": operator.config.region_name, "auth": login}
        file = folder / "clouds.yaml"
        file.write_text(json.dumps({"clouds": {"own": own}}))
        ending.callback(_delete_groups, operator, project.id)
        yield OwnProject(project.id, {"OS_CLIENT_CONFIG_FILE": str(file), "OS_CLOUD": "own"})


def _delete_groups(operator: Connection, project_id: str) -> None:
    """Neutron gives every project a default group, and keeps it when the project goes."""
    for group in operator.network.security_groups(project_id=project_id):
        operator.network.delete_security_group(group)
