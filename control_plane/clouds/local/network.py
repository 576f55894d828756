"""A port of this cloud is a TCP port on the loopback interface, chosen once and reserved by a file."""

import contextlib
import os
import random
import socket
from dataclasses import dataclass

from control_plane.clouds.base import CloudError, CloudRefusal, Port, ServerSpec
from control_plane.clouds.local.places import Places

LOOPBACK = "127.0.0.1"
RANGE = range(21000, 32000)
"""Below the ports that Linux gives to outgoing connections, which would take one while it is unused."""


@dataclass(frozen=True)
class Network:
    places: Places

    def validate(self, spec: ServerSpec, keystone_token: str | None = None) -> None:
        if spec.is_public:
            raise CloudRefusal(
                "The local cloud has only this machine's loopback interface; is_public must be false.",
                "/access/is_public",
            )
        if spec.network:
            raise CloudRefusal(
                "The local cloud has only this machine's loopback interface; leave network out.", "/network"
            )

    def find(self, instance_id: str) -> Port | None:
        for reservation in self.places.ports.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if reservation.name.isdecimal() and reservation.read_text() == instance_id:
                    return _port(int(reservation.name))
        return None

    def ensure(self, spec: ServerSpec) -> Port:
        return self.find(spec.instance_id) or self._reserve(spec.instance_id)

    def delete(self, instance_id: str) -> None:
        while (port := self.find(instance_id)) is not None:
            (self.places.ports / port.id).unlink(missing_ok=True)

    def _reserve(self, instance_id: str) -> Port:
        new = self.places.ports / f".{instance_id}"
        try:
            new.write_text(instance_id)
            for number in random.sample(RANGE, len(RANGE)):
                reservation = self.places.ports / str(number)
                if reservation.exists() or not _free(number):
                    continue
                with contextlib.suppress(FileExistsError):
                    os.link(new, reservation)  # with its content, or not at all
                    return _port(number)
        except OSError as error:
            raise CloudError(f"No port can be reserved: {error}") from error
        finally:
            new.unlink(missing_ok=True)
        raise CloudError(f"No port from {RANGE.start} to {RANGE.stop - 1} is free on this machine.")


def _free(number: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, number))
        except OSError:
            return False
    return True


def _port(number: int) -> Port:
    return Port(id=str(number), host=LOOPBACK, listen=(LOOPBACK,), port=number)
