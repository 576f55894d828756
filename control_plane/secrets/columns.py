"""Column types that encrypt what they write. What is in clear, from earlier versions, can be read."""

import json
from typing import Any, cast

from flask import current_app
from sqlalchemy import JSON, Dialect, Text, TypeDecorator

from control_plane.secrets.keys import Keys


def keys() -> Keys:
    """Those of the current application."""
    found: Keys = current_app.extensions["coffret_keys"]
    return found


class Sealed(TypeDecorator[str]):
    """A text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else keys().encrypt(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else keys().decrypt(value)


class SealedJSON(TypeDecorator[dict[str, Any]]):
    """A JSON object; encrypted, the column has a JSON string."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        text = json.dumps(value)
        sealed = keys().encrypt(text)
        return value if sealed == text else sealed

    def process_result_value(self, value: Any, dialect: Dialect) -> dict[str, Any] | None:
        if isinstance(value, str):
            value = json.loads(keys().decrypt(value))
        return cast(dict[str, Any] | None, value)
