"""JSON texts of rows, kept while their revision is the newest.

Reading a row, dumping it and encoding it costs thirty times what finding its revision does, and most
reads are of what has not changed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from flask import current_app

from control_plane.database import Resource

KEPT = 20_000
"""Texts at most in a process; the first ones kept go first."""


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
        self._texts: dict[str, tuple[int, str]] = {}

    def texts(self, heads: Sequence[Head]) -> list[str]:
        """The JSON text of each row, in order; a row that has just gone is left out."""
        kept = self._texts
        known = {head.id: kept.get(head.id) for head in heads}
        missing = [
            head.id for head in heads if (text := known[head.id]) is None or text[0] != head.revision
        ]
        if missing:
            known.update(dict.fromkeys(missing))
            for row in self._load(missing):
                known[row.id] = self._keep(row)
        return [text[1] for text in known.values() if text is not None]

    def _keep(self, row: Resource) -> tuple[int, str]:
        text = row.revision, current_app.json.dumps(self._dump(row))
        if len(self._texts) >= KEPT and row.id not in self._texts:
            self._texts.pop(next(iter(self._texts)), None)
        self._texts[row.id] = text
        return text


def _true(text: tuple[int, str] | None, head: Head) -> bool:
    return text is not None and text[0] == head.revision
