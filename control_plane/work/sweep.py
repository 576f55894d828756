"""The sweep: finds what is due though nobody asks, and agents that have fallen silent."""

import logging
import random
import time

from flask import Flask
from sqlalchemy import or_, select, update

from control_plane import work
from control_plane.agents.credentials import BOOTSTRAP_LIFETIME
from control_plane.agents.models import Agent
from control_plane.clouds import Cloud, CloudError
from control_plane.database import db, locked, transaction
from control_plane.events import service as events
from control_plane.instances.models import Instance
from control_plane.instances.status import summarise
from control_plane.users.service import drop_expired
from control_plane.work import survey, touches, turns
from control_plane.work.beside import Beside
from control_plane.work.clock import epoch, moment
from control_plane.work.lease import free, void_ended

SILENT = 60.0
"""Seconds. An agent not heard of for so long is lost."""
FORGET_EVERY = 600.0
"""Seconds between two looks for events that are too old."""
FIRST_WORD = 300.0
"""Likewise one that never registered, so long after it got its bootstrap token: a server boots first."""

TURN = "sweep"
_AT_ONCE = 1000
"""Instances handed over in one sweep, those that are due for longest first."""
_LOST = 30.0
"""Seconds after which an instance that was handed over and not taken up is handed over again."""

log = logging.getLogger(__name__)


class Sweep(Beside):
    """A thread that sweeps every `seconds`, in turns with those of other processes."""

    def __init__(self, app: Flask, cloud: Cloud, runner: work.Runner, seconds: float) -> None:
        super().__init__("sweep")
        self._app = app
        self._cloud = cloud
        self._runner = runner
        self._seconds = seconds
        self._began = time.monotonic()
        self._known: set[str] = set()
        """What surveys said last; said once."""

    def _work(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            pause = self._seconds
            try:
                with self._app.app_context():
                    void_ended()
                    if (left := turns.claim(TURN, self._seconds)) > 0:
                        pause = min(left, self._seconds)
                    else:
                        self.sweep()
            except Exception:
                log.exception("a sweep broke off; the next one follows")
            pause += random.uniform(0, 0.05) * self._seconds  # noqa: S311 - not all at the same moment

    def sweep(self) -> None:
        """Once, in an app context; some of it only when its own turn has come."""
        request_due(self._runner)
        touches.prune()
        drop_expired()
        if turns.claim("forgetting events", FORGET_EVERY) == 0:
            events.forget(self._app.extensions["coffret_settings"].events_days)
        if time.monotonic() - self._began > SILENT:
            notice_silence()  # not before: nobody could be heard while nobody listened
        if turns.claim("survey", self._cloud.survey_seconds) == 0:
            self._survey()

    def _survey(self) -> None:
        try:
            found = survey.take(self._cloud)
        except CloudError as error:
            log.warning("the cloud cannot be surveyed: %s", error)
            return
        for sentence in set(found.sentences) - self._known:
            log.warning("%s", sentence)
        self._known = set(found.sentences)
        survey.look_after(found)


def request_due(runner: work.Runner) -> int:
    """Hand the runner what is due, nobody's, and not handed over already. Returns how many instances."""
    known = or_(Instance.handed_over_at.is_(None), Instance.handed_over_at < epoch() - _LOST)
    waiting = (Instance.next_reconcile_at <= epoch(), free(), known)
    query = select(Instance.id).where(*waiting).order_by(Instance.next_reconcile_at).limit(_AT_ONCE)
    due = db.session.scalars(query).all()
    if not due:
        return 0
    with transaction() as session:  # first: whoever takes one up at once takes the mark off
        session.execute(
            update(Instance).where(Instance.id.in_(due), *waiting).values(handed_over_at=epoch()),
            execution_options={"synchronize_session": False},
        )
    for instance_id in due:
        runner.request(instance_id)
    return len(due)


def notice_silence() -> int:
    """Say on each instance whose agent is lost that it is, and look at it. Returns how many."""
    lost = (
        select(Instance)
        .join(Agent, Agent.instance_id == Instance.id)
        .where(
            or_(
                Agent.last_seen_at < moment(-SILENT),
                Agent.secret_hash.is_(None)
                & (Agent.bootstrap_expires_at < moment(BOOTSTRAP_LIFETIME - FIRST_WORD)),
            ),
            Instance.agent_lost.is_(False),
            Instance.deleting.is_(False),
        )
    )
    if db.session.scalar(lost.with_only_columns(Instance.id).limit(1)) is None:
        return 0
    with transaction() as session:
        rows = session.scalars(locked(lost.order_by(Instance.name))).all()
        for instance in rows:
            instance.agent_lost = True
            summarise(instance)
            work.request(instance.id)
    return len(rows)
