"""What an engine plugin does. One object is one engine in one home; every method may be called again."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from guest_agent.protocol import (
    Catalogue,
    DeletionPolicy,
    DesiredDatabase,
    DesiredEngine,
    DesiredUser,
    SeenConfiguration,
    SeenDatabase,
    SeenUser,
)


class EngineError(Exception):
    """The engine refused or failed; the text is for the user: its own words and what would help."""


def unwritable(value: str) -> str | None:
    """Why no engine's configuration file can hold this value of a parameter, or None."""
    if "\0" in value:
        return "a value holds no NUL"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "a value is Unicode text, without halves of characters"
    return None


@dataclass(frozen=True)
class Account:
    """The operating system account the engine runs as. Never root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Home:
    """Where one engine lives."""

    data: Path
    """The volume: all that must survive. Owned by the engine's account."""
    run: Path
    """Sockets and pid files; short, since a socket's path has at most 107 bytes."""
    binaries: Path | None
    """Folder of the engine's binaries; None: find them on PATH and in the usual places."""
    account: Account | None
    """None: the account that the agent itself runs as."""


class Engine(abc.ABC):
    """A database engine under management.

    The agent calls, in this order and again and again: `prepare`, `start` (when not `running`),
    `apply_configuration`, `ensure_user`, `ensure_database`, `ensure_grants`, `drop_database`,
    `drop_user`, `databases`, `users`. The `ensure_*` and `drop_*` methods return a sentence when they
    changed something and None when it was already so. All raise EngineError.
    """

    manager: ClassVar[str]

    def __init__(self, home: Home) -> None:
        self.home = home

    def initialise(self) -> None:  # noqa: B027 - an engine may have nothing to do ahead
        """Make the data directory if there is none yet.

        `prepare` does it too; the agent calls this first, to use the time until a directive is there.
        """

    @abc.abstractmethod
    def prepare(self, engine: DesiredEngine, parameters: Mapping[str, str]) -> None:
        """Initialise the data directory if it is empty, and write all files that a start reads."""

    @abc.abstractmethod
    def start(self, engine: DesiredEngine) -> None:
        """Start the engine unless it runs, and return once it answers.

        Raises EngineError with the engine's own last words when it does not come up.
        """

    @abc.abstractmethod
    def stop(self) -> None:
        """Stop it cleanly; nothing acknowledged is lost. Returns once the process is gone."""

    @abc.abstractmethod
    def running(self) -> bool:
        """Whether the engine of this home runs, whoever started it (found by its pid, not twice)."""

    @abc.abstractmethod
    def health(self) -> None:
        """Ask the engine something trivial; raises EngineError when it does not answer."""

    @abc.abstractmethod
    def version(self) -> str:
        """The engine's version, such as `18.6`, from the binary."""

    @abc.abstractmethod
    def catalogue(self) -> Catalogue:
        """Read the parameter catalogue, character sets and collations from the running engine."""

    @abc.abstractmethod
    def apply_configuration(
        self, engine: DesiredEngine, parameters: Mapping[str, str]
    ) -> SeenConfiguration:
        """Write the include file, apply what is dynamic, compare what runs with what is wanted.

        Values the engine refuses are reported, not raised. A parameter that is no longer named goes
        back to its default.
        """

    @abc.abstractmethod
    def databases(self) -> list[SeenDatabase]:
        """All databases but the engine's own."""

    @abc.abstractmethod
    def ensure_database(self, database: DesiredDatabase) -> str | None: ...

    @abc.abstractmethod
    def drop_database(self, name: str) -> str | None: ...

    @abc.abstractmethod
    def users(self) -> list[SeenUser]:
        """All users but the engine's own and the agent's."""

    @abc.abstractmethod
    def ensure_user(self, user: DesiredUser) -> str | None:
        """Create the user or put its verifier right; grants are for ensure_grants."""

    @abc.abstractmethod
    def ensure_grants(self, user: DesiredUser) -> str | None:
        """Make the user's grants exactly the wanted ones."""

    @abc.abstractmethod
    def drop_user(self, name: str, host: str, policy: DeletionPolicy = "reassign") -> str | None:
        """Drop the user. What it owns goes to the owner of its database first.

        With `refuse` a user that owns something stays as it is; the EngineError names what it owns.
        """
