"""The lookout: tells those parked in this process of what other processes have written."""

import itertools
import logging
import time

from flask import Flask
from sqlalchemy import select

from control_plane.database import read
from control_plane.instances.models import Instance
from control_plane.work import touches
from control_plane.work.beside import Beside
from control_plane.work.changes import Changes

LOOK_SECONDS = 0.5
LATE_SECONDS = 5.0
"""A commit that comes later than this after its touch is found by the full look only."""
FULL_SECONDS = 10.0
_AT_ONCE = 500
"""Ids in one query."""
_TABLE = Instance.__table__.c

log = logging.getLogger(__name__)


class Lookout(Beside):
    """A thread that asks what was touched, once for all who are parked, and not while nobody is."""

    def __init__(self, app: Flask, changes: Changes) -> None:
        super().__init__("lookout")
        self._app = app
        self._changes = changes
        self._looked = self._looked_at_all = time.monotonic()
        self._seen: set[int] = set()
        """Touches of the last look, which the next one finds again."""
        self._known: set[tuple[str, int]] = set()
        """Instances of the last full look, with their revisions."""
        self._blind = False

    def _work(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                with self._app.app_context():
                    self.look()
                self._blind = False
            except Exception as error:
                if not self._blind:
                    log.warning("those who are parked cannot be told of changes for now: %s", error)
                self._blind = True

    def look(self) -> None:
        """Announce what was touched since the last look, or some time before."""
        began = time.monotonic()
        if awaited := self._changes.awaited:
            found = touches.within(began - self._looked + LATE_SECONDS)
            self._changes.announce(*{item.instance_id for item in found if item.id not in self._seen})
            self._seen = {item.id for item in found}
            if began - self._looked_at_all >= FULL_SECONDS:
                self._look_at_all(awaited)
                self._looked_at_all = began
        self._looked = began

    def _look_at_all(self, awaited: list[str]) -> None:
        """Announce what has changed since the last full look, whoever wrote it, and what is gone."""
        found: set[tuple[str, int]] = set()
        ids = iter(awaited)
        while some := list(itertools.islice(ids, _AT_ONCE)):
            heads = read(select(_TABLE.id, _TABLE.revision).where(_TABLE.id.in_(some)))
            found |= {(head.id, head.revision) for head in heads}
        there = {instance_id for instance_id, _ in found}
        changed = {instance_id for instance_id, _ in found - self._known}
        self._changes.announce(*changed, *(set(awaited) - there))
        self._known = found
