"""What there is on this machine, by folder."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from control_plane.clouds.base import CloudObject
from control_plane.clouds.local.places import Places


@dataclass(frozen=True)
class Inventory:
    places: Places

    def objects(self) -> Sequence[CloudObject]:
        found = []
        for folder in sorted(self.places.instances.iterdir()):
            for kind, path in (
                ("server", self.places.agent(folder.name)),
                ("volume", self.places.volume(folder.name)),
            ):
                if path.is_dir():
                    found.append(CloudObject(kind, folder.name, str(path), folder.name))
        for path in sorted(self.places.ports.iterdir()):
            with contextlib.suppress(FileNotFoundError):  # given back meanwhile
                if path.name.isdecimal():
                    found.append(CloudObject("port", path.name, str(path), path.read_text()))
        return found
