"""When instances are run: a few threads that take each one up when it is due."""

import heapq
import logging
import random
import threading
import time
from collections.abc import Callable

HORIZON = 60.0
"""Seconds. What is due later than that is left to the sweep."""

log = logging.getLogger(__name__)


class Runner:
    """A request made while the instance is being run is remembered and run after.

    What is requested before `start` waits for it.
    """

    def __init__(
        self, run: Callable[[str], float | None], threads: int, close: Callable[[], None] | None = None
    ) -> None:
        """`run` takes an instance's id, and returns the seconds after which to run it again, if known.

        `close` is called once all threads have ended.
        """
        self._run = run
        self._close = close
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

    def stop(self, patience: float = 10) -> bool:
        """Take up nothing new; wait at most `patience` seconds for what is under way.

        Returns whether it ended in time. If not, it dies with the process, and so should its lease.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        deadline = time.monotonic() + patience
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        ended = not any(thread.is_alive() for thread in self._threads)
        if ended and self._close is not None:
            self._close()
        return ended

    def request(self, instance_id: str, delay: float = 0) -> None:
        """Run the instance in `delay` seconds, or earlier if that was asked for already."""
        if delay > HORIZON:
            return
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
