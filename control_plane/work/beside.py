"""What runs beside the web in a process: a thread that works until it is told to stop."""

import threading
from abc import ABC, abstractmethod


class Beside(ABC):
    def __init__(self, name: str) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, patience: float = 5) -> None:
        """Wait at most `patience` seconds for what is under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(patience)

    @abstractmethod
    def _work(self) -> None:
        """What the thread does; it returns soon after `_stopping` is set."""
