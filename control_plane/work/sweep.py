"""The sweep: finds what is due though nobody asks, and agents that have fallen silent."""

import logging
import random
import threading
import time
from datetime import timedelta

from flask import Flask
from sqlalchemy import or_, select

from control_plane import work
from control_plane.agents.credentials import BOOTSTRAP_LIFETIME
from control_plane.agents.models import Agent
from control_plane.clouds import Cloud, CloudError
from control_plane.database import db, locked, now, transaction
from control_plane.instances.models import Instance
from control_plane.instances.status import summarise
from control_plane.users.service import drop_expired
from control_plane.work import survey
from control_plane.work.clock import epoch

SILENT = timedelta(seconds=60)
"""An agent not heard of for so long is lost."""
FIRST_WORD = timedelta(minutes=5)
"""Likewise one that never registered, so long after it got its bootstrap token: a server boots first."""

log = logging.getLogger(__name__)


class Sweep:
    """A thread that sweeps every `seconds`, each time somewhat earlier or later."""

    def __init__(self, app: Flask, cloud: Cloud, runner: work.Runner, seconds: float) -> None:
        self._app = app
        self._cloud = cloud
        self._runner = runner
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="sweep", daemon=True)
        self._began = time.monotonic()
        self._surveyed = self._began
        self._known: set[str] = set()
        """What surveys said last; said once."""

    def start(self) -> None:
        self._thread.start()

    def stop(self, patience: float = 5) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(patience)

    def _work(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            try:
                with self._app.app_context():
                    request_due(self._runner)
                    drop_expired()
                    if time.monotonic() - self._began > SILENT.total_seconds():
                        notice_silence()  # not before: nobody could be heard while nobody listened
                    if time.monotonic() - self._surveyed > self._cloud.survey_seconds:
                        self._surveyed = time.monotonic()
                        self._survey()
            except Exception:
                log.exception("a sweep broke off; the next one follows")
            pause = self._seconds * random.uniform(0.8, 1.2)  # noqa: S311 - jitter

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
    """Hand the runner every instance that is due and nobody's. Returns how many."""
    free = or_(Instance.lease_expires.is_(None), Instance.lease_expires < epoch())
    due = db.session.scalars(select(Instance.id).where(Instance.next_reconcile_at <= epoch(), free)).all()
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
                Agent.last_seen_at < now() - SILENT,
                Agent.secret_hash.is_(None)
                & (Agent.bootstrap_expires_at < now() + BOOTSTRAP_LIFETIME - FIRST_WORD),
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
