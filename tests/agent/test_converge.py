"""One pass after another over an engine, without a control plane."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine, database, directive, user

from guest_agent import settings
from guest_agent.converge import Converger
from guest_agent.engines.base import EngineError
from guest_agent.protocol import Report
from guest_agent.state import StateFile


class Guest:
    """A converger, its engine, and what it said."""

    def __init__(self, home: Path) -> None:
        name = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.home = home
        self.engine = FakeEngine(
            settings.engine_home(home / "data", home / "run", None, settings.account(name))
        )
        self.told: list[Report] = []
        self.start_anew()

    def start_anew(self) -> None:
        """As after the agent was killed."""
        self.state = StateFile(self.home)
        self.converger = Converger(self.engine, self.state, self.told.append)

    def run(self, wanted: dict[str, Any]) -> Report:
        self.told.clear()
        self.converger.run(wanted)  # type: ignore[arg-type]
        return self.told[-1]

    @property
    def starts(self) -> list[int]:
        return self.engine.contents["starts"]

    @property
    def repairs(self) -> list[str]:
        return [sentence for report in self.told for sentence in report["repairs"]]


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    guest = Guest(tmp_path)
    yield guest
    guest.engine.stop()


def test_a_pass_starts_the_engine_and_makes_owners_databases_and_grants(guest: Guest) -> None:
    report = guest.run(
        directive(
            "a",
            databases=[database("app", owner="ada", generation=7)],
            users=[user("ada", grants=[{"privileges": ["ALL"], "database": "app"}])],
        )
    )
    states = dict.fromkeys(said["engine"]["state"] for said in guest.told)
    assert list(states) == ["preparing", "starting", "running"]
    assert report["engine"]["version"] == "1.2"
    assert report["engine"]["restarts"] == 1
    assert report["engine"]["started_at"]
    assert report["converged_etag"] == "a"
    assert report["databases"] == [{"id": "app", "generation": 7, "done": True, "message": ""}]
    assert report["users"][0]["done"]
    assert report["users"][0]["id"] == "ada"
    assert report["seen_databases"][0]["owner"] == "ada"
    assert report["seen_users"][0]["grants"][0]["database"] == "app"
    assert report["volume_used"] > 0
    assert report["repairs"] == []


def test_drops_come_last_and_gone_objects_are_done(guest: Guest) -> None:
    guest.run(directive("a", databases=[database("app", owner="ada")], users=[user("ada")]))
    report = guest.run(
        directive(
            "b",
            databases=[database("app", owner="ada", state="absent", generation=2)],
            users=[user("ada", state="absent"), user("never", state="absent")],
        )
    )
    assert report["databases"] == [
        {"id": "app", "generation": 2, "done": True, "message": "Dropped database app."}
    ]
    assert [outcome["done"] for outcome in report["users"]] == [True, True]
    assert [outcome["message"] for outcome in report["users"]] == ["Dropped user ada@%.", ""]
    assert report["seen_databases"] == report["seen_users"] == []


def test_the_failure_of_one_object_does_not_stop_the_others(guest: Guest) -> None:
    report = guest.run(
        directive(
            "a",
            databases=[database("refused"), database("buggy"), database("good")],
            users=[user("refused_too"), user("ada")],
        )
    )
    assert [(o["id"], o["done"]) for o in report["databases"]] == [
        ("refused", False),
        ("buggy", False),
        ("good", True),
    ]
    assert report["databases"][0]["message"] == "refused is refused; take another name."
    assert "KeyError" in report["databases"][1]["message"]
    assert [o["done"] for o in report["users"]] == [False, True]
    assert report["converged_etag"] == "a"
    assert report["engine"]["state"] == "running"


def test_no_verifier_is_said_or_logged(guest: Guest, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    report = guest.run(directive("a", users=[user("refused", verifier="s3cret"), user("ada")]))
    assert report["users"][0]["message"] == "syntax error near …"
    assert "s3cret" not in str(report)
    assert "verifier-of-ada" not in str(report)
    assert "s3cret" not in caplog.text
    assert "verifier-of-ada" not in caplog.text
    assert "Set the password of ada@%." in caplog.text


def test_a_drop_goes_by_the_users_policy_and_says_what_it_did(guest: Guest) -> None:
    policies = {"maker": "refuse", "makers": "reassign", "ada": "refuse"}
    guest.run(directive("a", users=[user(name) for name in policies]))
    going = [user(name, state="absent", deletion_policy=policy) for name, policy in policies.items()]
    outcomes = guest.run(directive("b", users=going))["users"]
    assert [(each["done"], each["message"]) for each in outcomes] == [
        (False, "maker owns things"),
        (True, "Dropped user makers@%."),
        (True, "Dropped user ada@%."),
    ]
    assert list(guest.engine.contents["users"]) == ["maker@%"]


def test_an_engine_that_does_not_start_says_its_last_words(guest: Guest) -> None:
    report = guest.run(directive("a", parameters={"crash": "1"}))
    assert report["engine"]["state"] == "failed"
    assert report["engine"]["message"] == "FATAL: crash is set"
    assert report["converged_etag"] is None
    report = guest.run(directive("b"))
    assert report["engine"]["state"] == "running"
    assert report["engine"]["message"] == ""


def test_an_engine_that_dies_in_a_pass_fails_the_pass_not_each_object(guest: Guest) -> None:
    wanted = directive("a", databases=[database("one"), database("two")])
    guest.run(wanted)

    def die(_: Any) -> str | None:
        guest.engine.stop()
        raise EngineError("server closed the connection")

    guest.engine.ensure_database = die  # type: ignore[method-assign]
    report = guest.run(wanted)
    assert report["engine"]["state"] == "failed"
    assert [outcome["done"] for outcome in report["databases"]] == [True, True]


def test_drift_is_repaired_and_reported_once(guest: Guest) -> None:
    wanted = directive(
        "a",
        parameters={"work": "4"},
        databases=[database("app")],
        users=[user("ada", grants=[{"privileges": ["ALL"], "database": "app"}])],
    )
    guest.run(wanted)
    users = guest.engine.contents["users"]
    users["ada@%"]["grants"] = []
    guest.engine.write(databases={"by_hand": None}, users=users, running={"work": "5"})
    report = guest.run(wanted)
    assert sorted(guest.repairs) == [
        "Created database app.",
        "Set parameter ram right.",
        "Set parameter work right.",
        "Set the grants of ada@%.",
    ]
    assert {seen["name"] for seen in report["seen_databases"]} == {"by_hand", "app"}
    assert guest.run(wanted)["converged_etag"] == "a"
    assert guest.repairs == []


def test_drift_that_came_while_no_agent_ran_is_drift_too(guest: Guest) -> None:
    wanted = directive("a", databases=[database("app")])
    guest.run(wanted)
    guest.start_anew()
    guest.engine.write(databases={})
    guest.run(wanted)
    assert guest.repairs == ["Created database app."]


def test_what_a_new_directive_asks_for_is_no_drift(guest: Guest) -> None:
    guest.run(directive("a", databases=[database("refused")]))
    guest.run(directive("b", parameters={"work": "5"}, databases=[database("app")]))
    assert guest.repairs == []


def test_an_object_that_failed_before_and_works_now_is_no_drift(guest: Guest) -> None:
    wanted = directive("a", databases=[database("app", owner="eve")])
    assert not guest.run(wanted)["databases"][0]["done"]
    guest.engine.write(users={"eve@%": {"verifier": None, "grants": []}})
    assert guest.run(wanted)["databases"][0]["done"]
    assert guest.repairs == []


def test_a_restart_is_done_once_for_its_id(guest: Guest) -> None:
    guest.run(directive("a"))
    report = guest.run(directive("b", restart="r-1"))
    assert report["restart_done"] == "r-1"
    assert report["engine"]["restarts"] == 2
    guest.run(directive("b", restart="r-1"))
    guest.start_anew()
    report = guest.run(directive("c", restart="r-1"))
    assert report["restart_done"] == "r-1"
    assert len(guest.starts) == 2
    guest.run(directive("d", restart="r-2"))
    assert len(guest.starts) == 3


@pytest.mark.parametrize("killed_at", ["stop", "stopped", "start"])
def test_a_restart_survives_a_kill_in_its_middle(guest: Guest, killed_at: str) -> None:
    guest.run(directive("a"))

    class Killed(BaseException):
        pass

    def killed(*_: Any) -> None:
        if killed_at == "stopped":
            FakeEngine.stop(guest.engine)
        raise Killed

    method = "start" if killed_at == "start" else "stop"
    setattr(guest.engine, method, killed)
    with pytest.raises(Killed):
        guest.run(directive("b", restart="r-1"))
    delattr(guest.engine, method)
    guest.start_anew()
    report = guest.run(directive("b", restart="r-1"))
    assert report["restart_done"] == "r-1"
    assert report["engine"]["state"] == "running"
    assert len(guest.starts) == 2
    guest.run(directive("b", restart="r-1"))
    assert len(guest.starts) == 2


def test_a_restart_that_fails_is_not_called_done(guest: Guest) -> None:
    guest.run(directive("a"))
    report = guest.run(directive("b", restart="r-1", parameters={"crash": "1"}))
    assert report["engine"]["state"] == "failed"
    assert report["restart_done"] is None
    assert guest.run(directive("c", restart="r-1"))["restart_done"] == "r-1"


def test_a_resize_restarts_the_engine_and_a_bigger_volume_does_not(guest: Guest) -> None:
    guest.run(directive("a"))
    guest.run(directive("b", engine={"volume_size": 5}))
    assert guest.starts == [512]
    report = guest.run(directive("c", engine={"ram": 2048}))
    assert guest.starts == [512, 2048]
    assert report["engine"]["state"] == "running"
    guest.start_anew()
    guest.run(directive("c", engine={"ram": 2048}))
    assert guest.starts == [512, 2048]


def test_parameters_that_need_a_restart_wait_for_it_or_restart_by_policy(guest: Guest) -> None:
    guest.run(directive("a"))
    report = guest.run(directive("b", parameters={"static_x": "1"}))
    assert report["configuration"] == {
        "in_sync": False,
        "pending_restart": [{"name": "static_x", "running": None, "desired": "1"}],
        "errors": {},
    }
    assert len(guest.starts) == 1
    report = guest.run(directive("c", parameters={"static_x": "1"}, restart_policy="automatic"))
    assert report["configuration"]["in_sync"]
    assert len(guest.starts) == 2


def test_a_restart_that_does_not_help_is_not_repeated(guest: Guest) -> None:
    wanted = directive("a", parameters={"static_x": "1"}, restart_policy="automatic")
    prepare = guest.engine.prepare
    guest.engine.prepare = lambda engine, _: prepare(engine, {})  # type: ignore[method-assign]
    guest.run(wanted)
    guest.run(wanted)
    report = guest.run(wanted)
    assert len(guest.starts) == 2
    assert report["configuration"]["pending_restart"][0]["name"] == "static_x"


def test_another_manager_is_refused_with_a_way_out(guest: Guest) -> None:
    report = guest.run(directive("a", engine={"manager": "other"}))
    assert report["engine"]["state"] == "failed"
    assert "create a new instance" in report["engine"]["message"]


def test_a_full_disk_under_the_state_does_not_stop_the_work(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("guest_agent.files.write", full)
        assert guest.run(directive("a"))["engine"]["state"] == "running"
    guest.state.update()
    assert StateFile(guest.home).now.settled_etag == "a"
