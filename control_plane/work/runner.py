"""The in-process runner: a few threads that reconcile instances when they are due."""

import heapq
import logging
import random
import threading
import time

from flask import Flask

from control_plane.clouds import Cloud
from control_plane.database import repeated
from control_plane.events import service as events
from control_plane.instances.reconcile import Look, reconcile
from control_plane.work.lease import Lease, LeaseLost, acquire

LONGEST_BACKOFF = 60.0
"""Seconds."""

log = logging.getLogger(__name__)


class Runner:
    """A request made while the instance is being reconciled is remembered and run after.

    What is requested before `start` waits for it.
    """

    def __init__(self, app: Flask, cloud: Cloud, threads: int) -> None:
        self._app = app
        self._cloud = cloud
        self._changed = threading.Condition()
        self._heap: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}
        """Instance id -> when, by the monotonic clock; heap entries that differ are stale."""
        self._running: set[str] = set()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"runner-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, patience: float = 10) -> None:
        """Take up nothing new; wait at most `patience` seconds for what is under way.

        What does not end in time dies with the process; its lease expires.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        deadline = time.monotonic() + patience
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def request(self, instance_id: str, delay: float = 0) -> None:
        """Reconcile the instance in `delay` seconds, or earlier if that was asked for already."""
        due = time.monotonic() + delay
        with self._changed:
            if self._due.get(instance_id, due + 1) <= due:
                return
            self._due[instance_id] = due
            heapq.heappush(self._heap, (due, instance_id))
            self._changed.notify()

    def _work(self) -> None:
        while (instance_id := self._take()) is not None:
            try:
                again = self._run(instance_id)
            except Exception:
                log.exception("the work on instance %s broke off", instance_id)
                again = random.uniform(5, 15)  # noqa: S311 - jitter
            with self._changed:
                self._running.discard(instance_id)
                self._changed.notify_all()
            if again is not None:
                self.request(instance_id, again)

    def _take(self) -> str | None:
        """Wait for an instance to be due and take it; None when stopping."""
        with self._changed:
            while not self._stopping:
                due, instance_id = self._next()
                wait = None if due is None else due - time.monotonic()
                if instance_id is None or (wait is not None and wait > 0):
                    self._changed.wait(wait)
                    continue
                self._running.add(instance_id)
                del self._due[instance_id]
                return instance_id
            return None

    def _next(self) -> tuple[float | None, str | None]:
        """The earliest entry that is nobody's at the moment, left in place."""
        busy = []
        found: tuple[float | None, str | None] = (None, None)
        while self._heap:
            due, instance_id = self._heap[0]
            if self._due.get(instance_id) != due:
                heapq.heappop(self._heap)
            elif instance_id in self._running:
                busy.append(heapq.heappop(self._heap))
            else:
                found = due, instance_id
                break
        for entry in busy:
            heapq.heappush(self._heap, entry)
        return found

    def _run(self, instance_id: str) -> float | None:
        """One reconcile under the lease. Returns the seconds after which to run again, if known."""
        with self._app.app_context():
            lease = repeated(acquire)(instance_id)
            if lease is None:
                return None  # gone, or its holder sees at release that it was asked for
            try:
                look = self._look(lease)
                if look.gone:
                    log.info("%s", look.sentence)
                    return None
                return repeated(_finish)(lease, look)
            except LeaseLost as lost:
                log.info("%s", lost)
                return None

    def _look(self, lease: Lease) -> Look:
        try:
            return repeated(reconcile)(lease.instance_id, self._cloud, lease)
        except LeaseLost:
            raise
        except Exception as error:
            log.exception("reconcile of instance %s broke off", lease.instance_id)
            return Look(
                f"the control plane failed: {type(error).__name__}; its log says more",
                failed=True,
            )


def _finish(lease: Lease, look: Look) -> float | None:
    """Note what was done and give the lease back. Returns the seconds after which to run again."""
    with lease.fenced() as instance:
        if not look.pending:
            instance.attempts = instance.attempts + 1 if look.failed else 0
        again = backoff(instance.attempts) if look.failed else look.again
        if instance.sentence != look.sentence:
            log.log(logging.WARNING if look.failed else logging.INFO, "%s", look.sentence)
            instance.sentence = look.sentence
            events.record("failure" if look.failed else "progress", look.sentence, instance)
        return 0 if lease.release(instance, again) else again


def backoff(attempts: int) -> float:
    """Seconds to wait after so many failures in a row: 1, 2, 4 … 60, a quarter up or down."""
    return min(LONGEST_BACKOFF, 2.0 ** min(attempts - 1, 16)) * random.uniform(0.75, 1.25)  # noqa: S311
