"""The cloud's errors in the words of base.py: what it said, and what that means here."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from keystoneauth1 import exceptions as keystone
from openstack import exceptions as sdk

from control_plane.clouds.base import CloudError, CloudRefusal

P = ParamSpec("P")
R = TypeVar("R")
LONGEST = 500
"""Letters of what the cloud says that are passed on."""
_ENCODED = re.compile(r"[A-Za-z0-9+/=_-]{64,}")
"""What may be a token or user-data: names and ids are shorter."""
_ADDRESS = re.compile(r"https?://[^\s/:'\"]+(?::\d+)?")
_BUSY = re.compile(r"Invalid volume:|status must", re.IGNORECASE)
"""A 400 that speaks of what an object is at the moment (Cinder says so of most), not of what was asked."""


def reason(service: str, error: BaseException) -> str:
    """What the cloud said, as a sentence that names who said it; without anything secret."""
    if isinstance(error, sdk.HttpException):
        return f"{service} says: {sentence(error.details or error.message)}"
    if isinstance(error, keystone.HttpError):  # openstacksdk raises its own for all but logging in
        return f"Keystone says: {sentence(error.message)}"
    if isinstance(error, keystone.ConnectionError):
        address = _ADDRESS.search(str(error))
        where = f" at {address.group()}" if address else ""
        what = (
            "did not answer in time" if isinstance(error, keystone.ConnectTimeout) else "cannot be reached"
        )
        return f"{service} {what}{where}."
    return f"{service} cannot be asked: {sentence(str(error))}"


def translated(service: str, error: BaseException) -> CloudError | CloudRefusal:
    """The error as one that passes, or as one that stays until something else is asked for."""
    said = reason(service, error)
    status = getattr(error, "http_status", None) or getattr(error, "status_code", None)
    if isinstance(error, sdk.HttpException) and status == 400 and not _BUSY.search(said):
        return CloudRefusal(said)
    if is_quota(error):
        return CloudError(f"{said} It is tried again until there is room.")
    if status == 401:
        return CloudError(f"{said} It is Coffret's own account on the cloud that was not let in.")
    if status == 403:
        return CloudError(f"{said} It is Coffret's own account on the cloud that lacks a role.")
    return CloudError(said)


def is_quota(error: BaseException) -> bool:
    """Nova answers 403 when a quota is used up, Cinder 413, Neutron 409."""
    status = getattr(error, "status_code", None)
    return status == 413 or (status in (403, 409) and "quota" in reason("", error).lower())


@contextmanager
def asking(service: str) -> Iterator[None]:
    """Raises CloudError or CloudRefusal for what the service, or the way to it, raises inside."""
    try:
        yield
    except (sdk.SDKException, keystone.ClientException) as error:
        raise translated(service, error) from error


def asks(service: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The same, for all of a function."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def asked(*args: P.args, **kwargs: P.kwargs) -> R:
            with asking(service):
                return function(*args, **kwargs)

        return asked

    return decorate


def sentence(text: str) -> str:
    """What the cloud said, as one sentence of bounded length without anything secret."""
    text = _ENCODED.sub("…", " ".join(text.split()))
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}…"
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
