"""Taking what agents report into the state database. Knows nothing of HTTP."""

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any, Protocol, cast

from sqlalchemy import bindparam, select, update

from control_plane import work
from control_plane.agents import directive, heads
from control_plane.agents.credentials import Gone
from control_plane.agents.heads import Head
from control_plane.database import db, now, read, transaction
from control_plane.databases.models import Database, InstanceObject
from control_plane.events import service as events
from control_plane.instances import service as instances
from control_plane.instances.models import Action, Instance
from control_plane.instances.status import summarise
from control_plane.users.models import User
from guest_agent.protocol import Directive, Outcome, Report

_APART = ("databases", "users", "repairs", "wait")
"""Parts of a report that do not stay with the instance."""
_NO_NEWS = ("run", "sequence")
"""Parts that may differ between two reports that say the same."""
_MIB = 1 << 20
_ACTOR = "agent"
"""Who acts, in events."""

log = logging.getLogger(__name__)


def take(instance_id: str, report: Report) -> int | None:
    """Store a report; writes nothing when it says nothing new. Raises Gone.

    Returns the revision of the row that says the same as the report; None when it came late, or told of
    something that happened once.
    """
    told = _told(instance_id)
    if _late(told, report):
        log.warning(
            "an old report of the agent of instance %s came: %d of its run %r, which was at %d already",
            instance_id,
            report["sequence"],
            report["run"],
            told.report["sequence"],
        )
    if not _news(told, report):
        return None if _late(told, report) else told.revision
    with transaction() as session:
        instance = _get(instance_id, for_update=True)
        late = _late(instance, report)
        if _news(instance, report):
            store(instance, report)
        session.flush()
        return None if late or report["repairs"] else instance.revision


class Told(Protocol):
    """As much of an instance as tells whether a report is news."""

    @property
    def revision(self) -> int: ...
    @property
    def report(self) -> dict[str, Any]: ...
    @property
    def agent_lost(self) -> bool: ...


_INSTANCES = Instance.__table__.c
_TOLD = select(_INSTANCES.revision, _INSTANCES.report, _INSTANCES.agent_lost).where(
    _INSTANCES.id == bindparam("instance_id")
)


def _told(instance_id: str) -> Told:
    rows = read(_TOLD, instance_id=instance_id)
    if not rows:
        raise Gone
    return cast(Told, rows[0])


def head(instance_id: str) -> Head:
    """The head as it is now. Raises Gone."""
    found = heads.find(instance_id)
    if found is None:
        raise Gone
    return found


def desired(instance_id: str, held: str | None) -> Directive | None:
    """The directive, unless the one `held` by the agent is it. Raises Gone."""
    if heads.holds(head(instance_id), held):
        return None  # without loading the whole row: parked agents look often
    try:
        return directive.build(_get(instance_id))
    finally:
        db.session.rollback()


def store(instance: Instance, report: Report) -> None:
    """Make a report with news the newest one, inside a transaction on the instance."""
    for sentence in report["repairs"]:
        events.record("repaired", sentence, instance, actor=_ACTOR)
    was_ready, failure = instance.ready, _failure(instance)
    instance.agent_lost = False
    if not _late(instance, report):
        _adopt(instance, report)
    summarise(instance)
    if (words := _failure(instance)) and words != failure:
        events.record("failure", words, instance, actor=_ACTOR)
    if instance.ready != was_ready:
        work.request(instance.id)  # so that its sentence tells of it
    else:
        work.wake(instance.id)


def _adopt(instance: Instance, report: Report) -> None:
    _outrun(instance, report)
    if instance.report and instance.report.get("abilities", []) != report.get("abilities", []):
        instance.desired_revision += 1  # another agent, which may be asked for more, or for less
    instance.report = kept(report, instance.report)
    instance.converged_revision = min(
        instance.revision_of(report["converged_etag"]), instance.desired_revision
    )
    if instance.converged_revision == instance.desired_revision:
        instance.wanted_by = None
    _settle(instance, report)
    _finish_restart(instance, report["restart_done"])


def _get(instance_id: str, *, for_update: bool = False) -> Instance:
    if for_update:
        instance = instances.hold(instance_id)
    else:
        instance = db.session.get(Instance, instance_id, populate_existing=True)
    if instance is None:
        raise Gone
    return instance


def _news(instance: Instance | Told, report: Report) -> bool:
    if report["repairs"] or instance.agent_lost:
        return True
    return not _late(instance, report) and _said(kept(report, instance.report)) != _said(instance.report)


def _said(stays: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in stays.items() if name not in _NO_NEWS}


def _late(instance: Instance | Told, report: Report) -> bool:
    """Whether a report sent after this one was stored before it."""
    stored = instance.report
    return stored.get("run") == report["run"] and stored.get("sequence", 0) > report["sequence"]


def kept(report: Report, before: Mapping[str, Any]) -> dict[str, Any]:
    """What stays of a report; its outcomes, which go to their rows, only as a digest.

    An engine that is down has the version that it had `before`.
    """
    stays: dict[str, Any] = {name: part for name, part in report.items() if name not in _APART}
    stays["volume_used"] = report["volume_used"] // _MIB * _MIB
    known = before.get("engine", {}).get("version")
    stays["engine"] = {**report["engine"], "version": report["engine"]["version"] or known}
    outcomes = json.dumps([report["databases"], report["users"]], sort_keys=True)
    stays["outcomes"] = hashlib.sha256(outcomes.encode()).hexdigest()
    return stays


def _outrun(instance: Instance, report: Report) -> None:
    """Count on from a directive that this database no longer knows: an older copy was restored."""
    known = max(instance.revision_of(report[key]) for key in ("etag", "converged_etag"))
    if known > instance.desired_revision:
        instance.desired_revision = known + 1
        instance.engine_revision = instance.desired_revision


def _failure(instance: Instance) -> str:
    engine = instance.report.get("engine", {})
    return str(engine.get("message", "")) if engine.get("state") == "failed" else ""


def _settle(instance: Instance, report: Report) -> None:
    """Note on each database and user how far it is."""
    outcomes = {item["id"]: item for item in (*report["databases"], *report["users"])}
    for kind in (Database, User):
        for row in db.session.scalars(select(kind).filter_by(instance_id=instance.id)).all():
            _settle_one(instance, row, outcomes.get(row.id))


def _settle_one(instance: Instance, row: InstanceObject, outcome: Outcome | None) -> None:
    if outcome is None or outcome["generation"] != row.generation:
        return
    if row.deleting and outcome["done"]:
        sentence = f"{row.resource_type.title()} {row.key!r} is dropped."
        if said := outcome["message"]:
            sentence += f" The engine's side of it: {said}"
        events.record("deleted", sentence, row, actor=_ACTOR)
        db.session.delete(row)
        instance.desired_revision += 1
    elif _differs(row, outcome):
        row.observed_generation = outcome["generation"]
        row.applied = outcome["done"]
        row.message = outcome["message"]
        if not row.applied:
            events.record("failure", row.message, row, actor=_ACTOR)


def _differs(row: InstanceObject, outcome: Outcome) -> bool:
    seen = (row.observed_generation, row.applied, row.message)
    return seen != (outcome["generation"], outcome["done"], outcome["message"])


def _finish_restart(instance: Instance, restart_done: str | None) -> None:
    if restart_done is None:
        return
    done = db.session.execute(
        update(Action)
        .where(Action.instance_id == instance.id, Action.id == restart_done)
        .where(Action.phase == "REQUESTED")
        .values(phase="DONE", finished_at=now()),
        execution_options={"synchronize_session": False},
    )
    if done.rowcount:  # type: ignore[attr-defined]
        events.record("action", f"{instance.name!r} was restarted.", instance, actor=_ACTOR)
