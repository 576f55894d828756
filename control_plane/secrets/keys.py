"""The keys that secrets are encrypted with: a file of one key a line, newest first.

A key is Fernet's (https://cryptography.io/en/latest/fernet/). The word `clear` in a key's place at the top
has new values written in clear while those encrypted with the keys below it can be read: for a rolling
upgrade from versions that cannot read encrypted ones.
"""

import contextlib
import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from control_plane.settings import Settings, SettingsError

MARK = "fernet:"
"""Encrypted values are `fernet:<key's fingerprint>:<Fernet token>`; no secret in clear begins so."""
CLEAR = "clear"
DEFAULT_FILE = "secrets.keys"

log = logging.getLogger(__name__)


class UnreadableSecret(Exception):
    """A value is encrypted with a key that is not in the file, or is damaged."""


def new_key() -> str:
    return Fernet.generate_key().decode()


def fingerprint(key: str) -> str:
    """Eight hex digits that tell a key from others and tell nothing else of it."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def key_of(stored: str) -> str | None:
    """The fingerprint of the key that a stored value is encrypted with; None: it is in clear."""
    return stored.removeprefix(MARK).partition(":")[0] if stored.startswith(MARK) else None


@dataclass(frozen=True)
class _Ring:
    newest: str | None
    """Fingerprint of the key to encrypt with; None: nothing is encrypted."""
    by_fingerprint: Mapping[str, Fernet]


_UNREAD = _Ring(None, {})


class Keys:
    """The keys of a file, read anew when it has changed, so that a new one takes no restart."""

    def __init__(self, file: Path, *, make: bool = False) -> None:
        """`make`: a file that is not there is made."""
        self.file = file
        self._make = make
        self._lock = threading.Lock()
        self._ring = _UNREAD
        self._read_at: tuple[int, int, int] | None = None

    @property
    def newest(self) -> str | None:
        """Fingerprint of the key that is used from now on; None: values are written in clear."""
        return self._now().newest

    def encrypt(self, text: str) -> str:
        """As it is to be stored."""
        ring = self._now()
        if ring.newest is None:
            return text
        token = ring.by_fingerprint[ring.newest].encrypt(text.encode()).decode()
        return f"{MARK}{ring.newest}:{token}"

    def decrypt(self, stored: str) -> str:
        """What was stored, in clear or not. Raises UnreadableSecret."""
        if (needed := key_of(stored)) is None:
            return stored
        fernet = self._ring.by_fingerprint.get(needed) or self._now().by_fingerprint.get(needed)
        if fernet is None:
            raise UnreadableSecret(f"a secret is encrypted with the key {needed}, which {self.file} lacks")
        try:
            return fernet.decrypt(stored.removeprefix(f"{MARK}{needed}:").encode()).decode()
        except InvalidToken as error:
            raise UnreadableSecret(f"a secret encrypted with the key {needed} is damaged") from error

    def check(self, used: Iterable[str]) -> None:
        """Raise SettingsError unless the keys with these fingerprints are there.

        A file is made only where none is needed yet.
        """
        used = sorted(used)
        if self.file.exists() or not used:
            self.load()
        if missing := [name for name in used if name not in self._ring.by_fingerprint]:
            raise SettingsError(
                f"The state database has secrets that are encrypted with the key {', '.join(missing)},"
                f" and {self.file} does not have it. Bring that key back: what it encrypts cannot be read"
                " without it."
            )

    def load(self) -> None:
        """Read the file. Raises SettingsError for one that cannot be used."""
        if self._make and not self.file.exists():
            _write_new(self.file, f"{new_key()}\n")
        with self._lock:
            stamp = _stamp(self.file)
            self._ring, self._read_at = _read(self.file), stamp

    def _now(self) -> _Ring:
        """The keys as the file has them; the former ones go on while it cannot be used."""
        try:
            if self._read_at is None or self._read_at != _stamp(self.file):
                self.load()
        except SettingsError as error:
            if self._read_at is None:
                raise
            log.error("%s The keys read before stay in use.", error.detail)
        return self._ring


def open_keys(settings: Settings) -> Keys:
    """The keys that the settings name, not read yet. Raises SettingsError where they must name some."""
    if settings.secrets_keys is not None:
        return Keys(settings.secrets_keys)
    if settings.database_url:
        raise SettingsError(
            "COFFRET_SECRETS_KEYS must name the file of the keys that secrets are encrypted with, since"
            " other hosts may share COFFRET_DATABASE_URL and they need the same. `coffret secrets new-key`"
            " prints a key; docs/operators/secrets.md says more."
        )
    return Keys(settings.data_dir / DEFAULT_FILE, make=True)


def _stamp(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except OSError as error:
        raise _wrong(file, f"cannot be read: {error.strerror}.") from error
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(file: Path) -> _Ring:
    try:
        lines = [line.strip() for line in file.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(file, f"cannot be read: {error}.") from error
    found: dict[str, Fernet] = {}
    newest: str | None = None
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        if line == CLEAR and not found:
            newest = CLEAR
            continue
        try:
            found[fingerprint(line)] = Fernet(line)
        except ValueError as error:
            # the line itself may be a key with a slip, so it is not shown
            raise _wrong(file, f"line {number} is no key; `coffret secrets new-key` makes one.") from error
        newest = newest or fingerprint(line)
    if newest is None:
        raise _wrong(file, "has no key; `coffret secrets new-key` makes one.")
    return _Ring(None if newest == CLEAR else newest, found)


def _wrong(file: Path, what: str) -> SettingsError:
    return SettingsError(f"COFFRET_SECRETS_KEYS={file} {what}")


def _write_new(file: Path, text: str) -> None:
    """Whole or not at all, and never over one that another process has just made."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as made:
            made.write(text)
            made.flush()
            os.fsync(made.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, file)
    finally:
        Path(name).unlink()
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
