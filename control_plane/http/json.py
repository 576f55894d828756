"""Strict JSON: no NaN, no duplicate names, no lone surrogates, no nesting past the stack."""

import json
import math
from typing import Any

from flask.json.provider import DefaultJSONProvider

DEEPEST = 32


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the name {twice!r} stands twice in one object")
    return names


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is out of range")
    return number


def _refuse_depth(value: Any) -> None:
    """Recursion below, in schemas and merge-patches, may count on a bound."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {DEEPEST} levels deep")


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON value")


class StrictJSON(DefaultJSONProvider):
    sort_keys = False

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return super().dumps(obj, **{"separators": (",", ":"), **kwargs})

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Parse JSON; raises ValueError for all that RFC 8259 leaves open or forbids."""
        try:
            text = s.decode() if isinstance(s, bytes) else s
            value = json.loads(
                text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float
            )
            _refuse_depth(value)
            if "\\u" in text:
                json.dumps(value, ensure_ascii=False).encode()
        except RecursionError as error:
            raise ValueError(f"it is nested more than {DEEPEST} levels deep") from error
        return value
