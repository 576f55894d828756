"""What changes of a configuration group do to the instances attached to it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from control_plane.configurations.models import ConfigurationGroup
from control_plane.datastores import catalogue
from control_plane.errors import pointer
from control_plane.impact import Impact, touches_nothing
from control_plane.instances import impact
from control_plane.instances.models import Instance

_NOTED = {
    "name": "It is renamed, also where instances show it.",
    "version": "It is the version that the group is for, named in another way.",
    "description": "The description is for people.",
}


def of_changes(
    row: ConfigurationGroup, former: Mapping[str, Any], attached: Sequence[Instance]
) -> Iterator[Impact]:
    """For each changed field and parameter, one for each different effect. `former`: as they were."""
    for column, sentence in _NOTED.items():
        if column in former:
            yield touches_nothing(sentence, f"/{column}")
    before, after = former.get("parameters", row.parameters), row.parameters
    known = catalogue.entries(row.datastore_version)
    for name in sorted(before.keys() | after.keys()):
        if not _written_alike(before, after, name):
            yield from _of_parameter(name, _only(before, name), _only(after, name), known, attached)


def _of_parameter(
    name: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    known: Mapping[str, Any],
    attached: Sequence[Instance],
) -> Iterator[Impact]:
    path = pointer("parameters", name)
    if not attached:
        yield touches_nothing("No instance is attached.", path)
    verdicts: dict[impact.Verdict, list[str]] = {}
    for instance in attached:
        verdict = impact.of_parameters(instance, known, before, after)
        verdicts.setdefault(verdict, []).append(instance.name)
    for verdict, names in verdicts.items():
        yield Impact(path, *verdict, instances=tuple(names))


def _written_alike(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> bool:
    return name in before and name in after and before[name] == after[name]


def _only(parameters: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {name: parameters[name]} if name in parameters else {}
