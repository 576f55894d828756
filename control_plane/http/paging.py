"""Marker paging: `limit`, `marker` (the last name seen), `links`. The sort ends with a unique key."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

from flask import Response, current_app, request

from control_plane.errors import Invalid
from control_plane.http import answers

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

T = TypeVar("T")


@dataclass(frozen=True)
class Page:
    limit: int
    marker: str | None

    @classmethod
    def of_request(cls) -> "Page":
        text = request.args.get("limit", str(DEFAULT_LIMIT))
        plain = text.isascii() and text.isdecimal() and len(text) <= 9
        if not plain or not 1 <= int(text) <= MAX_LIMIT:
            raise Invalid.field("?limit", f"{text!r} is not a whole number from 1 to {MAX_LIMIT}.")
        return cls(int(text), request.args.get("marker"))

    def answer(
        self, rows: Sequence[T], marker_of: Callable[[T], str], dump: Callable[[T], Any]
    ) -> Response:
        """The list's answer, given up to `limit` + 1 rows; the one too many says there is more."""
        texts = [current_app.json.dumps(dump(row)) for row in rows[: self.limit]]
        return self.answer_texts(rows, marker_of, texts)

    def answer_texts(
        self, rows: Sequence[T], marker_of: Callable[[T], str], texts: Sequence[str]
    ) -> Response:
        """The list's answer from the JSON texts of the rows that it shows."""
        links = []
        if len(rows) > self.limit:
            query = [(k, v) for k, v in request.args.items(multi=True) if k not in ("marker", "limit")]
            query += [("limit", str(self.limit)), ("marker", marker_of(rows[self.limit - 1]))]
            links.append({"rel": "next", "href": f"{request.path}?{urlencode(query)}"})
        links_text = current_app.json.dumps(links)
        return answers.text(f'{{"items":[{",".join(texts)}],"links":{links_text}}}')
