"""Texts that are kept: as many as there is room for."""

from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask

from control_plane.http import representations
from control_plane.http.representations import Insides


@dataclass(frozen=True)
class Row:
    id: str
    revision: int = 1


def test_texts_of_what_is_inside_go_when_there_is_no_room_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(representations, "KEPT_INSIDE", 100)
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
