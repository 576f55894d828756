"""Reads the OpenAPI document into fields. What it does not know is an error, never a guess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

KNOWN = {
    "$ref", "additionalProperties", "anyOf", "default", "description", "enum", "example", "examples",
    "format",
    "items", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength", "minimum",
    "pattern", "properties", "propertyNames", "readOnly", "required", "type", "writeOnly", "x-immutable",
    "x-key", "x-rule", "x-set", "x-stable", "x-terraform",
}  # fmt: skip
FORMATS = {"cidr", "date-time", "ip", "password", "uuid"}
SCALARS = {"string", "integer", "number", "boolean"}
BOUNDS = (
    "enum", "format", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength",
    "minimum", "pattern", "propertyNames", "x-rule",
)  # fmt: skip
MISSING: Any = object()
"""The default of a field that has none."""


class Unmapped(Exception):
    """Something in the document has no place in the provider yet."""


@dataclass(frozen=True)
class Type:
    """`kind` is a scalar, list, set, map (with `element`) or object (with `fields`)."""

    kind: str
    element: Type | None = None
    fields: tuple[Field, ...] = ()
    bounds: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema's own words for what a value may be, and `x-rule`: its pattern in ours."""

    @property
    def inner(self) -> Type:
        """The element of a list, set or map."""
        if self.element is None:
            raise TypeError(f"a {self.kind} has no elements")
        return self.element


@dataclass(frozen=True)
class Field:
    """A property of a resource, with all that Terraform must know of it."""

    name: str
    path: tuple[str, ...]
    type: Type
    description: str
    required: bool = False
    nullable: bool = False
    read_only: bool = False
    write_only: bool = False
    key: bool = False
    immutable: bool = False
    stable: bool = False
    default: Any = MISSING
    whole: str = ""
    """The attribute that has this field's value together with what the provider block adds to it."""


def observed(field: Field) -> Field:
    """The field, and all within it, as something that is only read."""
    return replace(
        field,
        read_only=True,
        required=False,
        immutable=False,
        default=MISSING,
        type=_observed(field.type),
    )


def _observed(kind: Type) -> Type:
    element = _observed(kind.element) if kind.element else None
    return replace(kind, element=element, fields=tuple(observed(field) for field in kind.fields))


class Document:
    """An OpenAPI 3.1 document."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content

    def operation(self, path: str, method: str) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = self._content["paths"][path][method]
        except KeyError as missing:
            raise Unmapped(f"The document has no {method.upper()} {path}.") from missing
        return found

    def has(self, path: str, method: str) -> bool:
        return method in self._content["paths"].get(path, {})

    def answer(self, path: str, method: str) -> Mapping[str, Any]:
        """The schema of the operation's 200."""
        return self.resolve(
            self.operation(path, method)["responses"]["200"]["content"]["application/json"]["schema"], path
        )

    def body(self, path: str, method: str = "put") -> Mapping[str, Any]:
        """The schema of a request's body."""
        content = self.operation(path, method)["requestBody"]["content"]
        return self.resolve(content["application/json"]["schema"], path)

    def query(self, path: str) -> list[Field]:
        """The filters of a list; paging is not among them."""
        filters = []
        for parameter in self.operation(path, "get").get("parameters", []):
            name = parameter["name"]
            if parameter["in"] == "query" and name not in ("limit", "marker"):
                schema = parameter["schema"] | {"description": parameter.get("description", "")}
                filters.append(self.field(name, schema, (name,), f"{path}?{name}", required=False))
        return filters

    def resolve(self, schema: Mapping[str, Any], where: str) -> Mapping[str, Any]:
        """The schema itself: what $ref leads to, under what stands beside it."""
        reference = schema.get("$ref")
        if reference is None:
            return schema
        prefix, _, name = reference.rpartition("/")
        schemas = self._content["components"]["schemas"]
        if prefix != "#/components/schemas" or name not in schemas:
            raise Unmapped(f"{where}: {reference} leads nowhere.")
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return {**schemas[name], **beside}

    def fields(self, schema: Mapping[str, Any], where: str) -> list[Field]:
        """The fields of an object; those of its `status` are flattened to its own level."""
        _refuse_unknown(schema, where)
        required = schema.get("required", [])
        found: list[Field] = []
        for name, inner in schema["properties"].items():
            at = f"{where}.{name}"
            if name == "status":
                status = self.resolve(inner, at)
                found += [
                    self.field(part, below, ("status", part), f"{at}.{part}", read_only=True)
                    for part, below in status["properties"].items()
                    if not _omitted(below, f"{at}.{part}")
                ]
            elif not _omitted(inner, at):
                found.append(self.field(name, inner, (name,), at, required=name in required))
        names = [item.name for item in found]
        if twice := {name for name in names if names.count(name) > 1}:
            raise Unmapped(f"{where}: {', '.join(sorted(twice))} stands at the top and under status.")
        return found

    def field(
        self,
        name: str,
        schema: Mapping[str, Any],
        path: tuple[str, ...],
        where: str,
        *,
        required: bool = False,
        read_only: bool = False,
    ) -> Field:
        schema = self._without_null(schema, where)
        kind, nullable = _kind(schema, where)
        found = Field(
            name=name,
            path=path,
            type=self._type(kind, schema, where),
            description=schema.get("description", ""),
            required=required,
            nullable=nullable,
            read_only=read_only or schema.get("readOnly", False),
            write_only=schema.get("writeOnly", False),
            key=schema.get("x-key", False),
            immutable=schema.get("x-immutable", False),
            stable=schema.get("x-stable", False),
            default=schema.get("default", MISSING),
        )
        _refuse_contradictions(found, where)
        return observed(found) if found.read_only else found

    def _without_null(self, schema: Mapping[str, Any], where: str) -> Mapping[str, Any]:
        """`anyOf: [X, null]` as X with a nullable type; every other choice is unmapped."""
        _refuse_unknown(schema, where)
        if "anyOf" in schema:
            choices = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
            if len(choices) != 1 or len(choices) == len(schema["anyOf"]):
                raise Unmapped(f"{where}: anyOf is known only as one schema or null.")
            inner = self.resolve(choices[0], where)
            beside = {key: value for key, value in schema.items() if key != "anyOf"}
            return {**inner, **beside, "type": [inner["type"], "null"]}
        schema = self.resolve(schema, where)
        _refuse_unknown(schema, where)
        return schema

    def _type(self, kind: str, schema: Mapping[str, Any], where: str) -> Type:
        bounds = {word: schema[word] for word in BOUNDS if word in schema}
        if "enum" in bounds:  # that it may be null, its type says
            bounds["enum"] = [choice for choice in bounds["enum"] if choice is not None]
        if kind in SCALARS:
            return Type(kind, bounds=bounds)
        if kind == "array":
            item = self._without_null(schema["items"], f"{where}[]")
            inner, nullable = _kind(item, f"{where}[]")
            if nullable:
                raise Unmapped(f"{where}: elements that may be null have no place in a Terraform list.")
            element = self._type(inner, item, f"{where}[]")
            return Type("set" if schema.get("x-set") else "list", element, bounds=bounds)
        if "properties" in schema:
            return Type("object", fields=tuple(self.fields(schema, where)), bounds=bounds)
        inner_schema = schema.get("additionalProperties")
        if not isinstance(inner_schema, dict):
            raise Unmapped(f"{where}: an object has properties, or additionalProperties with a schema.")
        if set(inner_schema.get("type", ())) == {"string", "number", "boolean"}:
            # Terraform's maps have one element type; the API reads numbers and booleans in strings
            return Type("map", Type("string"), bounds=bounds)
        inner, _ = _kind(inner_schema, f"{where}.*")
        return Type("map", self._type(inner, inner_schema, f"{where}.*"), bounds=bounds)


def _kind(schema: Mapping[str, Any], where: str) -> tuple[str, bool]:
    listed = schema.get("type")
    types = [listed] if isinstance(listed, str) else list(listed or [])
    kinds = [kind for kind in types if kind != "null"]
    if len(kinds) != 1 or kinds[0] not in {*SCALARS, "array", "object"}:
        raise Unmapped(f"{where}: the type {listed!r} is not one that Terraform has.")
    return kinds[0], "null" in types


def _omitted(schema: Mapping[str, Any], where: str) -> bool:
    word = schema.get("x-terraform")
    if word not in (None, "omit"):
        raise Unmapped(f"{where}: x-terraform knows only `omit`, not {word!r}.")
    return word == "omit"


def _refuse_unknown(schema: Mapping[str, Any], where: str) -> None:
    if unknown := sorted(set(schema) - KNOWN):
        raise Unmapped(f"{where}: {', '.join(unknown)} has no mapping.")
    if schema.get("format", "uuid") not in FORMATS:
        raise Unmapped(f"{where}: the format {schema['format']!r} has no mapping.")
    if schema.get("additionalProperties") is True:
        raise Unmapped(f"{where}: additional properties of any kind have no mapping.")


def _refuse_contradictions(found: Field, where: str) -> None:
    if found.read_only and (found.required or found.write_only or found.immutable):
        raise Unmapped(f"{where}: readOnly excludes required, writeOnly and x-immutable.")
    if found.nullable and found.default is not MISSING and found.default is not None:
        raise Unmapped(
            f"{where}: Terraform cannot tell null from left out, so a nullable field's default is null."
        )
    if found.default is None and not found.nullable:
        raise Unmapped(f"{where}: its default is null, which it may not be.")
    if found.required and found.default is not MISSING:
        raise Unmapped(f"{where}: a required field has no default.")
