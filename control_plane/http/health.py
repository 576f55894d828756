"""/healthz: the process answers. /readyz: it can do its work, and is not about to end."""

import logging
import threading
import time
from collections.abc import Callable

from flask import Blueprint, Flask, current_app
from sqlalchemy import text

from control_plane.clouds import Cloud
from control_plane.database import db

PATIENCE = 2.0
"""Seconds for an answer to /readyz, however long it takes to learn something."""
KEPT = 2.0
"""Seconds for which what was learned is told to all who ask."""
OK = "ok"

log = logging.getLogger(__name__)
blueprint = Blueprint("health", __name__)


class Probe:
    """Asks whether something that the process depends on answers. It is asked by one thread at a time."""

    def __init__(self, name: str, ask: Callable[[], object], *, needed: bool) -> None:
        """`ask` raises what is wrong. `needed`: without it, the process is not ready."""
        self.name = name
        self.needed = needed
        self._ask = ask
        self._changed = threading.Condition()
        self._asking = False
        self._said = OK
        self._said_at = float("-inf")

    def look(self) -> str:
        """`ok`, or what is wrong in a word that tells strangers nothing."""
        with self._changed:
            if time.monotonic() - self._said_at < KEPT:
                return self._said
            if not self._asking:
                self._asking = True
                threading.Thread(target=self._learn, name=f"probe-{self.name}", daemon=True).start()
            if self._changed.wait_for(lambda: not self._asking, PATIENCE):
                return self._said
            return f"no answer within {PATIENCE:.0f} s"

    def _learn(self) -> None:
        said = OK
        try:
            self._ask()
        except Exception as error:
            said = type(error).__name__
            if said != self._said:
                log.warning("the %s does not answer as it should: %s", self.name, error)
        with self._changed:
            self._said, self._said_at = said, time.monotonic()
            self._asking = False
            self._changed.notify_all()


class Health:
    """What /readyz tells of a process."""

    def __init__(self, *probes: Probe) -> None:
        self._probes = probes
        self.ending = threading.Event()
        """Set once the process was told to end: no more requests should be sent to it."""

    def need(self, name: str) -> None:
        """The process is not ready without this, though others like it are."""
        for probe in self._probes:
            probe.needed = probe.needed or probe.name == name

    def look(self) -> tuple[dict[str, str], int]:
        """The body and the status of an answer."""
        said = {probe.name: probe.look() for probe in self._probes}
        if self.ending.is_set():
            return {"status": "ending"} | said, 503
        if any(probe.needed and said[probe.name] != OK for probe in self._probes):
            return {"status": "unready"} | said, 503
        return {"status": OK} | said, 200


def database(app: Flask) -> Probe:
    def ask() -> None:
        with app.app_context(), db.engine.connect() as connection:
            connection.execute(text("SELECT 1 FROM instances LIMIT 1"))

    return Probe("database", ask, needed=True)


def cloud(asked: Cloud) -> Probe:
    """Without it, all can be read and much written; and where it is away, it is so for every process."""
    return Probe("cloud", asked.flavors.flavors, needed=False)


def broker(check: Callable[[], None]) -> Probe:
    """What is asked for meanwhile is kept in the state database."""
    return Probe("broker", check, needed=False)


@blueprint.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": OK}


@blueprint.get("/readyz")
def readyz() -> tuple[dict[str, str], int]:
    health: Health = current_app.extensions["coffret_health"]
    return health.look()
