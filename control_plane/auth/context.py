"""The caller of a request, however authenticated."""

import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar, cast

from flask import g

from control_plane.errors import Forbidden

P = ParamSpec("P")
R = TypeVar("R")


class Role(enum.IntEnum):
    """Each role includes the ones before it."""

    READER = 1
    MEMBER = 2
    ADMIN = 3

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class RequestContext:
    project_id: str
    user_id: str
    role: Role
    keystone_token: str | None = field(default=None, repr=False)
    """The caller's own, to look at the cloud with their eyes. Never stored, never logged."""


def context() -> RequestContext:
    """The caller of the current request, put there by auth.tokens."""
    return cast(RequestContext, g.caller)


def require(role: Role) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Refuse callers below `role` with Forbidden, before the body is read."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(view)
        def allowed(*args: P.args, **kwargs: P.kwargs) -> R:
            if context().role < role:
                raise Forbidden(f"This needs the role {role}; the token has {context().role}.")
            return view(*args, **kwargs)

        return allowed

    return decorate
