"""Go expressions for attributes: types, defaults, validators, plan modifiers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .document import MISSING, Field, Type, Unmapped

NAMES = {
    "string": "String",
    "integer": "Int64",
    "number": "Float64",
    "boolean": "Bool",
    "list": "List",
    "set": "Set",
    "map": "Map",
    "object": "Object",
}
COLLECTIONS = {"list", "set", "map"}
FORMATS = {"cidr": "CIDR", "date-time": "DateTime", "ip": "IP"}
"""Validators of internal/formats, by the format that they know."""


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def raw(text: str) -> str:
    """A Go string literal that is easy to read with backslashes in it."""
    return f"`{text}`" if "`" not in text else quoted(text)


def attribute_type(kind: Type) -> str:
    """The attr.Type of values of this type."""
    if kind.kind in COLLECTIONS:
        return f"types.{NAMES[kind.kind]}Type{{ElemType: {attribute_type(kind.inner)}}}"
    if kind.kind == "object":
        return f"types.ObjectType{{AttrTypes: {attribute_types(kind.fields)}}}"
    return f"types.{NAMES[kind.kind]}Type"


def attribute_types(fields: Iterable[Field]) -> str:
    inner = "".join(f"{quoted(field.name)}: {attribute_type(field.type)},\n" for field in fields)
    return f"map[string]attr.Type{{\n{inner}}}"


def literal(kind: Type, value: Any, where: str) -> str:
    """A value of the framework's types for a JSON value."""
    name = NAMES[kind.kind]
    if kind.kind in COLLECTIONS:
        element = attribute_type(kind.inner)
        if value is None:
            return f"types.{name}Null({element})"
        if value:
            raise Unmapped(f"{where}: a default that is not empty has no mapping for a {kind.kind}.")
        elements = "map[string]attr.Value{}" if kind.kind == "map" else "[]attr.Value{}"
        return f"types.{name}ValueMust({element}, {elements})"
    if kind.kind == "object":
        if value is None:
            return f"types.ObjectNull({attribute_types(kind.fields)})"
        if set(value) != {field.name for field in kind.fields}:
            raise Unmapped(f"{where}: the default of an object names all its fields.")
        inner = "".join(
            f"{quoted(field.name)}: {literal(field.type, value[field.name], where)},\n"
            for field in kind.fields
        )
        types = attribute_types(kind.fields)
        return f"types.ObjectValueMust({types}, map[string]attr.Value{{\n{inner}}})"
    if value is None:
        return f"types.{name}Null()"
    return f"types.{name}Value({_scalar(kind, value, where)})"


def _scalar(kind: Type, value: Any, where: str) -> str:
    fits = {"string": str, "integer": int, "number": (int, float), "boolean": bool}[kind.kind]
    if not isinstance(value, fits) or (kind.kind != "boolean" and isinstance(value, bool)):  # type: ignore[arg-type]
        raise Unmapped(f"{where}: the default {value!r} is no {kind.kind}.")
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def default(field: Field, where: str) -> str:
    """The attribute's Default; empty when it has none, or null."""
    if field.default is MISSING or field.default is None:
        return ""
    if field.type.kind in COLLECTIONS or field.type.kind == "object":
        package = f"{field.type.kind}default"
        return f"{package}.StaticValue({literal(field.type, field.default, where)})"
    name = NAMES[field.type.kind]
    return f"{name.lower()}default.Static{name}({_scalar(field.type, field.default, where)})"


def plan_modifiers(field: Field, where: str) -> list[str]:
    package = f"{NAMES[field.type.kind].lower()}planmodifier"
    modifiers = []
    if field.stable:
        if not field.read_only:
            raise Unmapped(f"{where}: x-stable is for what the server owns.")
        modifiers.append(
            "runtime.UseNonEmptyStateForUnknown()"
            if field.type.kind == "list"
            else f"{package}.UseNonNullStateForUnknown()"
        )
    if field.immutable:
        modifiers.append(f"{package}.RequiresReplace()")
    return modifiers


def validators(kind: Type, where: str) -> list[str]:
    """Validator calls for JSON Schema's words about this type."""
    bounds = dict(kind.bounds)
    found: list[str] = []
    if kind.kind == "string":
        found = _of_string(bounds, where)
    elif kind.kind in ("integer", "number"):
        found = _range(bounds, "minimum", "maximum", f"{NAMES[kind.kind].lower()}validator.")
    elif kind.kind in ("list", "set"):
        found = _range(bounds, "minItems", "maxItems", f"{kind.kind}validator.Size")
        found += _of_elements(kind, where)
    elif kind.kind == "map":
        if "maxLength" in bounds:  # apispec's word for the bound of a map's size
            bounds["maxProperties"] = bounds.pop("maxLength")
        found = _range(bounds, "minProperties", "maxProperties", "mapvalidator.Size")
        if names := validators(Type("string", bounds=bounds.pop("propertyNames", {})), where):
            found.append(f"mapvalidator.KeysAre({', '.join(names)})")
        found += _of_elements(kind, where)
    if bounds:
        raise Unmapped(f"{where}: {', '.join(bounds)} has no validator for a {kind.kind}.")
    return found


def _of_string(bounds: dict[str, Any], where: str) -> list[str]:
    found = []
    if choices := bounds.pop("enum", None):
        found.append(f"stringvalidator.OneOf({', '.join(quoted(choice) for choice in choices)})")
    found += _range(bounds, "minLength", "maxLength", "stringvalidator.UTF8Length")
    if pattern := bounds.pop("pattern", None):
        if "(?=" in pattern or "(?!" in pattern or "(?<" in pattern:
            raise Unmapped(f"{where}: Go's regular expressions have no look-around.")
        if (rule := bounds.pop("x-rule", None)) is None:
            raise Unmapped(f"{where}: x-rule says what its pattern demands, as `must …`.")
        found.append(f"stringvalidator.RegexMatches(regexp.MustCompile({raw(pattern)}), {quoted(rule)})")
    if (form := bounds.pop("format", "password")) != "password":
        if form not in FORMATS:
            raise Unmapped(f"{where}: the format {form!r} has no validator.")
        found.append(f"formats.{FORMATS[form]}()")
    return found


def _of_elements(kind: Type, where: str) -> list[str]:
    if kind.inner.kind == "object":
        return []  # its attributes have validators of their own
    inner = validators(kind.inner, where)
    if not inner:
        return []
    return [f"{kind.kind}validator.Value{NAMES[kind.inner.kind]}sAre({', '.join(inner)})"]


def _range(bounds: dict[str, Any], least: str, most: str, prefix: str) -> list[str]:
    low, high = bounds.pop(least, None), bounds.pop(most, None)
    if low == 0 and least != "minimum":
        low = None  # every length is at least 0
    if low is not None and high is not None:
        return [f"{prefix}Between({low}, {high})"]
    if low is not None:
        return [f"{prefix}AtLeast({low})"]
    return [f"{prefix}AtMost({high})"] if high is not None else []


def description(field: Field) -> str:
    """The field's description with what its schema says besides."""
    said = [field.description] if field.description else []
    if choices := field.type.bounds.get("enum"):
        said.append("One of " + ", ".join(f"`{choice}`" for choice in choices) + ".")
    low, high = field.type.bounds.get("minimum"), field.type.bounds.get("maximum")
    if low is not None and high is not None and high < 2**31 - 1:
        said.append(f"From {low} to {high}.")
    if field.default is not MISSING and isinstance(field.default, str | bool | int) and field.default != "":
        said.append(f"Default: `{json.dumps(field.default).strip(chr(34))}`.")
    if field.immutable:
        said.append("A change makes a new resource.")
    if field.write_only:
        said.append(
            "Never stored in plan or state; sent to a new resource and when"
            f" `{field.name}_version` changes."
        )
    return " ".join(said)


IMPORTS = {
    "context": "context",
    "regexp": "regexp",
    "time": "time",
    "action": "github.com/hashicorp/terraform-plugin-framework/action",
    "attr": "github.com/hashicorp/terraform-plugin-framework/attr",
    "datasource": "github.com/hashicorp/terraform-plugin-framework/datasource",
    "ephemeral": "github.com/hashicorp/terraform-plugin-framework/ephemeral",
    "resource": "github.com/hashicorp/terraform-plugin-framework/resource",
    "path": "github.com/hashicorp/terraform-plugin-framework/path",
    "planmodifier": "github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier",
    "validator": "github.com/hashicorp/terraform-plugin-framework/schema/validator",
    "types": "github.com/hashicorp/terraform-plugin-framework/types",
    "formats": "github.com/coffret/terraform-provider-coffret/internal/formats",
    "runtime": "github.com/coffret/terraform-provider-coffret/internal/runtime",
}
for _name in NAMES.values():
    _lower = _name.lower()
    _validators = "github.com/hashicorp/terraform-plugin-framework-validators"
    _framework = "github.com/hashicorp/terraform-plugin-framework/resource/schema"
    IMPORTS[f"{_lower}default"] = f"{_framework}/{_lower}default"
    IMPORTS[f"{_lower}planmodifier"] = f"{_framework}/{_lower}planmodifier"
    IMPORTS[f"{_lower}validator"] = (
        f"github.com/hashicorp/terraform-plugin-framework-validators/{_lower}validator"
    )


def imports(code: str, more: Mapping[str, str]) -> list[list[str]]:
    """Paths of the packages that the code names, in gofmt's groups: standard, others, our own."""
    code = re.sub(r'"(?:[^"\\]|\\.)*"|`[^`]*`', "", code)  # what stands in strings names no package
    used = sorted(path for name, path in {**IMPORTS, **more}.items() if re.search(rf"\b{name}\.", code))
    standard = [path for path in used if "." not in path.split("/")[0]]
    own = [path for path in used if path.startswith("github.com/coffret/")]
    others = [path for path in used if path not in standard and path not in own]
    return [group for group in (standard, others, own) if group]
