"""Checking parameter values against a catalogue before anything is stored."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from control_plane.errors import FieldError, Invalid, nearest
from guest_agent.protocol import Parameter

TRUE = {"on", "true", "yes", "1"}
FALSE = {"off", "false", "no", "0"}
_SIZES = {
    "": 1, "b": 1, "k": 1 << 10, "kb": 1 << 10, "m": 1 << 20, "mb": 1 << 20,
    "g": 1 << 30, "gb": 1 << 30, "t": 1 << 40, "tb": 1 << 40,
}  # fmt: skip
_TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400}
_NUMBER = re.compile(r"\s*([+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*([A-Za-z]*)\s*")
LONGEST_VALUE = 4096


def check(parameters: Mapping[str, Any], catalogue: Iterable[Parameter], version: str) -> dict[str, str]:
    """The parameters as text, checked. Raises Invalid with a FieldError for each bad one."""
    known = {entry["name"]: entry for entry in catalogue}
    settable = [name for name, entry in known.items() if entry["settable"]]
    problems = []
    texts = {}
    for name, value in parameters.items():
        pointer = "/parameters/" + name.replace("~", "~0").replace("/", "~1")
        text = as_text(value)
        if name not in known:
            problem: str | None = f"{version} has no parameter {name!r}.{nearest(name, settable)}"
        elif not known[name]["settable"]:
            problem = f"{name} can't be set: it is Coffret's or the engine's own."
        else:
            problem = _problem(known[name], text)
        if problem:
            problems.append(FieldError(pointer, problem))
        texts[name] = text
    if problems:
        raise Invalid("; ".join(item.detail for item in problems), errors=problems)
    return texts


def as_text(value: Any) -> str:
    """A JSON scalar in the engine's notation."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def same(entry: Parameter, left: str, right: str) -> bool:
    """Whether two values mean the same to the engine: `256MB` and `262144kB`, `on` and `true`."""
    if entry["type"] == "boolean":
        return (left.lower() in TRUE) == (right.lower() in TRUE)
    if entry["type"] in ("integer", "number"):
        return _number(left, entry["unit"]) == _number(right, entry["unit"])
    return left == right or (entry["type"] == "enum" and left.lower() == right.lower())


def _problem(entry: Parameter, text: str) -> str | None:
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
        return _number_problem(entry, text)
    return None


def _number_problem(entry: Parameter, text: str) -> str | None:
    name, unit = entry["name"], entry["unit"]
    number = _number(text, unit)
    counted = f" (in {unit})" if unit else ""
    if number is None:
        example = _unit_example(unit)
        return f"{name} is a number{counted}{example}, not {text!r}."
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


def _unit_example(unit: str | None) -> str:
    if unit is None:
        return ""
    return ", or with a unit such as 5s" if _time_unit(unit) else ", or with a unit such as 64MB"


def _time_unit(unit: str) -> bool:
    return unit.lstrip("0123456789") in _TIMES


def _number(text: str, unit: str | None) -> float | None:
    """The value as a count of `unit`; None if it is no number of it."""
    matched = _NUMBER.fullmatch(text)
    if matched is None:
        return None
    number, suffix = float(matched[1]), matched[2]
    if not suffix:
        return number
    if unit is None:
        return None
    if _time_unit(unit):
        factor, base = _TIMES.get(suffix), _scale(unit, _TIMES)
    else:
        factor, base = _SIZES.get(suffix.lower()), _scale(unit.lower(), _SIZES)
    return None if factor is None or not base else number * factor / base


def _scale(unit: str, known: Mapping[str, float]) -> float:
    """How much one of `unit` is: `8kB` is 8192 bytes, `ms` a thousandth of a second."""
    letters = unit.lstrip("0123456789")
    return float(unit[: len(unit) - len(letters)] or 1) * known.get(letters, 0)
