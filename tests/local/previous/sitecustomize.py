"""Has the local cloud start agents from the folder that PREVIOUS names, rather than from this checkout."""

import os

from control_plane.clouds.local import compute

environment = compute._environment


def with_previous() -> dict[str, str]:
    return environment() | {"PYTHONPATH": os.environ["PREVIOUS"]}


compute._environment = with_previous
