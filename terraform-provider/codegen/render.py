"""Renders the provider's generated files."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2

from . import go, offer
from .document import MISSING, Document, Field, Unmapped
from .offer import Action, Offer

SCHEMA = "github.com/hashicorp/terraform-plugin-framework/{}/schema"
OWN = "github.com/coffret/terraform-provider-coffret/internal/service/{}"


def files(content: Mapping[str, Any]) -> dict[Path, str]:
    """The generated files, relative to the provider's folder. Raises Unmapped."""
    document = Document(content)
    resources, sources = offer.resources(document), offer.data_sources(document)
    ephemeral, actions = offer.ephemeral(document), offer.actions(document)
    made: dict[Path, str] = {}
    for item in resources:
        made[_service(item, "resource")] = _resource(item)
        made |= _examples(item)
    for item in sources:
        made[_service(item, "data_source")] = _data_source(item)
    for item in ephemeral:
        made[_service(item, "ephemeral")] = _ephemeral(item)
    for item in resources:
        if mine := [action for action in actions if action.of.type == item.type]:
            made[_service(item, "actions")] = _actions(item, mine)
    packages = {item.package: OWN.format(item.package) for item in (*resources, *sources)}
    registry = _render(
        "registry.go.j2", resources=resources, data_sources=sources, ephemeral=ephemeral, actions=actions
    )
    made[Path("internal/provider/zz_registry.go")] = _go("provider", "", registry, packages)
    return made


def _service(item: Offer, what: str) -> Path:
    return Path("internal/service") / item.package / f"zz_{what}.go"


def _resource(item: Offer) -> str:
    body = _render("resource.go.j2", offer=item, resource=True)
    about = f"Package {item.package} declares coffret_{item.type}."
    return _go(item.package, about, body, {"schema": SCHEMA.format("resource")})


def _data_source(item: Offer) -> str:
    body = _render("data_source.go.j2", offer=item, resource=False, shown=_shown(item))
    about = (
        f"Package {item.package} declares the data source coffret_{item.type}." if item.list_path else ""
    )
    return _go(item.package, about, body, {"schema": SCHEMA.format("datasource")})


def _ephemeral(item: Offer) -> str:
    body = _render("ephemeral.go.j2", offer=item, resource=False)
    return _go(item.package, "", body, {"schema": SCHEMA.format("ephemeral")})


def _actions(item: Offer, actions: list[Action]) -> str:
    body = _render("actions.go.j2", actions=actions, offer=item, resource=False)
    return _go(item.package, "", body, {"schema": SCHEMA.format("action")})


def _shown(item: Offer) -> list[Field]:
    """A data source's attributes: what finds it, then what is found."""
    finders = {field.name: field for field in item.filters}
    fields = [field for field in item.fields if field.name not in finders]
    fields = [replace(field, read_only=not field.key) for field in fields]
    return [*item.parents, *finders.values(), *fields]


def _fact(field: Field) -> str:
    parts = [f"Attr: {go.quoted(field.name)}"]
    parts.append(f"JSON: []string{{{', '.join(go.quoted(step) for step in field.path)}}}")
    if field.stable:
        parts.append("Stable: true")
    if field.write_only:
        parts.append(f"SecretOf: {go.quoted(field.name + '_version')}")
    elif field.whole:
        parts.append(f"Whole: {go.quoted(field.whole)}")
    elif field.name == offer.EFFECTIVE_LABELS or not (field.read_only or (field.key and field.immutable)):
        parts.append("Sent: true")
    if field.type.kind == "object":
        parts.append("Object: true")
    if field.type.kind == "map":
        parts.append("Map: true")
    return f"{{{', '.join(parts)}}}"


def _list_filter(field: Field) -> str:
    repeated = field.type.kind == "list"
    if field.type.kind != "string" and not (repeated and field.type.inner.kind == "string"):
        raise Unmapped(f"{field.name}: a list is filtered by strings.")
    parts = [f"Name: {go.quoted(field.name)}", f"Description: {go.quoted(field.description)}"]
    return f"{{{', '.join([*parts, 'Repeated: true'] if repeated else parts)}}}"


def _has_default(field: Field, where: str) -> bool:
    if field.default is MISSING and not field.nullable and not field.write_only:
        raise Unmapped(f"{where}: it is optional and not nullable, so it needs a default.")
    return field.default is not MISSING and field.default is not None


def _examples(item: Offer) -> dict[Path, str]:
    """How it is imported, and listed."""
    parents = {parent.name: EXAMPLE_NAMES[parent.name] for parent in item.parents}
    names = parents | {item.key: EXAMPLE_NAMES[item.type]}
    made = {
        f"resources/coffret_{item.type}/import.sh": "import.sh.j2",
        f"resources/coffret_{item.type}/import-by-string-id.tf": "import_by_id.tf.j2",
        f"resources/coffret_{item.type}/import-by-identity.tf": "import_by_identity.tf.j2",
        f"list-resources/coffret_{item.type}/list-resource.tfquery.hcl": "list.tfquery.hcl.j2",
    }
    return {
        Path("examples") / path: _render(template, offer=item, parents=parents, names=names)
        for path, template in made.items()
    }


EXAMPLE_NAMES = {
    "datastore": "postgresql",
    "datastore_version": "18",
    "configuration_group": "orders-settings",
    "instance": "orders-db",
    "database": "orders",
    "user": "app",
}

_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701 - Go source, not HTML
)
_environment.filters["quoted"] = go.quoted
_environment.globals.update(
    attribute_type=go.attribute_type,
    default=go.default,
    description=go.description,
    fact=_fact,
    go_names=go.NAMES,
    has_default=_has_default,
    list_filter=_list_filter,
    plan_modifiers=go.plan_modifiers,
    validators=go.validators,
)


def _render(template: str, **values: Any) -> str:
    return _environment.get_template(template).render(**values)


def _go(package: str, about: str, body: str, more: Mapping[str, str]) -> str:
    imports = go.imports(body, more)
    code = _render("file.go.j2", package=package, about=about, imports=imports, body=body)
    return subprocess.run(["gofmt"], input=code, capture_output=True, check=True, text=True).stdout
