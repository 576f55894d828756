"""The account that engines run as, and what it can reach."""

import os
import pwd
import stat
from pathlib import Path

from control_plane.settings import SettingsError
from guest_agent.engines.base import Account


def of_engines(name: str) -> Account | None:
    """The account `name` when Coffret is root; None, its own account, when it is not.

    Raises SettingsError for an account that does not exist or is root.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise SettingsError(
            f"COFFRET_LOCAL_ACCOUNT={name!r}: there is no such account on this machine. Make one"
            f" (`useradd --system {name}`) or name another, such as `nobody`."
        ) from None
    if entry.pw_uid == 0:
        raise SettingsError(f"COFFRET_LOCAL_ACCOUNT={name!r} is root; engines never run as root.")
    return Account(name, entry.pw_uid, entry.pw_gid)


def blocking_folder(path: Path, account: Account | None) -> Path | None:
    """The outermost folder on the way to `path`, itself included, that the account cannot enter."""
    if account is None:
        return None
    for folder in (*reversed(path.parents), path):
        if folder.is_dir() and not _may(folder, account, stat.S_IXOTH):
            return folder
    return None


def readable(path: Path, account: Account | None) -> bool:
    """Whether the account can reach the file or folder and read it."""
    return blocking_folder(path.parent, account) is None and (
        account is None or _may(path, account, stat.S_IROTH)
    )


def _may(path: Path, account: Account, bit: int) -> bool:
    """Whether the mode grants `bit` (written as for others). Access lists are not considered."""
    found = path.stat()
    if found.st_uid == account.uid:
        bit <<= 6
    elif found.st_gid == account.gid:
        bit <<= 3
    return bool(found.st_mode & bit)
