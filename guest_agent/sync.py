"""Keeping the control plane told, and the agent instructed.

Two threads share one report. The listener's sync is parked by the control plane until something new
is wanted. News on this side (the engine died, drift was repaired) must not wait for that, so while
the listener is parked, the herald sends it in a sync of its own that does not park. A parked
request cannot be taken back safely; a second one can be sent, since no sync depends on another.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from guest_agent import logs, settings
from guest_agent.backoff import Backoff
from guest_agent.client import Answer, Client, ControlPlaneError, GoneError, UnauthorizedError
from guest_agent.protocol import Report
from guest_agent.settings import Settings, SettingsError
from guest_agent.state import StateFile

_PARK_SECONDS = 25.0
_CONVERGE_SECONDS = 0.5
"""How long the listener lets a new directive be worked through before it syncs again."""
_FAREWELL_SECONDS = 2.0

log = logging.getLogger(__name__)


class Sync:
    def __init__(
        self,
        home: Path,
        known: Settings,
        state: StateFile,
        *,
        on_directive: Callable[[], None],
        on_gone: Callable[[], None],
    ) -> None:
        self._home = home
        self._known = known
        self._state = state
        self._on_directive = on_directive
        self._on_gone = on_gone
        self._changed = threading.Condition()
        self._report: Report | None = None
        self._revision = 0
        self._sent = 0
        self._parked = False
        self._repairs: list[str] = []
        self._run = uuid.uuid4().hex
        self._sequence = 0
        self._answered = 0
        """Sequence of the newest sync whose answer was taken."""

    def start(self) -> None:
        """The threads end with the process."""
        for loop in (self._listen, self._herald):
            threading.Thread(target=loop, name=loop.__name__, daemon=True).start()

    def tell(self, report: Report) -> None:
        """Take over the newest report; it is sent at once if it has anything new."""
        with self._changed:
            if report["repairs"] or _news(report) != _news(self._report):
                self._revision += 1
            self._repairs += report["repairs"]
            self._report = report
            self._changed.notify_all()

    def farewell(self) -> None:
        """Send what was told last, if that goes quickly."""
        try:
            if self._state.now.secret:
                self._exchange(self._client(), wait=0, timeout=_FAREWELL_SECONDS)
        except (ControlPlaneError, GoneError) as error:
            log.info("the last report did not get through: %s", error)

    def _listen(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._report is not None)
        client = self._client()
        backoff = Backoff(0.5, 30)
        refused = False
        while True:
            try:
                if refused or self._state.now.secret is None:
                    refused = False
                    self._register(client)
                pause = self._exchange(client, wait=_PARK_SECONDS)
                backoff.reset()
            except GoneError:
                return self._on_gone()
            except Exception as error:
                if isinstance(error, UnauthorizedError):
                    refused = self._bootstrap_token() is not None
                self._rest(backoff, error)
            else:
                with self._changed:
                    self._changed.wait_for(lambda: self._revision > self._sent, timeout=pause)

    def _herald(self) -> None:
        client = self._client()
        backoff = Backoff(0.5, 30)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._parked and self._revision > self._sent)
            try:
                self._exchange(client, wait=0)
                backoff.reset()
            except GoneError:
                return self._on_gone()
            except Exception as error:
                self._rest(backoff, error)

    def _exchange(self, client: Client, wait: float, timeout: float = 15) -> float:
        """One sync. Returns the seconds to pause before the next."""
        held = self._state.now
        secret = held.next_secret or held.secret
        if secret is None:
            raise UnauthorizedError("this agent is not registered")
        with self._changed:
            if self._report is None:
                raise ControlPlaneError("there is nothing to report yet")
            repairs, self._repairs = self._repairs, []
            self._sequence += 1
            report: Report = {
                **self._report,
                "run": self._run,
                "sequence": self._sequence,
                "etag": self._etag(),
                "repairs": repairs,
                "wait": wait,
            }
            before, self._sent = self._sent, self._revision
            self._parked = self._parked or wait > 0
        began = time.monotonic()
        got_through = False
        try:
            answer = client.sync(secret, report, timeout)
            got_through = True
        except UnauthorizedError as error:
            if self._has_another(secret):
                raise ControlPlaneError(f"{error}; going on with another secret") from error
            raise
        finally:
            with self._changed:
                self._parked = self._parked and wait == 0
                if not got_through:
                    self._sent = before
                    self._repairs = repairs + self._repairs
                self._changed.notify_all()
        self._settle_secrets(secret, answer.secret)
        if self._take(answer, report["sequence"]):
            return max(answer.pause, _CONVERGE_SECONDS)
        if time.monotonic() - began < 1:
            return max(answer.pause, 1.0)  # not parked: never in a tight circle
        return answer.pause

    def _settle_secrets(self, used: str, new: str | None) -> None:
        """The secret `used` was taken by the control plane, which may have sent a new one.

        The other thread may have used a newer one meanwhile: what it has noted stays.
        """
        with self._changed:
            if used == self._state.now.next_secret:
                self._state.update(secret=used, next_secret=None)
                log.info("the control plane has taken the new secret")
            if new is not None and not self._state.update(next_secret=new):
                self._state.update(next_secret=None)  # once used, it must be there after a crash, too

    def _has_another(self, refused: str) -> bool:
        """Whether there is another secret than the one that was refused; a new one is given up."""
        with self._changed:
            if refused == self._state.now.next_secret:
                self._state.update(next_secret=None)
                return self._state.now.secret is not None
            return refused != self._state.now.secret

    def _take(self, answer: Answer, sequence: int) -> bool:
        """Keep the directive that answered a sync, if there is one and it is new.

        The answer to an older sync than the one answered last may be older too, and must not undo
        what the newer one asked for; the next sync tells.
        """
        directive = answer.directive
        if directive is None:
            return False
        with self._changed:
            if sequence < self._answered or directive["etag"] == self._etag():
                return False
            self._answered = sequence
            self._state.update(directive=directive)
        with logs.done_for(directive.get("request_id")):
            log.info(
                "new directive, generation %s, in the answer to %s",
                directive["generation"],
                answer.request_id,
            )
        self._on_directive()
        return True

    def _etag(self) -> str | None:
        directive = self._state.now.directive
        return directive["etag"] if directive else None

    def _register(self, client: Client) -> None:
        token = self._bootstrap_token()
        if token is None:
            raise UnauthorizedError("agent.json holds no bootstrap token")
        try:
            secret = client.register(token)
        except UnauthorizedError as error:
            raise UnauthorizedError(
                f"{error}; the bootstrap token is used up or too old: "
                "the control plane must put a new one into agent.json"
            ) from error
        self._state.update(secret=secret, next_secret=None)
        log.info("registered")
        try:
            settings.forget_token(self._home, token)
        except (OSError, ValueError) as error:
            log.warning("the used bootstrap token stays in agent.json: %s", error)

    def _bootstrap_token(self) -> str | None:
        """As agent.json says now: the control plane may have put a new one there."""
        try:
            return settings.read(self._home).bootstrap_token
        except SettingsError as error:
            log.warning("%s", error)
            return None

    def _rest(self, backoff: Backoff, error: Exception) -> None:
        """Wait after a failure. Whatever it was, a thread that ended would leave the agent deaf."""
        pause = backoff.next()
        if isinstance(error, ControlPlaneError):
            pause = max(pause, error.retry_after)
            log.warning("%s; trying again in %.1f s", error, pause)
        else:
            log.error("sync broke off; trying again in %.1f s", pause, exc_info=error)
        time.sleep(pause)

    def _client(self) -> Client:
        known = self._known
        return Client(known.url, Path(known.ca) if known.ca else None, known.instance_id)


def _news(report: Report | None) -> dict[str, object] | None:
    """The part of a report that must not wait; how full the volume is can."""
    if report is None:
        return None
    return {**report, "volume_used": 0, "repairs": []}
