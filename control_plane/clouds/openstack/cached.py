"""What the cloud said a moment ago, for questions that come with every request."""

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class Cached(Generic[T]):
    """Answers by their question, kept for so many seconds. One thread asks at a time."""

    seconds: float
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _answers: dict[Hashable, tuple[float, T]] = field(default_factory=dict)

    def get(self, question: Hashable, ask: Callable[[], T]) -> T:
        """The kept answer, or that of `ask`, whose errors are not kept."""
        with self._lock:
            now = time.monotonic()
            for old in [key for key, (until, _) in self._answers.items() if until < now]:
                del self._answers[old]
            if question not in self._answers:
                self._answers[question] = (now + self.seconds, ask())
            return self._answers[question][1]

    def forget(self) -> None:
        with self._lock:
            self._answers.clear()
