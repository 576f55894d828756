"""Checking parameter values against a catalogue before anything is stored."""

import math
import re
from collections.abc import Mapping
from typing import Any

from control_plane.datastores.models import DatastoreVersion
from control_plane.errors import MOST_ERRORS, FieldError, Invalid, nearest, pointer
from guest_agent.protocol import Parameter

TRUE = {"on", "true", "yes", "1"}
FALSE = {"off", "false", "no", "0"}
_BINARY = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_POSTGRESQL: dict[str, float] = {
    "B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40,
    "us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400,
}  # fmt: skip
"""https://www.postgresql.org/docs/current/config-setting.html; units are case-sensitive there."""
_TIMES = ("us", "ms", "s", "min", "h", "d")
_VALKEY: dict[str, float] = {
    "b": 1, "k": 1e3, "m": 1e6, "g": 1e9, **{f"{letter}b": size for letter, size in _BINARY.items()}
}  # fmt: skip
"""Decimal without the `b`, binary with it, as valkey.conf says at its head."""
_MARIADB: dict[str, float] = {**_BINARY, "p": 1 << 50, "e": 1 << 60}
"""https://mariadb.com/kb/en/configuring-mariadb-with-option-files/: any number may have one."""
_NUMBER = re.compile(r"\s*([+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*([A-Za-z]*)\s*", re.ASCII)
LONGEST_VALUE = 4096


def check(parameters: Mapping[str, Any], version: DatastoreVersion) -> dict[str, str]:
    """The parameters as text, checked. Raises Invalid with a FieldError for each bad one."""
    known = entries(version)
    settable = [name for name, entry in known.items() if entry["settable"]]
    label = f"{version.datastore.name} {version.name}"
    problems: list[FieldError] = []
    texts = {}
    for name, value in parameters.items():
        if len(problems) == MOST_ERRORS:
            break
        text = as_text(value)
        if name not in known:
            problem: str | None = f"{label} has no parameter {name!r}.{nearest(name, settable)}"
        elif not known[name]["settable"]:
            problem = f"{name} can't be set: it is Coffret's or the engine's own."
        else:
            problem = _problem(version.datastore.manager, known[name], text)
        if problem:
            problems.append(FieldError(pointer("parameters", name), problem))
        texts[name] = text
    if problems:
        raise Invalid("; ".join(item.detail for item in problems), errors=problems)
    return texts


def entries(version: DatastoreVersion) -> dict[str, Parameter]:
    """The catalogue by name."""
    return {entry["name"]: entry for entry in version.parameters}


def same(version: DatastoreVersion, left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether the engine would not notice the difference: `true` and `on`, `1GB` and `1024MB`."""
    known, manager = entries(version), version.datastore.manager
    return set(left) == set(right) and all(
        same_value(manager, known[name], left[name], right[name]) for name in left
    )


def same_value(manager: str, entry: Parameter, left: Any, right: Any) -> bool:
    """Whether two values of a parameter mean the same; None: what it is when nobody sets it."""
    unset = _when_unset(manager, entry)
    one, other = (unset if value is None else as_text(value) for value in (left, right))
    if one is None or other is None:
        return left is right
    return _meaning(manager, entry, one) == _meaning(manager, entry, other)


def _when_unset(manager: str, entry: Parameter) -> str | None:
    """What a parameter that nobody sets certainly is; None where flavor or engine decide at the start.

    PostgreSQL writes that -1, for buffers also 0; MariaDB's listed defaults do not tell.
    """
    default = entry["default"]
    chosen = default == "-1" or (default == "0" and entry["unit"] == "8kB")
    return None if chosen or manager == "mariadb" else default


def _meaning(manager: str, entry: Parameter, text: str) -> str | bool | float | None:
    if entry["type"] == "boolean":
        return text.lower() in TRUE
    if entry["type"] in ("integer", "number"):
        return _number(manager, text, entry["unit"])
    return text.lower() if entry["type"] == "enum" else text


def as_text(value: Any) -> str:
    """A JSON scalar in the engine's notation."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _problem(manager: str, entry: Parameter, text: str) -> str | None:
    """What is wrong with a value and what would be right; None when it is right."""
    name = entry["name"]
    if len(text) > LONGEST_VALUE or any(ord(letter) < 32 for letter in text):
        return f"{name} takes one line of at most {LONGEST_VALUE} characters."
    if entry["type"] == "boolean":
        if text.lower() not in TRUE | FALSE:
            return f"{name} is a boolean: on or off, not {text!r}."
    elif entry["type"] == "enum":
        values = entry["values"] or []
        if text.lower() not in {value.lower() for value in values}:
            return f"{name} is one of {', '.join(values)}, not {text!r}.{nearest(text, values)}"
    elif entry["type"] in ("integer", "number"):
        return _number_problem(manager, entry, text)
    return None


def _number_problem(manager: str, entry: Parameter, text: str) -> str | None:
    name, unit = entry["name"], entry["unit"]
    number = _number(manager, text, unit)
    counted = f" (in {unit})" if unit else ""
    if number is None:
        return f"{name} is a number{counted}{_example(manager, unit)}, not {text!r}."
    if entry["type"] == "integer" and unit is None and number != int(number):
        return f"{name} is a whole number, not {text!r}."
    low, high = entry["minimum"], entry["maximum"]
    if (low is not None and number < low) or (high is not None and number > high):
        return f"{name} is from {_say(low)} to {_say(high)}{counted}; {text!r} is outside."
    return None


def _say(bound: float | None) -> str:
    if bound is None:
        return "any"
    return str(int(bound)) if bound == int(bound) else str(bound)


def _example(manager: str, unit: str | None) -> str:
    if manager == "mariadb":
        return ", also with K, M or G"
    if unit is None:
        return ""
    if unit.lstrip("0123456789") in _TIMES:
        return ", also with a unit such as 5s"
    return ", also with a unit such as " + ("64mb" if manager == "valkey" else "64MB")


def _number(manager: str, text: str, unit: str | None) -> float | None:
    """The value as a count of `unit` (`8kB`, `ms`, …); None if it is no number of it."""
    matched = _NUMBER.fullmatch(text)
    if matched is None:
        return None
    number, suffix = float(matched[1]), matched[2]
    if not math.isfinite(number):
        return None
    if not suffix:
        return number
    if manager == "mariadb":
        factor, base = _MARIADB.get(suffix.lower()), 1.0
    elif unit is None:
        return None
    elif manager == "valkey":
        factor, base = _VALKEY.get(suffix.lower()), 1.0
    else:
        letters = unit.lstrip("0123456789")
        base = float(unit[: len(unit) - len(letters)] or 1) * _POSTGRESQL[letters]
        same_kind = (suffix in _TIMES) == (letters in _TIMES)
        factor = _POSTGRESQL.get(suffix) if same_kind else None
    return None if factor is None else number * factor / base
