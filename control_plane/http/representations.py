"""JSON texts of rows and of what is inside them, kept while their revisions are the newest.

Reading a row, dumping it and encoding it costs thirty times what finding its revision does, and most
reads are of what has not changed.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Protocol

from flask import current_app

from control_plane.database import Resource

_IDENTITY = attrgetter("id", "revision")
KEPT = 64 * 2**20
"""Characters of texts at most, in a process and for each kind; the first ones kept go first."""


class Head(Protocol):
    """What must be read of a row to know whether its text is still true."""

    @property
    def id(self) -> str: ...
    @property
    def revision(self) -> int: ...


class Representations:
    """One text a row. Whatever it says must change the row's revision when it changes."""

    def __init__(
        self,
        dump: Callable[[Any], Mapping[str, Any]],
        load: Callable[[Sequence[str]], Iterable[Resource]],
    ) -> None:
        self._dump = dump
        self._load = load
        self._lock = threading.Lock()
        self._texts: dict[tuple[str, int], str] = {}
        self._revisions: dict[str, int] = {}
        """Row id -> the revision whose text is kept, in the order in which the rows came."""
        self._size = 0

    def texts(self, heads: Sequence[Head]) -> list[str]:
        """The JSON text of each row, in order; a row that has just gone is left out."""
        texts = list(map(self._texts.get, map(_IDENTITY, heads)))
        if None in texts:
            missing = [head.id for head, text in zip(heads, texts, strict=True) if text is None]
            made = {row.id: self._keep(row) for row in self._load(missing)}
            texts = [text or made.get(head.id) for head, text in zip(heads, texts, strict=True)]
        return [text for text in texts if text is not None]

    def _keep(self, row: Resource) -> str:
        text = current_app.json.dumps(self._dump(row))
        with self._lock:
            self._forget(row.id)
            while self._texts and self._size + len(text) > KEPT:
                self._forget(next(iter(self._revisions)))
            self._revisions[row.id] = row.revision
            self._texts[row.id, row.revision] = text
            self._size += len(text)
        return text

    def _forget(self, row_id: str) -> None:
        self._size -= len(self._texts.pop((row_id, self._revisions.pop(row_id, 0)), ""))


class Insides:
    """One text for all of a kind that is inside a row.

    Whatever it says must change a revision when it changes: the row's own, or that of one of those inside.
    """

    def __init__(
        self,
        dump: Callable[[Any], Any],
        load: Callable[[str], Any],
        revisions: Callable[[str], Iterable[Any]],
    ) -> None:
        self._dump = dump
        self._load = load
        self._revisions = revisions
        self._lock = threading.Lock()
        self._texts: dict[str, tuple[Any, str]] = {}
        """Row id -> the revisions for which a text is kept, and the text."""
        self._size = 0

    def text(self, head: Head) -> str:
        """The JSON array of what is inside the row."""
        # Asked for before it is read: a text may be newer than its revisions, and is then made once more.
        newest = (head.revision, tuple(self._revisions(head.id)))
        revisions, text = self._texts.get(head.id, (None, ""))
        if revisions != newest:
            text = current_app.json.dumps(self._dump(self._load(head.id)))
            self._keep(head.id, newest, text)
        return text

    def _keep(self, row_id: str, revisions: Any, text: str) -> None:
        with self._lock:
            self._forget(row_id)
            while self._texts and self._size + len(text) > KEPT:
                self._forget(next(iter(self._texts)))
            self._texts[row_id] = revisions, text
            self._size += len(text)

    def _forget(self, row_id: str) -> None:
        self._size -= len(self._texts.pop(row_id, (None, ""))[1])
