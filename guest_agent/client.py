"""The control plane's agent API over HTTP.

requests makes half of the agent's start, so it is loaded by the thread that speaks to the control plane,
while the first engine is being made.
"""

import uuid
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guest_agent import PROTOCOL
from guest_agent.protocol import SECRET_HEADER, Directive, Report

if TYPE_CHECKING:
    import requests

REQUEST_ID_HEADER = "X-Request-Id"
_CONNECT_TIMEOUT = 5
_ANSWER_TIMEOUT = 15
_DEFAULT_PAUSE = 5.0


class ControlPlaneError(Exception):
    """The control plane did not answer as it should; worth another attempt."""

    def __init__(self, message: str, retry_after: float = 0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnauthorizedError(ControlPlaneError):
    """The bootstrap token or the secret is not valid."""


class GoneError(Exception):
    """The instance is gone for good."""


@dataclass(frozen=True)
class Answer:
    """To a sync."""

    directive: Directive | None
    """None: the one the agent has is current."""
    pause: float
    """Seconds to wait before the next sync."""
    secret: str | None = field(default=None, repr=False)
    """Another one for the syncs to come."""
    request_id: str = ""
    """Of the request that it answers, as the control plane's log has it."""


class Client:
    """One connection to the control plane; one for each thread.

    It does not retry by itself: when to try again, and with what, depends on what is seen by then.
    Its calls raise ControlPlaneError, UnauthorizedError and GoneError.
    """

    def __init__(self, url: str, ca: Path | None, instance_id: str) -> None:
        self._url = url.rstrip("/") + f"/agent/v{PROTOCOL}"
        self._verify: str | bool = str(ca) if ca else True
        self._instance_id = instance_id
        from requests import Session

        self._session = Session()

    def register(self, bootstrap_token: str) -> str:
        """Trade the token for the agent's secret."""
        body = {"instance_id": self._instance_id, "bootstrap_token": bootstrap_token}
        secret = self._body(self._post("register", body, None, _ANSWER_TIMEOUT)).get("secret")
        if not isinstance(secret, str) or not secret:
            raise ControlPlaneError("the answer to register holds no secret")
        return secret

    def sync(self, secret: str, report: Report, timeout: float = _ANSWER_TIMEOUT) -> Answer:
        """Report, and learn what is wanted."""
        response = self._post("sync", report, secret, report["wait"] + timeout)
        pause = _seconds(response.headers.get("Retry-After"), _DEFAULT_PAUSE)
        new_secret = response.headers.get(SECRET_HEADER)
        request_id = response.headers.get(REQUEST_ID_HEADER, "")
        if response.status_code == HTTPStatus.NOT_MODIFIED:
            return Answer(None, pause, new_secret, request_id)
        directive = self._body(response)
        if not isinstance(directive.get("etag"), str) or "engine" not in directive:
            raise ControlPlaneError("the answer to sync is no directive")
        if directive.get("instance_id") != self._instance_id:
            raise ControlPlaneError("the answer to sync is for another instance")
        return Answer(directive, pause, new_secret, request_id)  # type: ignore[arg-type]

    def _post(self, path: str, body: Any, secret: str | None, timeout: float) -> "requests.Response":
        from requests import PreparedRequest, RequestException

        request_id = f"req-{uuid.uuid4()}"

        def authorize(request: PreparedRequest) -> PreparedRequest:
            if secret is not None:
                request.headers["Authorization"] = f"Bearer {self._instance_id}.{secret}"
            return request

        try:
            response = self._session.post(
                f"{self._url}/{path}",
                json=body,
                headers={REQUEST_ID_HEADER: request_id},
                auth=authorize,  # a header alone would lose against ~/.netrc
                verify=self._verify,  # here, since the session's loses against the environment
                allow_redirects=False,
                timeout=(_CONNECT_TIMEOUT, timeout),
            )
        except RequestException as error:
            raise ControlPlaneError(f"cannot reach {self._url}: {_cause(error)}") from error
        if response.status_code in (HTTPStatus.OK, HTTPStatus.NOT_MODIFIED):
            return response
        if response.status_code == HTTPStatus.GONE:
            raise GoneError
        said = f"{self._url}/{path} answered {response.status_code} to {request_id}{_detail(response)}"
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            raise UnauthorizedError(said)
        raise ControlPlaneError(said, _seconds(response.headers.get("Retry-After"), 0))

    @staticmethod
    def _body(response: "requests.Response") -> dict[str, Any]:
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise ControlPlaneError("the answer is no JSON object")
        return body


def _cause(error: BaseException) -> str:
    """The innermost reason: `Connection refused` rather than three layers of wrapping."""
    while (inner := getattr(error, "reason", None) or next(iter(error.args), None)) is not None:
        if not isinstance(inner, BaseException):
            break
        error = inner
    return str(error)


def _detail(response: "requests.Response") -> str:
    """What a problem+json body says, if it is one."""
    try:
        problem = response.json()
        return f": {problem.get('detail') or problem['title']}"
    except (ValueError, KeyError, AttributeError, TypeError):
        return ""


def _seconds(header: str | None, default: float) -> float:
    try:
        return min(max(0.0, float(header or "")), 3600.0)
    except ValueError:
        return default
