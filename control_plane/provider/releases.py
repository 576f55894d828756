"""The releases of the provider in a folder, as `make provider-release` and goreleaser write them.

Of each there are zips by platform, a manifest, SHA256SUMS of these, its OpenPGP signature, and the keys
that made it. What is served was found at the start and is known by its exact name, so no request can lead
to another file.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from control_plane.errors import NotFound
from control_plane.settings import SettingsError

PROGRAM = "terraform-provider-coffret"
BUILT_IN = Path(__file__).parent / "packages"
"""What a wheel that was built with the provider has."""
_PREFIX = rf"{PROGRAM}_(?P<version>\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?)_"
_SUMS = re.compile(_PREFIX + "SHA256SUMS")
_PACKAGE = re.compile(_PREFIX + r"(?P<system>[a-z0-9]+)_(?P<machine>[a-z0-9]+)\.zip")
_KEY = re.compile(_PREFIX + r"(?P<id>[0-9A-F]{16})\.asc")
_SUM = re.compile(r"(?P<sha256>[0-9a-f]{64}) [ *](?P<name>\S+)")


@dataclass(frozen=True)
class File:
    path: Path
    sha256: str
    """In hex."""


@dataclass(frozen=True)
class Release:
    """One version."""

    protocols: list[str]
    """Of Terraform's plugin protocol, such as 6.0."""
    sums: File
    signature: File
    keys: Mapping[str, str]
    """Public keys, armored, by their ids."""
    packages: Mapping[tuple[str, str], File]
    """Zips by operating system and architecture, in Go's words."""


@dataclass(frozen=True)
class Releases:
    versions: Mapping[str, Release] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path | None) -> "Releases":
        """Those in the folder, or else those of the wheel, if any.

        Raises SettingsError when the folder cannot be read, or a release in it is not whole.
        """
        if folder is None and not BUILT_IN.exists():
            return cls()
        try:
            return cls(_releases(folder or BUILT_IN))
        except (OSError, ValueError) as error:
            raise _Unusable(folder or BUILT_IN, str(error)) from error

    def check(self) -> None:
        """Raises SettingsError for a package that is not what its checksum says: Terraform refuses it."""
        for release in self.versions.values():
            for file in release.packages.values():
                if _sha256(file.path) != file.sha256:
                    raise _Unusable(file.path.parent, f"{file.path.name} does not have its checksum")

    def find(self, version: str) -> Release:
        """Raises NotFound, which says what there is."""
        if version not in self.versions:
            raise NotFound(f"There is no version {version!r} of the provider here.{_known(self.versions)}")
        return self.versions[version]

    def package(self, version: str, system: str, machine: str) -> tuple[Release, File]:
        """Likewise."""
        release = self.find(version)
        if (system, machine) not in release.packages:
            platforms = ["_".join(platform) for platform in release.packages]
            raise NotFound(f"{version} is not here for {f'{system}_{machine}'!r}.{_known(platforms)}")
        return release, release.packages[system, machine]

    def file(self, name: str) -> File:
        """Likewise."""
        files = {
            file.path.name: file
            for release in self.versions.values()
            for file in (release.sums, release.signature, *release.packages.values())
        }
        if name not in files:
            raise NotFound(f"There is no file {name!r} of the provider here.{_known(files)}")
        return files[name]


class _Unusable(SettingsError):
    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(
            f"COFFRET_PROVIDER_DIR={folder} has no releases that can be served: {why}."
            " docs/operators/provider.md says what belongs there, and how to make it."
        )


def _releases(folder: Path) -> dict[str, Release]:
    """Raises ValueError for what is missing or malformed."""
    names = sorted(file.name for file in folder.iterdir())
    releases = {match["version"]: _release(folder, names, match) for match in _matching(_SUMS, names)}
    if not releases:
        raise ValueError(f"there is no {PROGRAM}_VERSION_SHA256SUMS")
    listed = {file.path.name for release in releases.values() for file in release.packages.values()}
    for package in _matching(_PACKAGE, names):
        if package[0] not in listed:
            raise ValueError(f"{package[0]} is not in the SHA256SUMS of its version")
    return releases


def _release(folder: Path, names: list[str], sums: re.Match[str]) -> Release:
    """The release of one SHA256SUMS. A platform whose zip was left out is not offered."""
    prefix, version = sums[0].removesuffix("SHA256SUMS"), sums["version"]
    for needed in (f"{prefix}manifest.json", f"{prefix}SHA256SUMS.sig"):
        if needed not in names:
            raise ValueError(f"{needed} is missing")
    keys = {key["id"]: (folder / key[0]).read_text() for key in _matching(_KEY, names, version)}
    if not keys:
        raise ValueError(f"{prefix}KEYID.asc, the key that {sums[0]} was signed with, is missing")
    digests = _digests(folder / sums[0])
    return Release(
        protocols=_protocols(folder / f"{prefix}manifest.json"),
        sums=_hashed(folder / sums[0]),
        signature=_hashed(folder / f"{prefix}SHA256SUMS.sig"),
        keys=keys,
        packages={
            (package["system"], package["machine"]): File(folder / package[0], digests[package[0]])
            for package in _matching(_PACKAGE, names, version)
            if package[0] in digests
        },
    )


def _matching(pattern: re.Pattern[str], names: list[str], version: str = "") -> Iterator[re.Match[str]]:
    """The names that fit, of one version or of all."""
    matches = filter(None, map(pattern.fullmatch, names))
    return (match for match in matches if version in ("", match["version"]))


def _digests(sums: Path) -> dict[str, str]:
    """The checksums by name, of a file as sha256sum(1) writes it."""
    digests = {}
    for number, line in enumerate(sums.read_text().splitlines(), 1):
        match = _SUM.fullmatch(line)
        if match is None:
            raise ValueError(f"{sums.name}:{number}: this is not a checksum and a name")
        digests[match["name"]] = match["sha256"]
    return digests


def _protocols(manifest: Path) -> list[str]:
    """https://developer.hashicorp.com/terraform/registry/providers/publishing"""
    try:
        return list(map(str, json.loads(manifest.read_text())["metadata"]["protocol_versions"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{manifest.name} has no metadata.protocol_versions") from error


def _hashed(path: Path) -> File:
    return File(path, _sha256(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _known(names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f" There is {listed}." if listed else ""
