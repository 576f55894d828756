"""The gate: how many syncs are worked on at once, however many agents there are."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

PASSING = 16
"""Each with a connection to the state database at most."""
WAITING = 4000
"""Some seconds' work: who comes then is told to come again, up to a minute later, rather than to wait."""


class Crowded(Exception):
    """There are more syncs waiting than are soon done."""


class Gate:
    """Past it a sync uses the state database; parked syncs are outside."""

    def __init__(self, passing: int = PASSING, waiting: int = WAITING) -> None:
        self._free = threading.Semaphore(passing)
        self._room = threading.Semaphore(passing + waiting)

    @contextmanager
    def entry(self) -> Iterator[None]:
        """For a sync that has just come. Raises Crowded."""
        if not self._room.acquire(blocking=False):
            raise Crowded
        try:
            with self._free:
                yield
        finally:
            self._room.release()

    @contextmanager
    def passage(self) -> Iterator[None]:
        """For a sync that has entered before: it waits as long as it takes."""
        with self._free:
            yield
