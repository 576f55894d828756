"""The local list of flavors: built in, or from a JSON file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control_plane.clouds.base import Flavor
from control_plane.settings import SettingsError

BUILT_IN = tuple(
    Flavor(id=name, name=name, ram=ram, vcpus=vcpus, disk=0)
    for name, ram, vcpus in (
        ("db.tiny", 512, 1),
        ("db.small", 1024, 1),
        ("db.medium", 2048, 1),
        ("db.large", 4096, 2),
        ("db.xlarge", 8192, 2),
        ("db.2xlarge", 16384, 4),
    )
)
_FIELDS = {"name": str, "ram": int, "vcpus": int}
_SHAPE = 'such as {"name": "db.small", "ram": 1024, "vcpus": 1}, ram in MiB'


@dataclass(frozen=True)
class Flavors:
    known: Sequence[Flavor]

    def flavors(self) -> Sequence[Flavor]:
        return self.known


def load(path: Path | None) -> Sequence[Flavor]:
    """The flavors of the file, a JSON list; None: the built-in ones.

    Raises SettingsError that names the file, the entry and what would be right.
    """
    if path is None:
        return BUILT_IN
    try:
        entries = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SettingsError(f"COFFRET_LOCAL_FLAVORS={path} cannot be read: {error}.") from error
    if not isinstance(entries, list) or not entries:
        raise SettingsError(f"{path} must hold a JSON list of flavors, each {_SHAPE}.")
    flavors = [_flavor(entry, f"{path}, entry {number}") for number, entry in enumerate(entries, 1)]
    names = [flavor.name for flavor in flavors]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SettingsError(f"{path} has the flavor {min(twice)!r} twice.")
    return flavors


def _flavor(entry: Any, where: str) -> Flavor:
    if not isinstance(entry, dict) or set(entry) != set(_FIELDS):
        raise SettingsError(f"{where}: a flavor has just {', '.join(_FIELDS)}, {_SHAPE}.")
    for name, kind in _FIELDS.items():
        if type(entry[name]) is not kind or not entry[name]:
            raise SettingsError(f"{where}: {name} is {entry[name]!r}; {_SHAPE}.")
    if entry["ram"] < 1 or entry["vcpus"] < 1:
        raise SettingsError(f"{where}: ram and vcpus are at least 1.")
    return Flavor(id=entry["name"], name=entry["name"], ram=entry["ram"], vcpus=entry["vcpus"], disk=0)
