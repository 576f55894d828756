"""The caller of a request, however authenticated."""

import enum
import getpass
import os
from dataclasses import dataclass, field
from typing import cast

from flask import g, request


class Role(enum.IntEnum):
    """The roles of this control plane's own tokens. Each includes the ones before it."""

    READER = 1
    MEMBER = 2
    ADMIN = 3

    def __str__(self) -> str:
        return self.name.lower()

    @property
    def included(self) -> frozenset[str]:
        """The names of this role and of those before it, as Keystone's implied roles would be."""
        return frozenset(str(role) for role in Role if role <= self)


@dataclass(frozen=True)
class RequestContext:
    project_id: str
    user_id: str
    """Keystone's id of the user, or the name of one of our own tokens."""
    roles: frozenset[str]
    user_name: str | None = None
    """Keystone's name of the user."""
    token_id: str | None = None
    """Of one of our own tokens."""
    keystone_token: str | None = field(default=None, repr=False)
    """The caller's own, to look at the cloud with their eyes. Never stored, never logged."""

    @property
    def actor(self) -> str:
        """Who that is, for people; at most 255 letters."""
        return f"{self.user_name[:188]} ({self.user_id})" if self.user_name else self.user_id

    @property
    def actor_id(self) -> str:
        """Keystone's id of the user, or the id of our own token."""
        return self.token_id or self.user_id


def operator() -> RequestContext:
    """Whoever runs a command on this host."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # an account without a name
        name = str(os.getuid())
    return RequestContext(project_id="", user_id=f"{name} (command line)", roles=frozenset())


def address() -> str:
    """Whence the current request comes, as far as the proxies are believed; at most 255 letters."""
    return (request.remote_addr or "")[:255]


def context() -> RequestContext:
    """The caller of the current request, put there by auth.identity."""
    return cast(RequestContext, g.caller)
