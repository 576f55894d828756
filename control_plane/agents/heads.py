"""Heads: all that a sync goes by while nothing is new, in one indexed read."""

from datetime import datetime
from typing import Protocol, cast

from sqlalchemy import bindparam, func, select

from control_plane.agents.models import Agent
from control_plane.database import read
from control_plane.instances.models import Instance
from control_plane.work.clock import moment

SEEN_EVERY = 20.0
"""Seconds. How often an agent's freshness is written at most."""


class Head(Protocol):
    """Of an agent and its instance."""

    @property
    def instance_id(self) -> str: ...
    @property
    def secret_hash(self) -> str | None: ...
    @property
    def next_secret_hash(self) -> str | None: ...
    @property
    def former_secret_hash(self) -> str | None: ...
    @property
    def secret_since(self) -> datetime | None: ...
    @property
    def secret_offered_at(self) -> datetime | None: ...
    @property
    def now(self) -> datetime:
        """By the database's clock, as the other two."""

    @property
    def to_be_noted(self) -> bool:
        """Whether its freshness is to be written again."""

    @property
    def revision(self) -> int: ...
    @property
    def desired_revision(self) -> int: ...
    @property
    def converged_revision(self) -> int: ...
    @property
    def ready(self) -> bool: ...
    @property
    def agent_lost(self) -> bool: ...


_AGENTS, _INSTANCES = Agent.__table__, Instance.__table__
_HEAD = (
    select(
        _AGENTS.c.instance_id,
        _AGENTS.c.secret_hash,
        _AGENTS.c.next_secret_hash,
        _AGENTS.c.former_secret_hash,
        _AGENTS.c.secret_since,
        _AGENTS.c.secret_offered_at,
        moment().label("now"),
        func.coalesce(_AGENTS.c.last_seen_at < moment(-SEEN_EVERY), True).label("to_be_noted"),
        _INSTANCES.c.revision,
        _INSTANCES.c.desired_revision,
        _INSTANCES.c.converged_revision,
        _INSTANCES.c.ready,
        _INSTANCES.c.agent_lost,
    )
    .select_from(_AGENTS.join(_INSTANCES, _INSTANCES.c.id == _AGENTS.c.instance_id))
    .where(_AGENTS.c.instance_id == bindparam("instance_id"))
)


def find(instance_id: str) -> Head | None:
    """None when there is no such instance, or when it never had an agent."""
    rows = read(_HEAD, instance_id=instance_id)
    return cast(Head, rows[0]) if rows else None


def holds(head: Head, etag: str | None) -> bool:
    """Whether the agent that sent this etag holds the newest directive."""
    return etag == f"{head.instance_id}-{head.desired_revision}"
