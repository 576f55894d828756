"""What can go wrong, said without HTTP; http/problems.py gives each its status."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

MOST_ERRORS = 50
"""How many bad fields one answer names."""
LONGEST_GUESS = 255
"""Letters of the longest name that is compared with the known ones."""


def pointer(*steps: str) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


@dataclass(frozen=True)
class FieldError:
    """One bad field."""

    pointer: str
    """JSON pointer (RFC 6901) into the request's body, or `?name` for a query parameter."""
    detail: str
    """What was wrong and what would be right."""


class CoffretError(Exception):
    """Base of all errors meant for the caller. `code` is stable; `detail` is a sentence."""

    code = "error"
    title = "The request failed"

    def __init__(self, detail: str, *, errors: Sequence[FieldError] = (), **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = list(errors)
        self.extra = extra


class Invalid(CoffretError):
    """A value is wrong. Carries a FieldError for each."""

    code = "invalid"
    title = "The request has invalid values"

    @classmethod
    def field(cls, pointer: str, detail: str) -> "Invalid":
        return cls(detail, errors=[FieldError(pointer, detail)])


class NotFound(CoffretError):
    code = "not_found"
    title = "No such resource"


class Conflict(CoffretError):
    """The resource's state does not allow it now. `retry_after` in seconds when waiting helps."""

    code = "conflict"
    title = "The resource's state does not allow this"

    def __init__(self, detail: str, *, retry_after: int | None = None, **extra: Any) -> None:
        super().__init__(detail, **extra)
        self.retry_after = retry_after


class InUse(Conflict):
    """Waiting helps when what uses it is to be deleted, too."""

    code = "in_use"
    title = "Something else still uses the resource"

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail, retry_after=2, **extra)


class Protected(Conflict):
    code = "deletion_protected"
    title = "The resource is protected from deletion"


class PreconditionFailed(CoffretError):
    code = "precondition_failed"
    title = "The precondition does not hold"


class Unauthenticated(CoffretError):
    code = "unauthenticated"
    title = "No valid token"


class Forbidden(CoffretError):
    code = "forbidden"
    title = "The role does not allow this"


class IdentityUnavailable(CoffretError):
    """Keystone cannot be asked who the caller is. `retry_after` in seconds."""

    code = "identity_unavailable"
    title = "Keystone cannot be asked"
    retry_after = 5


class StateUnavailable(CoffretError):
    """The state database cannot serve just now. `retry_after` in seconds."""

    code = "state_unavailable"
    title = "The state database cannot be reached"
    retry_after = 2


class QuotaExceeded(CoffretError):
    code = "quota_exceeded"
    title = "The quota of the project does not allow this"


class RateLimited(CoffretError):
    """Too many requests. `retry_after` in seconds: when the next one may be sent."""

    code = "rate_limited"
    title = "Too many requests"

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class IdempotencyMismatch(CoffretError):
    code = "idempotency_key_reused"
    title = "The Idempotency-Key was used for another request"


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean …?` with the nearest known name, upper and lower case alike, or nothing."""
    if len(name) > LONGEST_GUESS:
        return ""
    by_letters = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(name.casefold(), by_letters, n=1)
    return f" Did you mean {by_letters[close[0]]!r}?" if close else ""
