"""What an instance's state is, from what is wanted and what is seen."""

from typing import Any

import pytest

from control_plane.datastores.models import Datastore, DatastoreVersion
from control_plane.instances.models import Instance
from control_plane.instances.status import in_sync, pending_changes, settled, shown, summarise

ID = "0f8fad5b-d9cd-469f-a165-70867728950e"
PENDING = [{"name": "max_connections", "running": "100", "desired": "200"}]


def report(revision: int = 1, state: str = "running", message: str = "", **more: Any) -> dict[str, Any]:
    configuration = {"in_sync": True, "pending_restart": [], "errors": {}} | more.pop("configuration", {})
    engine = {"state": state, "version": "18.6", "started_at": None, "restarts": 0, "message": message}
    return {"etag": f"{ID}-{revision}", "engine": engine, "configuration": configuration, **more}


def instance(**columns: Any) -> Instance:
    """One that is as wanted, but for `columns`."""
    datastore = Datastore(name="postgresql", manager="postgresql")
    row = Instance(
        **{
            "id": ID,
            "name": "orders",
            "generation": 1,
            "flavor": "db.small",
            "deleting": False,
            "restart": None,
            "desired_revision": 1,
            "engine_revision": 1,
            "converged_revision": 1,
            "cloud": {"server_id": "one", "flavor": "db.small", "host": "127.0.0.1", "port": 5432},
            "cloud_generation": 1,
            "cloud_message": "",
            "cloud_failed": False,
            "report": report(),
            "agent_lost": False,
            "observed_generation": 0,
            "conditions": [],
            "datastore_version": DatastoreVersion(name="18", datastore=datastore),
        }
        | columns
    )
    summarise(row)
    return row


def conditions(row: Instance) -> dict[str, tuple[str, str]]:
    return {item["type"]: (item["status"], item["reason"]) for item in row.conditions}


def test_an_instance_that_is_as_wanted_is_active() -> None:
    row = instance()
    assert (row.phase, row.operating_status, row.ready, row.message) == ("ACTIVE", "HEALTHY", True, "")
    assert row.observed_generation == row.generation
    assert settled(row)
    assert set(conditions(row).values()) == {
        ("True", "AsWanted"), ("True", "Connected"), ("True", "Running"), ("True", "Applied"),
    }  # fmt: skip


def test_a_new_instance_is_being_built() -> None:
    row = instance(cloud={}, cloud_generation=0, report={}, converged_revision=0)
    assert (row.phase, row.operating_status, row.ready) == ("BUILD", "NEW", False)
    assert not settled(row)
    assert shown(row)["endpoints"] == []


@pytest.mark.parametrize("state", ["preparing", "starting"])
def test_an_instance_whose_engine_is_not_there_yet_is_being_built(state: str) -> None:
    row = instance(report=report(state=state), converged_revision=0)
    assert row.phase == "BUILD"
    assert not row.ready


def test_what_waits_for_a_restart_is_said_and_is_no_error() -> None:
    row = instance(report=report(configuration={"pending_restart": PENDING}))
    assert (row.phase, row.operating_status) == ("RESTART_REQUIRED", "RESTART_REQUIRED")
    assert pending_changes(row) == PENDING
    assert shown(row)["restart_required"] is True
    assert row.ready
    assert in_sync(row)
    assert settled(row)


def test_an_engine_that_cannot_start_is_an_error_in_its_own_words() -> None:
    words = "FATAL: could not map anonymous shared memory: Cannot allocate memory"
    row = instance(report=report(state="failed", message=words), converged_revision=0)
    assert (row.phase, row.operating_status, row.ready) == ("ERROR", "FAILED", False)
    assert row.message == words
    assert settled(row)
    assert conditions(row)["EngineRunning"] == ("False", "Failed")


def test_an_error_of_an_older_wish_is_not_settled() -> None:
    row = instance(
        report=report(revision=1, state="failed", message="FATAL"),
        desired_revision=2,
        engine_revision=2,
        converged_revision=0,
        generation=2,
        cloud_generation=2,
        observed_generation=1,
    )
    assert row.phase != "ERROR"
    assert not settled(row)
    row.report = report(revision=2, state="failed", message="FATAL again")
    summarise(row)
    assert row.phase == "ERROR"
    assert settled(row)


def test_a_new_database_does_not_hide_the_engines_error() -> None:
    row = instance(
        report=report(revision=1, state="failed", message="FATAL"), desired_revision=2, converged_revision=0
    )
    assert row.phase == "ERROR"


def test_a_parameter_that_the_engine_refuses_is_an_error() -> None:
    row = instance(report=report(configuration={"in_sync": False, "errors": {"work_mem": "too small"}}))
    assert row.phase == "ERROR"
    assert row.message == "work_mem: too small"
    assert not in_sync(row)
    assert settled(row)


def test_a_refused_parameter_that_was_changed_since_is_not_settled() -> None:
    row = instance(
        report=report(configuration={"errors": {"work_mem": "too small"}}),
        desired_revision=2,
        engine_revision=2,
    )
    assert row.phase != "ERROR"
    assert not settled(row)


def test_a_cloud_that_refuses_is_an_error() -> None:
    row = instance(cloud_generation=0, cloud_failed=True, cloud_message="The image is gone.")
    assert (row.phase, row.message) == ("ERROR", "The image is gone.")
    assert conditions(row)["CloudReady"] == ("False", "Refused")
    assert settled(row)


def test_a_cloud_that_fails_for_a_while_is_said_but_not_settled() -> None:
    row = instance(cloud_generation=0, cloud_message="The volume service is down.")
    assert row.phase != "ERROR"
    assert row.message == "The volume service is down."
    assert conditions(row)["CloudReady"] == ("False", "Retrying")
    assert not settled(row)


def test_a_restart_under_way_is_a_reboot() -> None:
    row = instance(restart="r1", desired_revision=2, engine_revision=2)
    row.observed_generation = 1
    summarise(row)
    assert row.phase == "REBOOT"
    assert not row.ready
    row.report = report(revision=2, restart_done="r1")
    row.converged_revision = 2
    summarise(row)
    assert row.phase == "ACTIVE"


def test_another_flavor_is_a_resize() -> None:
    row = instance(
        flavor="db.large", generation=2, desired_revision=2, engine_revision=2, observed_generation=1
    )
    assert row.phase == "RESIZE"
    assert not row.ready
    assert not settled(row)
    assert row.observed_generation == 1


def test_what_is_deleted_is_shutting_down_whatever_else_holds() -> None:
    for more in ({}, {"cloud_failed": True, "cloud_message": "No."}, {"report": report(state="failed")}):
        row = instance(deleting=True, **more)
        assert (row.phase, row.operating_status, row.ready) == ("SHUTDOWN", "SHUTDOWN", False)
        assert not settled(row)


def test_an_agent_that_fell_silent_is_said() -> None:
    row = instance(agent_lost=True)
    assert (row.operating_status, row.ready) == ("ERROR", False)
    assert "not been heard of" in row.message
    assert conditions(row)["AgentConnected"] == ("False", "Lost")


def test_an_engine_that_stopped_is_not_ready() -> None:
    row = instance(report=report(state="stopped"))
    assert (row.operating_status, row.ready) == ("SHUTDOWN", False)


def test_a_condition_keeps_the_time_since_when_it_holds() -> None:
    row = instance()
    before = {item["type"]: item["last_transition_time"] for item in row.conditions}
    row.conditions = [{**item, "last_transition_time": "2020-01-01T00:00:00"} for item in row.conditions]
    row.agent_lost = True
    summarise(row)
    after = {item["type"]: item["last_transition_time"] for item in row.conditions}
    assert after["CloudReady"] == "2020-01-01T00:00:00"
    assert after["AgentConnected"] >= before["AgentConnected"]
    assert after["Ready"] >= before["Ready"]


def test_an_instance_says_where_clients_connect() -> None:
    row = instance(cloud={"server_id": "one", "flavor": "db.small", "host": "2001:db8::1", "port": 5432})
    assert shown(row)["endpoints"] == [
        {"name": "primary", "host": "2001:db8::1", "port": 5432, "uri": "postgresql://[2001:db8::1]:5432"}
    ]


def test_without_its_server_an_instance_is_not_ready() -> None:
    row = instance(cloud={"flavor": "db.small", "host": "127.0.0.1", "port": 5432})
    assert not row.ready
    assert conditions(row)["CloudReady"] == ("False", "Working")
