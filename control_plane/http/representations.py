"""JSON texts of rows, kept while their revision is the newest.

Reading a row, dumping it and encoding it costs thirty times what finding its revision does, and most
reads are of what has not changed.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from cachetools import LRUCache
from flask import current_app

from control_plane.database import Resource

KEPT = 20_000


class Head(Protocol):
    """What must be read of a row to know whether its text is still true."""

    @property
    def id(self) -> str: ...
    @property
    def revision(self) -> int: ...


class Representations:
    """Texts by id and revision. Whatever a text says must change the row's revision when it changes."""

    def __init__(
        self,
        dump: Callable[[Any], Mapping[str, Any]],
        load: Callable[[Sequence[str]], Iterable[Resource]],
    ) -> None:
        self._dump = dump
        self._load = load
        self._texts: LRUCache[tuple[str, int], str] = LRUCache(KEPT)
        self._lock = threading.Lock()

    def texts(self, heads: Sequence[Head]) -> list[str]:
        """The JSON text of each row, in order; a row that has just gone is left out."""
        with self._lock:
            known = {head.id: self._texts.get((head.id, head.revision)) for head in heads}
        missing = [row_id for row_id, text in known.items() if text is None]
        if missing:
            for row in self._load(missing):
                text = current_app.json.dumps(self._dump(row))
                known[row.id] = text
                with self._lock:
                    self._texts[row.id, row.revision] = text
        return [text for text in known.values() if text is not None]
