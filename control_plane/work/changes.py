"""Waking those who wait for an instance to change, within a process; across processes they look again."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Changes:
    """A bulletin board: writers announce instance ids, waiters look again when theirs is named."""

    def __init__(self, limit: int, look_again: float) -> None:
        """`limit`: how many of a kind may be parked; `look_again`: see `wait`."""
        self._limit = limit
        self._look_again = look_again
        self._condition = threading.Condition()
        self._announced: Counter[str] = Counter()
        self._parked: Counter[str] = Counter()
        self._closed = False

    def close(self) -> None:
        """Let all waiters go and park nobody more: the process ends."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def announce(self, instance_id: str) -> None:
        with self._condition:
            self._announced[instance_id] += 1
            self._condition.notify_all()

    @contextmanager
    def place(self, kind: str) -> Iterator[bool]:
        """Whether there is room to park one more request of this kind, and hold it meanwhile."""
        with self._condition:
            room = self._parked[kind] < self._limit and not self._closed
            if room:
                self._parked[kind] += 1
        try:
            yield room
        finally:
            if room:
                with self._condition:
                    self._parked[kind] -= 1

    def wait(self, instance_id: str, timeout: float, look: Callable[[], T | None]) -> T | None:
        """Call `look` now and at each change until it returns something or `timeout` s have passed.

        It is also called every `look_again` seconds: another process may have written.
        """
        deadline = time.monotonic() + timeout
        while True:
            with self._condition:
                seen = self._announced[instance_id]
            if (found := look()) is not None:
                return found
            left = deadline - time.monotonic()
            if left <= 0 or self._closed:
                return None
            with self._condition:
                self._condition.wait_for(
                    lambda: self._closed or self._announced[instance_id] != seen,  # noqa: B023
                    min(left, self._look_again),
                )
