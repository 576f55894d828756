"""Texts that are kept: as many as there is room for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask

from control_plane.http import representations
from control_plane.http.representations import Insides, Representations


@dataclass(frozen=True)
class Row:
    id: str
    revision: int = 1


def test_texts_of_what_is_inside_go_when_there_is_no_room_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(representations, "KEPT", 100)
    read: list[str] = []

    def load(row_id: str) -> list[str]:
        read.append(row_id)
        return ["x" * 36]  # 40 characters as JSON

    insides: Any = Insides(lambda rows: rows, load, lambda row_id: [])
    with Flask(__name__).app_context():
        for name in ("a", "b", "b", "a", "c", "b", "a"):
            assert insides.text(Row(name)) == f'["{"x" * 36}"]'
        assert read == ["a", "b", "c", "a"]
        insides.text(Row("a", revision=2))
        assert read[-1] == "a"
        assert len(read) == 5


def test_texts_of_rows_go_when_there_is_no_room_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(representations, "KEPT", 100)
    read: list[str] = []

    def load(ids: Sequence[str]) -> list[Row]:
        read.extend(ids)
        return [Row(row_id, newest[row_id]) for row_id in ids]

    newest = {"a": 1, "b": 1, "c": 1}
    kept: Any = Representations(lambda row: {"id": row.id, "text": "x" * 20}, load)  # 40 characters
    with Flask(__name__).app_context():
        for name in ("a", "b", "b", "a", "c", "b", "a"):
            assert len(kept.texts([Row(name)])) == 1
        assert read == ["a", "b", "c", "a"]
        newest["a"] = 2
        for _ in range(9):
            kept.texts([Row("a", 2)])
        kept.texts([Row("c")])
        assert read[4:] == ["a"], "a newer text takes the place of the one before"
