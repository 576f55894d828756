"""What an instance's state is, said from what is wanted and what is seen. No writes, no calls."""

from dataclasses import dataclass
from typing import Any

from control_plane.database import now
from control_plane.datastores.managers import MANAGERS
from control_plane.instances.models import Instance


@dataclass(frozen=True)
class Condition:
    type: str
    holds: bool
    reason: str
    message: str = ""


def summarise(instance: Instance) -> None:
    """Derive phase, operating_status, ready, observed_generation, conditions and message.

    Every writer of an instance calls it before it commits.
    """
    conditions = _conditions(instance)
    failed = [item for item in conditions if not item.holds]
    instance.ready = not failed and not instance.deleting
    instance.message = next((item.message for item in failed if item.message), "")
    if _cloud_done(instance) and _engine_done(instance):
        instance.observed_generation = instance.generation
    instance.phase = _phase(instance)
    instance.operating_status = _operating_status(instance)
    summary = Condition(
        "Ready", instance.ready, failed[0].reason if failed else "AsWanted", instance.message
    )
    before = {item["type"]: item for item in instance.conditions or []}
    instance.conditions = [_dump(item, instance, before.get(item.type)) for item in (*conditions, summary)]


def settled(instance: Instance) -> bool:
    """Whether waiting longer is of no use: as wanted, or in an error that needs another desire."""
    return instance.ready or instance.phase == "ERROR"


def restart_required(instance: Instance) -> bool:
    return bool(pending_changes(instance))


def in_sync(instance: Instance) -> bool:
    """Whether the engine has taken the configuration, but for what waits for a restart."""
    return _engine_done(instance) and not instance.report.get("configuration", {}).get("errors")


def pending_changes(instance: Instance) -> list[dict[str, Any]]:
    """Parameters that take a restart to become what is wanted: name, running, desired."""
    return list(instance.report.get("configuration", {}).get("pending_restart", []))


def connection_uri(instance: Instance, database: str, user: str | None = None) -> str | None:
    """URI without a password; None until the cloud has given an address."""
    if "port" not in instance.cloud:
        return None
    manager = MANAGERS[instance.datastore_version.datastore.manager]
    return manager.uri(instance.cloud["host"], instance.cloud["port"], database, user)


def endpoints(instance: Instance) -> list[dict[str, Any]]:
    """Where clients connect; empty until the cloud has given an address."""
    if (uri := connection_uri(instance, "")) is None:
        return []
    place = {"host": instance.cloud["host"], "port": instance.cloud["port"]}
    return [{"name": "primary", **place, "uri": uri.rstrip("/")}]


def shown(instance: Instance) -> dict[str, Any]:
    """The status object of the API."""
    engine = instance.report.get("engine", {})
    return {
        "phase": instance.phase,
        "operating_status": instance.operating_status,
        "ready": instance.ready,
        "reconciling": not settled(instance),
        "observed_generation": instance.observed_generation,
        "message": instance.message,
        "conditions": instance.conditions,
        "datastore_version": instance.datastore_version.name,
        "engine_version": engine.get("version"),
        "endpoints": endpoints(instance),
        "pending_changes": pending_changes(instance),
        "restart_required": restart_required(instance),
        "volume_used": instance.report.get("volume_used"),
    }


def _cloud_done(instance: Instance) -> bool:
    as_asked = instance.rebuild == instance.cloud.get("rebuild")
    is_there = "server_id" in instance.cloud  # reconcile takes it out once the server has vanished
    return instance.cloud_generation == instance.generation and as_asked and is_there


def _engine_done(instance: Instance) -> bool:
    return instance.converged_revision >= instance.engine_revision


def _engine_told(instance: Instance) -> bool:
    """Whether the agent's report is about what is wanted now; an older error may be mended already."""
    return instance.revision_of(instance.report.get("etag")) >= instance.engine_revision


def _conditions(instance: Instance) -> list[Condition]:
    engine = instance.report.get("engine", {})
    configuration = instance.report.get("configuration", {})
    refused = configuration.get("errors", {})
    state = engine.get("state", "preparing")
    cloud_message = instance.cloud_message
    return [
        Condition(
            "CloudReady",
            _cloud_done(instance) and not cloud_message,
            ("Refused" if instance.cloud_failed else "Retrying") if cloud_message else
            ("AsWanted" if _cloud_done(instance) else "Working"),
            cloud_message,
        ),
        Condition(
            "AgentConnected",
            bool(instance.report) and not instance.agent_lost,
            "Lost" if instance.agent_lost else "Connected" if instance.report else "Waiting",
            "The guest agent has not been heard of for a minute." if instance.agent_lost else "",
        ),
        Condition(
            "EngineRunning", state == "running", state.capitalize(), engine.get("message", "")
        ),
        Condition(
            "ConfigurationApplied",
            _engine_done(instance) and not refused,
            "Refused" if refused else "Applied" if _engine_done(instance) else "Working",
            "; ".join(f"{name}: {reason}" for name, reason in sorted(refused.items())),
        ),
    ]  # fmt: skip


def _phase(instance: Instance) -> str:
    """Trove's status words."""
    engine = instance.report.get("engine", {})
    configuration = instance.report.get("configuration", {})
    if instance.deleting:
        return "SHUTDOWN"
    if instance.cloud_failed or (engine.get("state") == "failed" and _engine_told(instance)):
        return "ERROR"
    if configuration.get("errors") and _engine_done(instance):
        return "ERROR"
    if instance.observed_generation == 0 or not instance.report:
        return "BUILD"
    if instance.restart and instance.report.get("restart_done") != instance.restart:
        return "REBOOT"
    if instance.cloud.get("flavor") != instance.flavor or (
        not _engine_done(instance) and engine.get("state") != "running"
    ):
        return "RESIZE"
    return "RESTART_REQUIRED" if restart_required(instance) else "ACTIVE"


def _operating_status(instance: Instance) -> str:
    state = instance.report.get("engine", {}).get("state")
    if instance.deleting:
        return "SHUTDOWN"
    if instance.agent_lost:
        return "ERROR"
    words = {
        None: "NEW",
        "preparing": "BUILD",
        "starting": "RESTARTING",
        "running": "HEALTHY",
        "stopped": "SHUTDOWN",
        "failed": "FAILED",
    }
    word = words.get(state, "ERROR")
    return "RESTART_REQUIRED" if word == "HEALTHY" and restart_required(instance) else word


def _dump(item: Condition, instance: Instance, before: dict[str, Any] | None) -> dict[str, Any]:
    status = "True" if item.holds else "False"
    same = before is not None and before["status"] == status
    return {
        "type": item.type,
        "status": status,
        "reason": item.reason,
        "message": item.message,
        "last_transition_time": before["last_transition_time"]
        if same and before
        else now().isoformat(timespec="milliseconds"),
        "observed_generation": instance.observed_generation,
    }
