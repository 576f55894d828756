"""What the provider offers: the one list that is kept by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from .document import Document, Field, Type, Unmapped, observed

RESOURCES = {
    "datastore": "/v1/datastores/{datastore}",
    "datastore_version": "/v1/datastores/{datastore}/versions/{version}",
    "configuration_group": "/v1/configuration-groups/{group}",
    "instance": "/v1/instances/{instance}",
    "database": "/v1/instances/{instance}/databases/{database}",
    "user": "/v1/instances/{instance}/users/{user}",
}
FITTING = {"flavor": ("/v1/flavors/{flavor}", "/v1/flavors")}
"""Data sources that are read by name, or else are the first of a filtered list."""
LISTS = {
    "flavors": "/v1/flavors",
    "parameters": "/v1/datastores/{datastore}/versions/{version}/parameters",
}
"""Data sources that are a whole list."""
EPHEMERAL = {"user": ("name", "password_wo", "password_wo_version", "deletion_policy", "expires_at")}
"""Resources of which one can live for a run, with the attributes that are not the configuration's then."""
ACTIONS = {"instance": "/v1/instances/{instance}/actions"}
"""Where a resource is told to do something once."""
DESCRIPTIONS = {
    "datastore": "A database engine that can be managed. Written by admins.",
    "datastore_version": "One version of a datastore: its image and its packages. It starts with the"
    " parameter catalogue of the nearest version of the same major number. Written by admins.",
    "configuration_group": "Parameter values that many instances share and are kept in sync with.",
    "instance": "A datastore version that runs, with its volume and its guest agent. Every change is"
    " made in place but for those that say otherwise.",
    "database": "A database inside an instance: what applications connect to. Destroying it drops it"
    " with all that is in it.",
    "user": "A user inside an instance, with its grants.",
    "flavor": "A flavor by its name or id, or the smallest that has at least what is asked for.",
    "flavors": "The flavors that have at least what is asked for, the smallest first.",
    "parameters": "The parameter catalogue of a datastore version: what configuration groups can set.",
}


EPHEMERAL_DESCRIPTIONS = {
    "user": "A user that lives as long as something in a run of Terraform needs it. Its name and its"
    " password are made up anew each time and are in no plan and no state. Whatever becomes of the run, the"
    " control plane drops the user once it has expired.",
}
EFFECTIVE_LABELS = "effective_labels"


@dataclass(frozen=True)
class Offer:
    """A resource, a data source, or both; everything the templates need."""

    type: str
    path: str
    """With attributes' names in braces."""
    parents: tuple[Field, ...]
    key: str
    """Empty for a list."""
    fields: tuple[Field, ...]
    description: str
    waits: bool = False
    list_path: str = ""
    filters: tuple[Field, ...] = ()
    items: str = ""
    include: str = ""
    """The query that reads this resource, or the one `around` it, with all that is inside."""
    around: str = ""
    among: str = ""
    """The list of what is inside that one in which this is."""

    @property
    def package(self) -> str:
        return self.type.replace("_", "")

    @property
    def title(self) -> str:
        return self.type.replace("_", " ")

    @property
    def minutes(self) -> int:
        """Default of the timeouts: for a server to be made, for an engine to act, for a mere row."""
        if self.type == "instance":
            return 30
        return 10 if self.waits else 2

    @property
    def fixed(self) -> list[tuple[str, ...]]:
        """The attributes whose change makes a new resource."""
        return list(_fixed(self.fields))

    @property
    def restarts(self) -> bool:
        """Whether a change may restart engines."""
        return self.type in ("configuration_group", "instance")

    @property
    def events_of(self) -> str:
        """The attribute that names the instance whose events tell of this resource."""
        if self.type == "instance":
            return "id"
        return "instance" if any(parent.name == "instance" for parent in self.parents) else ""


def _fixed(fields: tuple[Field, ...], around: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for field in fields:
        if field.immutable:
            yield (*around, field.name)
        elif field.type.kind == "object":
            yield from _fixed(field.type.fields, (*around, field.name))


@dataclass(frozen=True)
class Action:
    """Something that a resource can be told to do."""

    kind: str
    """Its word in the API."""
    of: Offer
    path: str
    description: str

    @property
    def type(self) -> str:
        return f"{self.of.type}_{self.kind}"

    @property
    def target(self) -> Field:
        """The attribute that names the resource."""
        return replace(_parent(self.of.type), description=f"Name or id of the {self.of.title}.")


def resources(document: Document) -> list[Offer]:
    return [_resource(document, name, path) for name, path in RESOURCES.items()]


def data_sources(document: Document) -> list[Offer]:
    found = [replace(offer, fields=_visible(offer.fields), filters=()) for offer in resources(document)]
    found += [_fitting(document, name, *paths) for name, paths in FITTING.items()]
    found += [_list(document, name, path) for name, path in LISTS.items()]
    return found


def ephemeral(document: Document) -> list[Offer]:
    """Resources that live for a run, with those fields that the configuration has."""
    return [
        replace(
            offer,
            fields=tuple(
                field
                for field in offer.fields
                if not field.read_only and field.name not in EPHEMERAL[offer.type]
            ),
            description=EPHEMERAL_DESCRIPTIONS[offer.type],
        )
        for offer in resources(document)
        if offer.type in EPHEMERAL
    ]


def actions(document: Document) -> list[Action]:
    offers = {offer.type: offer for offer in resources(document)}
    return [
        Action(kind, offers[name], path, description)
        for name, path in ACTIONS.items()
        for kind, description in _kinds(document, path).items()
    ]


def _kinds(document: Document, path: str) -> dict[str, str]:
    """What can be done, with what it does."""
    properties = document.body(path, "post")["properties"]
    if set(properties) != {"type"}:
        raise Unmapped(f"{path}: an action has a type and nothing else.")
    kinds, said = properties["type"]["enum"], properties["type"].get("x-enumDescriptions", {})
    if set(kinds) != set(said):
        raise Unmapped(f"{path}: x-enumDescriptions says what each type of action does.")
    return {kind: said[kind] for kind in kinds}


def _resource(document: Document, name: str, path: str) -> Offer:
    schema = document.answer(path, "get")
    if document.body(path) != schema:
        raise Unmapped(f"{path}: a PUT takes another schema than a GET answers with.")
    document.operation(path, "delete")
    fields = document.fields(schema, name)
    key = _key(fields, path)
    shown, parents = _attributes_in(path, key.name)
    around, _, among = path.rpartition("/")[0].rpartition("/")
    include = _include(document, around)
    return Offer(
        type=name,
        path=shown,
        parents=parents,
        key=key.name,
        include=include or _include(document, path),
        around=around if include else "",
        among=among if include else "",
        fields=tuple(_labelled(_renamed(fields, name))),
        description=DESCRIPTIONS[name],
        waits=any(field.path == ("status", "ready") for field in fields),
        filters=tuple(document.query(path.rpartition("/")[0])),
    )


def _include(document: Document, path: str) -> str:
    """The query that reads the resource at `path` with all that is inside it; empty if there is none."""
    if not document.has(path, "get"):
        return ""
    if not any(field.name == "include" for field in document.query(path)):
        return ""
    properties = document.answer(path, "get")["properties"]
    return "include=" + ",".join(name for name in properties if document.has(f"{path}/{name}", "get"))


def _fitting(document: Document, name: str, path: str, list_path: str) -> Offer:
    schema = document.answer(path, "get")
    fields = document.fields(schema, name)
    key = _key(fields, path)
    shown, parents = _attributes_in(path, key.name)
    return Offer(
        type=name,
        path=shown,
        parents=parents,
        key=key.name,
        fields=_visible(fields),
        description=DESCRIPTIONS[name],
        list_path=list_path,
        filters=tuple(document.query(list_path)),
    )


def _list(document: Document, name: str, path: str) -> Offer:
    page = document.answer(path, "get")
    items = document.field(name, page["properties"]["items"], (name,), name, read_only=True)
    shown, parents = _attributes_in(path, "")
    return Offer(
        type=name,
        path=shown,
        parents=parents,
        key="",
        fields=(items,),
        description=DESCRIPTIONS[name],
        list_path=shown,
        filters=tuple(document.query(path)),
        items=name,
    )


def _key(fields: list[Field], path: str) -> Field:
    keys = [field for field in fields if field.key]
    if len(keys) != 1:
        raise Unmapped(f"{path}: one field has x-key, not {len(keys)}.")
    return keys[0]


def _attributes_in(path: str, key: str) -> tuple[str, tuple[Field, ...]]:
    """The path with its last placeholder named as the key is, and the parents before it."""
    names = re.findall(r"{(\w+)}", path)
    if key:
        path = path.replace("{" + names.pop() + "}", "{" + key + "}")
    return path, tuple(_parent(name) for name in names)


def _parent(name: str) -> Field:
    return Field(
        name=name,
        path=(),
        type=Type("string"),
        description=f"Name or id of the {name} that it belongs to. An id survives a change of the name.",
        required=True,
    )


def _visible(fields: list[Field] | tuple[Field, ...]) -> tuple[Field, ...]:
    """Fields as a data source shows them: all of them read, none of them secret, none of them twice."""
    wholes = {field.whole for field in fields}
    shown = [field for field in fields if not field.write_only and field.name not in wholes]
    return tuple(observed(replace(field, whole="", stable=False)) for field in shown)


def _labelled(fields: list[Field]) -> list[Field]:
    """Beside `labels` those that the resource really has (docs/decisions/0013-default-labels.md)."""
    found = []
    for field in fields:
        if field.name != "labels":
            found.append(field)
            continue
        every = "All its labels: `default_labels` of the provider block, and over them `labels`."
        found.append(replace(field, whole=EFFECTIVE_LABELS))
        found.append(replace(observed(field), name=EFFECTIVE_LABELS, description=every))
    return found


def _renamed(fields: list[Field], where: str) -> list[Field]:
    """A secret becomes `_wo`, with the version that says when it is another one."""
    secrets = {field.name for field in fields if field.write_only}
    versions = {f"{name}_version" for name in secrets}
    if missing := versions - {field.name for field in fields}:
        raise Unmapped(f"{where}: a writeOnly field needs its version beside it: {', '.join(missing)}.")
    return [
        replace(field, name=f"{field.name}_wo")
        if field.name in secrets
        else replace(field, name=field.name.removesuffix("_version") + "_wo_version")
        if field.name in versions
        else field
        for field in fields
    ]
