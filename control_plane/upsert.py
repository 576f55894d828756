"""PUT as an idempotent upsert: the same rules for every resource."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from control_plane.database import Resource
from control_plane.errors import Conflict, PreconditionFailed


class Outcome(enum.Enum):
    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


class Identified(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def generation(self) -> int: ...


def etag(row: Identified) -> str:
    """Changes when what is desired changes, and when the name passes to another incarnation."""
    return f"{row.id}.{row.generation}"


@dataclass(frozen=True)
class Preconditions:
    """What a write demands of the resource as it is; checked inside the write's transaction."""

    if_match: frozenset[str] | None = None
    """ETags, one of which must be the resource's; `*` is any. None: no demand."""
    create_only: bool = False

    def check(self, row: Resource | None, *, unmanaged: bool = False) -> None:
        """Raise PreconditionFailed, with the existing id, unless the demands hold.

        `unmanaged`: there is no row, but the engine has one of that name.
        """
        if unmanaged and self.create_only:
            raise PreconditionFailed(
                "The engine has one of this name that nobody manages, and If-None-Match: * asked for a"
                " new one. A PUT without If-None-Match takes it over."
            )
        if row is None:
            if self.if_match is not None:
                raise PreconditionFailed("If-Match was sent, but the resource does not exist.")
            return
        if self.create_only:
            raise PreconditionFailed(
                "The name is taken, and If-None-Match: * asked for a new resource.", id=row.id
            )
        if self.if_match is not None and not self.if_match & {"*", etag(row)}:
            raise PreconditionFailed(
                f'The resource has changed: its ETag is now "{etag(row)}".',
                id=row.id,
                etag=f'"{etag(row)}"',
            )


NONE = Preconditions()


def refuse_while_deleting(row: Resource | None, what: str) -> None:
    """A name that is being deleted is not free yet. Goes before all that could be wrong with a body."""
    if getattr(row, "deleting", False):
        raise Conflict(f"The {what} is being deleted; ask again once it is gone.", retry_after=2)


def assign(row: Resource, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Make the row's columns what is wanted; returns those that changed, as they were before.

    Counts a new generation when any did.
    """
    former = {name: getattr(row, name) for name, value in wanted.items() if getattr(row, name) != value}
    for name in former:
        setattr(row, name, wanted[name])
    if former:
        row.generation += 1
    return former
