"""Tokens of Keystone, checked as keystonemiddleware does it, with the credentials of OS_CLOUD.

https://docs.openstack.org/keystonemiddleware/latest/middlewarearchitecture.html
"""

import hashlib
import logging
import os
import re
import threading
import time
from importlib.metadata import version
from typing import Any

from keystoneauth1 import exceptions
from keystoneauth1.access import AccessInfo
from keystoneauth1.adapter import Adapter
from keystoneauth1.identity.base import BaseIdentityPlugin
from keystonemiddleware.auth_token import BaseAuthProtocol, InvalidToken
from openstack.config import OpenStackConfig
from openstack.config.cloud_region import CloudRegion
from openstack.exceptions import ConfigException

from control_plane.auth.context import RequestContext
from control_plane.errors import Forbidden, IdentityUnavailable, Unauthenticated
from control_plane.settings import SettingsError

SERVICE_TYPE = "database"
"""Coffret's in the catalogue, and in the access rules of application credentials."""
CACHE_SECONDS = 30.0
"""How long a revoked token may go on in a process that has just seen it."""
TIMEOUT_SECONDS = 10
"""How long Keystone may take for an answer, unless clouds.yaml has an api_timeout."""
_ASKED_AT_ONCE = 8
"""So that a Keystone that hangs does not hold all threads, which agents need as well."""
_TURN_SECONDS = 1.0
_AWAY_SECONDS = 1.0
"""How long nobody asks Keystone again after it did not answer."""
_AWAY = "Keystone cannot be asked who you are; try again."
_MOST_CACHED = 2_000
_CHECKERS = {"admin", "service"}
"""Roles that Keystone lets check others' tokens, unless its policy says otherwise."""
_NO_ANSWER = (
    exceptions.HttpServerError,
    exceptions.ConnectionError,
    exceptions.RetriableConnectionFailure,
)
_Request = BaseAuthProtocol.__call__.RequestClass
"""What the middleware makes of a WSGI environment."""

log = logging.getLogger(__name__)


def open_region() -> CloudRegion:
    """The cloud that OS_CLOUD or OS_* variables name; raises SettingsError for one not described well."""
    try:
        region = OpenStackConfig(app_name="coffret", app_version=version("coffret")).get_one()
        session = region.get_session()
    except (ConfigException, exceptions.ClientException, OSError) as error:
        raise SettingsError(
            f"{cloud_name()} does not describe a cloud that can be used: {_sentence(error)}"
            " clouds.yaml or OS_* variables must say auth_url and an account with a project."
        ) from error
    if session.timeout is None:
        session.timeout = TIMEOUT_SECONDS
    return region


def cloud_name() -> str:
    """What the environment says about which cloud it is."""
    return f"OS_CLOUD={os.environ.get('OS_CLOUD', '')!r}"


def _sentence(error: Exception) -> str:
    return f"{str(error).rstrip('.')}."


def log_in(region: CloudRegion) -> AccessInfo:
    """Who we are. Raises SettingsError when Keystone refuses us, IdentityUnavailable without an answer."""
    session = region.get_session()
    if not isinstance(session.auth, BaseIdentityPlugin):
        raise SettingsError(
            f"{cloud_name()} has the auth_type {region.config['auth_type']!r}, which does not log in to"
            " Keystone; password and v3applicationcredential do."
        )
    try:
        access = session.auth.get_access(session)
    except _NO_ANSWER as error:
        raise IdentityUnavailable(f"Keystone does not answer: {_sentence(error)}") from error
    except exceptions.ClientException as error:
        raise SettingsError(
            f"Keystone refuses the account that {cloud_name()} names: {_sentence(error)} See that its"
            " auth_url, name, password or application credential, domain and project in clouds.yaml are"
            " right."
        ) from error
    if access.project_id is None:
        raise SettingsError(f"The account that {cloud_name()} names has no project: give it project_name.")
    return access


class Keystone(BaseAuthProtocol):  # type: ignore[misc]
    """Who has a token, by Keystone's word. One for each process: connections do not survive a fork.

    The middleware's own AuthProtocol wants a configuration, passwords included, of its own and says
    "invalid" when Keystone cannot be asked; its base leaves asking to us and does the rest: expiry,
    bound tokens, service tokens and access rules.
    """

    def __init__(self) -> None:
        """Raises SettingsError for a cloud that is not described well. Asks nothing yet."""
        super().__init__(
            None,
            service_token_roles=["service"],
            service_token_roles_required=True,
            service_type=SERVICE_TYPE,
        )
        self._region = open_region()
        self.session = self._region.get_session()
        self.auth_url: str = self._region.config["auth"]["auth_url"]
        self._identity = Adapter(
            self.session,
            service_type="identity",
            interface=self._region.get_interface("identity"),
            region_name=self._region.get_region_name("identity"),
            endpoint_override=self._region.get_endpoint("identity"),
            version="3",
            connect_retries=1,  # a kept connection may just have been closed
            raise_exc=False,
        )
        self._login = threading.Lock()
        self._away_until = 0.0
        self._asking = threading.BoundedSemaphore(_ASKED_AT_ONCE)
        self._cache: dict[str, tuple[float, dict[str, Any]]] = {}

    def check(self) -> None:
        """Log in at the start. Raises SettingsError when Keystone refuses us, not when it is away."""
        try:
            access = log_in(self._region)
        except IdentityUnavailable as error:
            log.warning("%s; until it does, callers with its tokens get 503", error.detail.rstrip("."))
            return
        roles = access.role_names or []
        if _CHECKERS.isdisjoint(roles):
            log.warning(
                "the account %s has the roles %s, with which Keystone usually lets nobody check others'"
                " tokens: give it the role service",
                access.username, ", ".join(roles),
            )  # fmt: skip

    def caller(self, environ: dict[str, Any]) -> RequestContext:
        """Whose token the request's X-Auth-Token is.

        Raises Unauthenticated for one that is not valid, Forbidden for one without a project or whose
        access rules leave this request out, IdentityUnavailable when Keystone cannot be asked.
        """
        request = _Request(environ)
        request.user_token_valid = request.service_token_valid = False  # whatever the client says of itself
        self.process_request(request)
        if not request.user_token_valid:
            raise Unauthenticated(
                "Keystone does not know the token in X-Auth-Token, or it is expired or revoked; get a new"
                f" one from {self.auth_url}."
            )
        if request.service_token and not request.service_token_valid:
            # access rules are not asked for a request that has one, so it must be true
            raise Unauthenticated("X-Service-Token is not the token of a service; leave it out.")
        user: AccessInfo = request.token_auth.user
        if user.project_id is None or user.user_id is None:
            scope = "the system" if user.system_scoped else "a domain" if user.domain_scoped else "nothing"
            raise Forbidden(
                f"The token is scoped to {scope}; what Coffret has belongs to projects. Ask Keystone for a"
                " token of a project, for example with OS_PROJECT_NAME."
            )
        return RequestContext(
            project_id=user.project_id,
            user_id=user.user_id,
            user_name=user.username,
            roles=frozenset(user.role_names or ()),
            keystone_token=request.user_token.strip(),
        )

    def fetch_token(self, token: str, allow_expired: bool = False, **_: Any) -> dict[str, Any]:
        """What Keystone says of a token, or said a moment ago: {"token": …}. Called by the base."""
        if not re.fullmatch(r"[!-~]+", token):
            raise InvalidToken("Tokens have no such letters.")
        key = _digest(token)
        if kept := self._kept(key):
            return kept
        if not self._asking.acquire(timeout=_TURN_SECONDS):
            raise IdentityUnavailable("Keystone is slow to say who callers are; try again.")
        try:
            answer = self._kept(key) or self._ask(token, allow_expired)
        finally:
            self._asking.release()
        if len(self._cache) >= _MOST_CACHED:
            self._cache.clear()
        self._cache[key] = (time.monotonic() + CACHE_SECONDS, answer)
        return answer

    def knows(self, token: str) -> bool:
        """Whether Keystone has said of the token, a moment ago, whose it is."""
        return self._kept(_digest(token.strip())) is not None

    def _kept(self, key: str) -> dict[str, Any] | None:
        until, answer = self._cache.get(key, (0.0, None))
        return answer if time.monotonic() < until else None

    def _ask(self, token: str, allow_expired: bool) -> dict[str, Any]:
        """https://docs.openstack.org/api-ref/identity/v3/#validate-and-show-information-for-token"""
        headers = {"X-Subject-Token": token, "OpenStack-Identity-Access-Rules": "1"}
        query = {"allow_expired": "1"} if allow_expired else {}
        try:
            with self._login:  # one waits for a Keystone that hangs, not one after the other
                if time.monotonic() < self._away_until:
                    raise IdentityUnavailable(_AWAY)
                self.session.get_token()
            answer = self._identity.get("/auth/tokens", headers=headers, params=query)
        except exceptions.ClientException as error:
            self._away_until = time.monotonic() + _AWAY_SECONDS
            log.error("Keystone cannot be asked about a token: %s", error)
            raise IdentityUnavailable(_AWAY) from error
        if answer.status_code == 404:
            raise InvalidToken("Keystone does not know it.")
        if answer.status_code != 200:
            log.error(
                "Keystone answers %s when it is asked about a token%s", answer.status_code,
                " (give our account the role service)" if answer.status_code == 403 else "",
            )  # fmt: skip
            raise IdentityUnavailable(
                f"Keystone answers {answer.status_code} when it is asked who you are; try again."
            )
        said: dict[str, Any] = answer.json()["token"]
        # of the catalogue only this matters here; all of it is kilobytes for each token
        said["catalog"] = [each for each in said.get("catalog", ()) if each["type"] == SERVICE_TYPE]
        return {"token": said}

    def validate_allowed_request(self, request: Any, token: dict[str, Any]) -> None:
        """An application credential's access rules; called by the base."""
        try:
            super().validate_allowed_request(request, token)
        except InvalidToken:
            raise Forbidden(
                f"The access rules of the application credential do not allow {request.method}"
                f" {request.path} of the service type {SERVICE_TYPE!r}, or the service is not in the"
                " catalogue (`coffret keystone register`)."
            ) from None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
