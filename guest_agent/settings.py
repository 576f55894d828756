"""agent.json: what whoever made this guest tells its agent."""

import json
import os
import pwd
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

from guest_agent import files
from guest_agent.engines.base import Account, Home
from guest_agent.volume import Volume

FILE = "agent.json"


class SettingsError(Exception):
    """The settings are not usable; the text says what would be right."""


@dataclass(frozen=True)
class Settings:
    """The fields of agent.json; paths are absolute."""

    url: str
    """Of the control plane, such as `https://coffret.example:8443`."""
    instance_id: str
    manager: str
    data: str
    run: str
    ca: str | None = None
    """File with the certificate authority of the control plane; None: the system's."""
    bootstrap_token: str | None = None
    """Works once; taken out after registering."""
    binaries: str | None = None
    volume_id: str | None = None
    """Cinder's; the volume is mounted at the folder above `data`. None: `data` is a folder as any other."""
    account: str | None = None
    """Account that the engine runs as; must be named when the agent is root."""
    drift_seconds: float = 10
    """Seconds between two looks for drift inside the engine."""
    log_format: str = "plain"
    """How the log is written: `plain` or `json`."""


def read(home: Path) -> Settings:
    """Settings of the agent in `home`. Raises SettingsError."""
    path = home / FILE
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}.") from error
    if not isinstance(found, dict):
        raise SettingsError(f"{path} must hold one JSON object.")
    known = fields(Settings)
    missing = [f.name for f in known if f.default is MISSING and not found.get(f.name)]
    if missing:
        raise SettingsError(f"{path} lacks {', '.join(missing)}.")
    return Settings(**{f.name: found[f.name] for f in known if f.name in found})


def forget_token(home: Path, token: str) -> None:
    """Take a used bootstrap token out of agent.json, unless a newer one stands there already."""
    path = home / FILE
    found = json.loads(path.read_text())
    if found.get("bootstrap_token") == token:
        files.write(path, json.dumps({**found, "bootstrap_token": None}, indent=2) + "\n", mode=0o600)


def account(name: str | None) -> Account | None:
    """The account that the engine runs as; None: the agent's own. Raises SettingsError."""
    if name is None:
        if os.geteuid() == 0:
            raise SettingsError(
                "As root, the agent needs an `account` in agent.json to run the engine as; "
                "engines never run as root."
            )
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise SettingsError(f"There is no account {name!r} on this machine.") from None
    if entry.pw_uid == 0:
        raise SettingsError(f"The account {name!r} is root; engines never run as root.")
    if entry.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise SettingsError(f"Only root can run the engine as {name!r}; leave `account` out.")
    return Account(name, entry.pw_uid, entry.pw_gid)


def engine_home(data: Path, run: Path, binaries: Path | None, owner: Account | None) -> Home:
    """The home of an engine, with its two folders made and given to the engine's account."""
    for folder in (data, run):
        files.own_folder(folder, owner)
    return Home(data, run, binaries, owner)


def home(known: Settings, owner: Account | None) -> Home:
    """Where the engine lives. Its folder on a volume is made by whoever mounts that."""
    data, run = Path(known.data), Path(known.run)
    binaries = Path(known.binaries) if known.binaries else None
    if known.volume_id is None:
        return engine_home(data, run, binaries, owner)
    files.own_folder(run, owner)
    return Home(data, run, binaries, owner)


def volume(known: Settings, owner: Account | None) -> Volume | None:
    """The volume that `data` is on; None where there is none."""
    if known.volume_id is None:
        return None
    data = Path(known.data)
    return Volume(known.volume_id, known.instance_id, data.parent, data, owner)
