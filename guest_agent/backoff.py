"""Longer and longer pauses between attempts."""

import random


class Backoff:
    """Pauses that double from `first` to `most` seconds, each shortened at random by up to a half,
    so that many agents do not come back in the same moment."""

    def __init__(self, first: float, most: float) -> None:
        self._first = first
        self._most = most
        self._pause = first

    def next(self) -> float:
        pause, self._pause = self._pause, min(self._most, self._pause * 2)
        return pause * random.uniform(0.5, 1)  # noqa: S311 - no secret

    def reset(self) -> None:
        self._pause = self._first
