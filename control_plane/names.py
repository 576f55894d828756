"""Names of the resources that have plain ones: what they may look like and whether they may change."""

import re
from collections.abc import Mapping
from typing import Any, Protocol

from control_plane.database import is_uuid
from control_plane.errors import Invalid

PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$"
RULE = "must have 1 to 255 letters, digits, '.', '_' or '-', and start with a letter or digit"

_ENDS, _BETWEEN = r"[^\x00-\x20\x7f/\\@`]", r"[^\x00-\x1f\x7f/\\@`]"
INNER = rf"{_ENDS}(?:{_BETWEEN}*{_ENDS})?"
"""What every engine allows for databases and users; `Manager` knows what each one forbids besides."""
INNER_RULE = "must be printable, without '/', '\\', '@' or '`', and without a space at either end"

PROJECT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
PROJECT_RULE = (
    "A project id has 1 to 64 letters, digits, '.', '_' or '-' and starts with a letter or digit."
)
LABEL_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}"
LABEL_RULE = "must have 1 to 63 letters, digits, '.', '_', '/' or '-', and start with a letter or digit"


class Named(Protocol):
    name: Any


def fault(name: str) -> str | None:
    """What is wrong with a name and what would be right; None when it is right."""
    if not re.fullmatch(PATTERN, name):
        return f"A name {RULE}."
    if is_uuid(name):
        return "A name must not look like a UUID: ids are accepted as names are."
    return None


def is_label(name: str) -> bool:
    """Whether a label may have the name; those that may are safe in a JSON path."""
    return re.fullmatch(LABEL_PATTERN, name) is not None


def asked(row: Named | None, key: str, wanted: Mapping[str, Any]) -> str:
    """The name that a write at `key` asks for. Raises Invalid where a new one cannot be had."""
    if row is not None:
        return str(wanted.get("name", row.name))
    name = str(wanted.get("name", key))
    if name != key:
        raise Invalid.field("/name", f"The path names {key!r} and the body {name!r}; there is no {key!r}.")
    if wrong := fault(name):
        raise Invalid.field("/name", wrong)
    return name


def kept(row: Named | None, key: str, wanted: Mapping[str, Any], what: str) -> str:
    """As `asked`, for those that keep their name."""
    name = asked(row, key, wanted)
    if row is not None and name != row.name:
        raise Invalid.field("/name", f"A {what} keeps its name, {row.name!r}; make another one.")
    return name
