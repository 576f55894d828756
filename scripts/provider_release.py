"""`make provider-release`: the provider as a registry serves it, in one folder.

For each platform of .goreleaser.yml a zip; SHA256SUMS of them and of the manifest, its signature, and the
key that it is checked with. The same sources and the same Go make the same zips, so a lock file of
Terraform holds for another build of the same version.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import yaml

from guest_agent import __version__

PROVIDER = Path(__file__).resolve().parent.parent / "terraform-provider"
PROGRAM = "terraform-provider-coffret"
RELEASE = f"{PROGRAM}_{__version__}"
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The first time that a zip can hold."""


@dataclass(frozen=True)
class Recipe:
    """How .goreleaser.yml has the provider built."""

    platforms: Sequence[str]
    """As in linux_amd64."""
    flags: Sequence[str]
    """Of `go build`."""
    environment: Mapping[str, str]

    @classmethod
    def read(cls) -> "Recipe":
        (build,) = yaml.safe_load((PROVIDER / ".goreleaser.yml").read_text())["builds"]
        linker = " ".join(build["ldflags"]).replace("{{ .Version }}", __version__)
        return cls(
            platforms=[f"{system}_{machine}" for system in build["goos"] for machine in build["goarch"]],
            flags=[*build["flags"], f"-ldflags={linker}"],
            environment=dict(line.split("=", 1) for line in build["env"]),
        )


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--platform", "chosen", multiple=True, help="Such as linux_amd64; all if left out.")
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    help="Armored secret key to sign with; COFFRET_SIGNING_PASSPHRASE unlocks it.",
)
def main(folder: Path, chosen: Sequence[str], key: str | None) -> None:
    """Build this version of the provider into FOLDER, in place of what it has of it.

    Without --key it is signed by a key that is made for it and then forgotten.
    """
    recipe = Recipe.read()
    platforms = chosen or recipe.platforms
    if unknown := sorted(set(platforms) - set(recipe.platforms)):
        known = ", ".join(recipe.platforms)
        raise click.ClickException(f"{', '.join(unknown)}: .goreleaser.yml has {known}.")
    if key:
        try_out(key)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        new = Path(place)
        shutil.copyfile(PROVIDER / "terraform-registry-manifest.json", new / f"{RELEASE}_manifest.json")
        for platform in platforms:
            click.echo(f"provider-release: {platform}")
            package(new, platform, recipe)
        sign(new, key)
        for old in folder.glob(f"{RELEASE}_*"):
            old.unlink()
        for file in new.iterdir():
            file.rename(folder / file.name)
    click.echo(f"provider-release: {folder} has version {__version__}")


def package(folder: Path, platform: str, recipe: Recipe) -> None:
    """Build the program for the platform and zip it."""
    system, machine = platform.split("_")
    program = f"{PROGRAM}_v{__version__}" + (".exe" if system == "windows" else "")
    with tempfile.TemporaryDirectory() as place:
        built = Path(place) / program
        go("build", *recipe.flags, "-o", str(built), ".", **recipe.environment, GOOS=system, GOARCH=machine)
        entry = zipfile.ZipInfo(program, LONG_AGO)
        entry.external_attr = 0o100755 << 16  # a regular file that may be run
        entry.compress_type = zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(folder / f"{RELEASE}_{platform}.zip", "w") as made:
            made.writestr(entry, built.read_bytes())


def sign(folder: Path, key: str | None) -> None:
    """Write the checksums of all that is in the folder, and sign them."""
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
        for file in sorted(folder.iterdir())
    ]
    sums = folder / f"{RELEASE}_SHA256SUMS"
    sums.write_text("".join(lines))
    sign_file(sums, key)


def try_out(key: str) -> None:
    """Raises ClickException for a key that cannot sign, before minutes go into building."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "nothing"
        file.touch()
        sign_file(file, key)


def sign_file(file: Path, key: str | None) -> None:
    go("-C", "tools", "run", "./sign", *(["-key", key] if key else []), str(file.resolve()))


def go(*arguments: str, **environment: str) -> None:
    """Run Go in the provider's folder. Raises ClickException; what it says is on standard error."""
    done = subprocess.run(["go", *arguments], cwd=PROVIDER, env=os.environ | environment, check=False)
    if done.returncode:
        raise click.ClickException(f"`go {arguments[0]}` did not work; it said why above.")


if __name__ == "__main__":
    main()
