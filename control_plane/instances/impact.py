"""What changes do to the engines of instances.

The agent goes by the same facts: guest_agent.protocol.restarting, the catalogue's restart_required,
and restart_policy.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, cast

from control_plane import clouds
from control_plane.agents import directive
from control_plane.configurations.models import ConfigurationGroup
from control_plane.database import db
from control_plane.datastores import catalogue
from control_plane.impact import Effect, Impact
from control_plane.instances.models import Instance
from control_plane.instances.status import pending_changes
from guest_agent.protocol import DesiredEngine, Parameter, restarting

RESTART_SECONDS = 5.0
RESIZE_SECONDS = 120.0
"""Nova shuts the server down, copies its root disk and starts it again, and that starts the engine."""

Former = Mapping[str, Any]
"""The changed columns, as they were before."""


class Verdict(NamedTuple):
    """What one change does to one instance; the fields are those of Impact."""

    effect: Effect
    sentence: str
    interruption: float | None = 0.0


def of_changes(row: Instance, former: Former) -> list[Impact]:
    """One for each changed field of an instance."""
    name = former.get("name", row.name)
    return [
        Impact(path, *verdict, instances=(name,))
        for path, (columns, judge) in _FIELDS.items()
        if columns & former.keys() and (verdict := judge(row, former))
    ]


def of_parameters(
    row: Instance,
    known: Mapping[str, Parameter],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> Verdict:
    """Of another configuration, or of a part of one. `known`: the catalogue."""
    manager = row.datastore_version.datastore.manager
    changed = {
        name
        for name in before.keys() | after.keys()
        if name not in known
        or not catalogue.same_value(manager, known[name], before.get(name), after.get(name))
    }
    if not changed:
        return Verdict("none", "The values mean what they meant before.")
    if not _started(row):
        return _NOT_STARTED
    late = [name for name in _waiting(row, known, before, after) if name in changed]
    if not late:
        return Verdict("online", f"{_listed(changed)}: set while the engine runs.")
    if row.restart_policy == "automatic":
        return _restart(f"{_listed(late)} takes effect at a start")
    return Verdict(
        "online" if changed.difference(late) else "none",
        f"{_listed(late)}: stays pending until a restart, since restart_policy is manual.",
    )


def _waiting(
    row: Instance,
    known: Mapping[str, Parameter],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> list[str]:
    """The parameters that would run with another value than is wanted, until a restart."""
    manager = row.datastore_version.datastore.manager
    running = {item["name"]: item["running"] for item in pending_changes(row)}
    return [
        name
        for name in sorted(before.keys() | after.keys() | running.keys())
        if (entry := known.get(name)) is not None
        and entry["restart_required"]
        and not catalogue.same_value(manager, entry, running.get(name, before.get(name)), after.get(name))
    ]


def _started(row: Instance) -> bool:
    """Whether there is an engine that a change may interrupt."""
    return "server_id" in row.cloud


def _restart(why: str) -> Verdict:
    return Verdict("restart", f"The engine restarts: {why}.", RESTART_SECONDS)


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))


_NOT_STARTED = Verdict("none", "It has not been started yet, and starts that way.")


def _noted(sentence: str) -> "Judge":
    return lambda row, former: Verdict("none", sentence)


def _online(sentence: str) -> "Judge":
    return lambda row, former: Verdict("online", sentence) if _started(row) else _NOT_STARTED


def _flavor(row: Instance, former: Former) -> Verdict:
    if not _started(row):
        return _NOT_STARTED
    if clouds.current().resizes and not _same_flavor(row.flavor, former.get("flavor", row.flavor)):
        return Verdict("resize", "The server is resized; the engine is down meanwhile.", RESIZE_SECONDS)
    now = directive.engine(row)
    before = cast(DesiredEngine, {**now, **{name: former[name] for name in now if name in former}})
    if not (changed := restarting(before, now)):
        return Verdict("online", "The memory and the CPUs stay the same.")
    return _restart(f"{_listed(changed)} of the flavor are read at a start")


def _same_flavor(one: str, other: str) -> bool:
    """By id or name."""
    return any({one, other} <= {each.id, each.name} for each in clouds.current().flavors.flavors())


def _volume(row: Instance, former: Former) -> Verdict:
    if not _started(row):
        return _NOT_STARTED
    if not clouds.current().resizes:
        return Verdict("online", "The volume grows while the engine runs.")
    return Verdict(
        "online",
        "The volume grows while the engine runs where its volume type can do that; where it can't, the"
        " server is stopped while it grows.",
        None,
    )


def _configuration_group(row: Instance, former: Former) -> Verdict:
    before, after = _parameters(row, former)
    return of_parameters(row, catalogue.entries(row.datastore_version), before, after)


def _parameters(row: Instance, former: Former) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Those that it had, and those that it gets."""
    after = row.group.parameters if row.group else {}
    if "configuration_group_id" not in former:
        return after, after
    group = db.session.get(ConfigurationGroup, former["configuration_group_id"] or "")
    return group.parameters if group else {}, after


def _restart_policy(row: Instance, former: Former) -> Verdict:
    if row.restart_policy == "automatic" and _started(row):
        known = catalogue.entries(row.datastore_version)
        if late := _waiting(row, known, *_parameters(row, former)):
            return _restart(f"{_listed(late)} waited for one")
    return Verdict("none", "It decides about changes that need a restart from now on.")


Judge = Callable[[Instance, Former], Verdict]
_FIELDS: dict[str, tuple[set[str], Judge]] = {
    "/name": ({"name"}, _online("It is renamed while the engine runs.")),
    "/version": ({"version"}, _noted("It is the version that runs, named in another way.")),
    "/flavor": ({"flavor", "ram", "vcpus"}, _flavor),
    "/volume/size": ({"volume_size"}, _volume),
    "/access/is_public": (
        {"is_public"},
        _online("Its public address comes or goes, and the endpoint with it; the engine runs on."),
    ),
    "/access/allowed_cidrs": ({"allowed_cidrs"}, _online("The rules for who may connect are changed.")),
    "/configuration_group": ({"configuration_group_id"}, _configuration_group),
    "/restart_policy": ({"restart_policy"}, _restart_policy),
    "/rebuild_policy": ({"rebuild_policy"}, _noted("It decides about servers that are lost from now on.")),
    "/deletion_protection": (
        {"deletion_protection"},
        _noted("It decides whether the instance can be deleted."),
    ),
    "/labels": ({"labels"}, _noted("Labels are for people and filters.")),
}
