"""Waking those who wait for an instance to change, within a process; lookout.py tells of the others."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Place:
    """Where one request is parked."""

    def __init__(self) -> None:
        self._named = threading.Event()
        self._closed = False

    def name(self, *, closing: bool = False) -> None:
        self._closed = self._closed or closing
        self._named.set()

    def wait(self, timeout: float, look: Callable[[], T | None]) -> T | None:
        """Call `look` at each announcement until it returns something or `timeout` s have passed."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0 and self._named.wait(left) and not self._closed:
            self._named.clear()
            if (found := look()) is not None:
                return found
        return None


class Changes:
    """A bulletin board: writers announce instance ids, those parked look again when theirs is named.

    What an announcement costs does not depend on how many are parked for other instances.
    """

    def __init__(self, limit: int) -> None:
        """`limit`: how many of a kind may be parked."""
        self._limit = limit
        self._lock = threading.Lock()
        self._places: dict[str, list[Place]] = {}
        self._parked: Counter[str] = Counter()
        self._let_go: Counter[str] = Counter()
        self._closed = False

    def close(self) -> None:
        """Let all waiters go and park nobody more: the process ends.

        A signal's handler may call it at any point of this class, so it takes no lock.
        """
        self._let_go = self._parked.copy()
        self._closed = True
        for places in list(self._places.values()):
            for place in list(places):
                place.name(closing=True)

    def let_go(self, kind: str) -> int:
        """How many of a kind were parked when it closed; 0 until then."""
        return self._let_go[kind]

    def announce(self, *instance_ids: str) -> None:
        with self._lock:
            places = [place for named in instance_ids for place in self._places.get(named, ())]
        for place in places:
            place.name()

    @property
    def awaited(self) -> list[str]:
        """Ids of the instances that somebody is parked for."""
        with self._lock:
            return list(self._places)

    @contextmanager
    def place(self, kind: str, instance_id: str) -> Iterator[Place | None]:
        """Room to park one more request of this kind for the instance; None when there is none.

        What is announced from here on is not missed.
        """
        with self._lock:
            place = Place() if self._parked[kind] < self._limit else None
            if place is not None:
                self._parked[kind] += 1
                self._places.setdefault(instance_id, []).append(place)
        if place is None:
            yield None
            return
        if self._closed:  # asked after it can be found, so that either sees the other
            place.name(closing=True)
        try:
            yield place
        finally:
            with self._lock:
                self._parked[kind] -= 1
                self._places[instance_id].remove(place)
                if not self._places[instance_id]:
                    del self._places[instance_id]
