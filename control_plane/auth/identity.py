"""Who calls: a token of this control plane, or one of Keystone's where it is asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flask import current_app, request

from control_plane.auth import tokens
from control_plane.auth.context import RequestContext, address
from control_plane.errors import Unauthenticated
from control_plane.settings import Auth, Settings, SettingsError

if TYPE_CHECKING:
    from control_plane.auth.keystone import Keystone
    from control_plane.http.rate_limits import RateLimits

BEARER = "Bearer"


def open_keystone(settings: Settings) -> "Keystone | None":
    """The Keystone to ask, if the settings say so; it is not asked anything yet.

    Raises SettingsError without the libraries for it, and for a cloud that is not described well.
    """
    if settings.auth is Auth.TOKENS:
        return None
    with needs_openstack("COFFRET_AUTH=keystone"):
        from control_plane.auth.keystone import Keystone
    return Keystone()


@contextmanager
def needs_openstack(what: str) -> Iterator[None]:
    """Raises SettingsError where libraries are missing that only the extra `openstack` brings."""
    try:
        yield
    except ImportError as error:
        raise SettingsError(
            f"{what} needs the library {error.name}, which is not installed:"
            " pip install 'coffret[openstack]'."
        ) from error


def caller() -> RequestContext:
    """Who makes the current request.

    Raises Unauthenticated, RateLimited for an address that has failed too often, and what Keystone.caller
    raises.
    """
    try:
        return _caller()
    except Unauthenticated:
        _rate_limits().failed_login(address())
        raise


def _caller() -> RequestContext:
    keystone = _keystone()
    if "X-Auth-Token" not in request.headers:
        try:
            return tokens.caller(request.headers.get("Authorization", ""))
        except Unauthenticated as error:
            if keystone is None:
                raise
            raise Unauthenticated(
                f"{error.detail} A token of Keystone for a project is sent as `X-Auth-Token: <token>`."
            ) from error
    if keystone is None:
        raise Unauthenticated(
            "X-Auth-Token is Keystone's, which this control plane does not ask (COFFRET_AUTH=tokens)."
            f" {tokens.ASK}"
        )
    if "Authorization" in request.headers:
        raise Unauthenticated("The request has both X-Auth-Token and Authorization; send one of them.")
    if not keystone.knows(request.headers["X-Auth-Token"]):
        _rate_limits().ensure_may_log_in(address())  # before Keystone is asked
    return keystone.caller(request.environ)


def challenge() -> str:
    """The WWW-Authenticate header of a 401 (RFC 9110 §11.6.1)."""
    keystone = _keystone()
    return BEARER if keystone is None else f'Keystone uri="{keystone.auth_url}", {BEARER}'


def _rate_limits() -> "RateLimits":
    found: RateLimits = current_app.extensions["coffret_rate_limits"]
    return found


def _keystone() -> "Keystone | None":
    found: Keystone | None = current_app.extensions["coffret_keystone"]
    return found
