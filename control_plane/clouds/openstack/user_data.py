"""What a new server is told: a cloud-config with its agent's settings. It holds one secret, used up soon.

The guest image has the agent's unit, which waits for agent.json; cloud-init writes that and starts it.
"""

import base64
import json
from typing import Any

from control_plane.clouds.base import Bootstrap, CloudRefusal, ServerSpec
from control_plane.datastores.managers import MANAGERS

AGENT = "/var/lib/coffret/agent"
DATA = "/var/lib/coffret/volume/data"
"""Below where the agent mounts the volume."""
RUN = "/run/coffret"
LIMIT = 65535
"""Nova's, in bytes of base64."""


def user_data(spec: ServerSpec, volume_id: str, bootstrap: Bootstrap) -> str:
    """The cloud-config as base64, with a new bootstrap token. CloudRefusal when it is too long for Nova.

    https://cloudinit.readthedocs.io/en/latest/reference/modules.html#write-files
    """
    ca = bootstrap.ca
    agent = {
        "url": bootstrap.url,
        "ca": f"{AGENT}/ca.pem" if ca else None,
        "instance_id": spec.instance_id,
        "bootstrap_token": bootstrap.token(),
        "manager": spec.manager,
        "data": DATA,
        "run": RUN,
        "binaries": None,
        "account": MANAGERS[spec.manager].account,
        "volume_id": volume_id,
        "log_format": bootstrap.log_format,
    }
    files = [_file("agent.json", json.dumps(agent, indent=2) + "\n")]
    if ca:
        files.insert(0, _file("ca.pem", ca))  # agent.json comes last: it is what the agent waits for
    config = {
        "write_files": files,
        "runcmd": [["systemctl", "start", "--no-block", "coffret-agent"]],
    }
    encoded = base64.b64encode(f"#cloud-config\n{json.dumps(config)}\n".encode()).decode()  # JSON is YAML
    if len(encoded) > LIMIT:
        raise CloudRefusal(
            f"The server's user-data would have {len(encoded)} bytes, and Nova takes {LIMIT}. The operator"
            " puts only the CA that signed this control plane's certificate into COFFRET_AGENT_CA."
        )
    return encoded


def _file(name: str, content: str) -> dict[str, Any]:
    return {"path": f"{AGENT}/{name}", "permissions": "0600", "owner": "root:root", "content": content}
