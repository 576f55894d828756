"""What an agent's log says, in both forms: every line, whoever writes it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_home import FAKE_AGENT, Guest, running, until
from fake_control_plane import ControlPlane
from fake_engine import FakeEngine, database, directive

from guest_agent.engines.base import Account, Home

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    plane = ControlPlane()
    yield plane
    plane.down()


@pytest.fixture
def guest(tmp_path: Path, plane: ControlPlane, account: Account | None) -> Iterator[Guest]:
    engine = FakeEngine(Home(tmp_path / "data", tmp_path / "run", None, account))
    guest = Guest(tmp_path, plane, engine, FAKE_AGENT)
    yield guest
    guest.close()


def objects(guest: Guest) -> list[dict[str, Any]]:
    return [json.loads(line) for line in guest.log.splitlines()]


def asked_by(guest: Guest, words: str) -> list[str | None]:
    """Who asked for it, of each object whose message has these words."""
    return [line.get("request_id") for line in objects(guest) if words in line["message"]]


def test_each_line_is_an_object_that_names_the_instance(guest: Guest, plane: ControlPlane) -> None:
    guest.write(log_format="json")
    plane.want(directive("a", databases=[database("refused")]))
    guest.start()
    plane.wait_for(running("a"))
    guest.stop()
    lines = objects(guest)
    assert all(re.fullmatch(TIME, line.pop("time")) for line in lines)
    said = {"level": "INFO", "logger": "guest_agent.sync", "message": "registered", "instance_id": "i-1"}
    assert said in lines
    assert {line["instance_id"] for line in lines} == {"i-1"}
    assert {line["level"] for line in lines} == {"INFO", "WARNING"}


def test_an_exception_stays_in_its_line(guest: Guest, plane: ControlPlane) -> None:
    guest.write(log_format="json")
    broken = directive("a")
    del broken["parameters"]
    plane.want(broken)
    guest.start()
    until(lambda: "the pass broke off" in guest.log)
    (line, *_) = (line for line in objects(guest) if "exception" in line)
    assert (line["level"], line["message"]) == ("ERROR", "the pass broke off")
    assert line["exception"].endswith("KeyError: 'parameters'")


def test_what_is_carried_out_names_who_asked_and_what_is_put_right_later_nobody(
    guest: Guest, plane: ControlPlane
) -> None:
    guest.write(log_format="json")
    plane.want(directive("a", request_id="req-of-ada", databases=[database("shop")]))
    guest.start()
    plane.wait_for(running("a"))
    until(lambda: asked_by(guest, "Created database shop"))
    for words in ("new directive", "starting fake", "Created database shop"):
        assert asked_by(guest, words) == ["req-of-ada"], words
    assert asked_by(guest, "registered") == [None]
    assert isinstance(guest.engine, FakeEngine)
    guest.engine.write(databases={})
    plane.wait_for(lambda report: bool(report["repairs"]))
    assert asked_by(guest, "repaired: Created database shop.") == [None]
    plane.want(directive("b", request_id="req-of-bob", databases=[database("till"), database("shop")]))
    plane.wait_for(running("b"))
    assert asked_by(guest, "Created database till") == ["req-of-bob"]


def test_an_agent_that_was_killed_goes_on_for_who_asked(guest: Guest, plane: ControlPlane) -> None:
    guest.write(log_format="json")
    plane.want(directive("a", request_id="req-of-ada", parameters={"crash": "yes"}))
    agent = guest.start()
    until(lambda: "crash is set" in guest.log)
    agent.kill()
    agent.wait()
    plane.down()
    tried = len(asked_by(guest, "crash is set"))
    guest.start()
    until(lambda: len(asked_by(guest, "crash is set")) > tried)
    assert set(asked_by(guest, "crash is set")) == {"req-of-ada"}


def test_without_the_setting_lines_are_plain(guest: Guest, plane: ControlPlane) -> None:
    assert "log_format" not in guest.settings
    plane.want(directive("a", request_id="req-of-ada"))
    guest.start()
    plane.wait_for(running("a"))
    assert re.search(rf"^{TIME} INFO guest_agent\.sync i-1: registered$", guest.log, re.MULTILINE)
    assert " INFO guest_agent.converge req-of-ada i-1: starting fake\n" in guest.log


def test_a_form_that_a_later_control_plane_may_name_keeps_nobody_from_work(
    guest: Guest, plane: ControlPlane
) -> None:
    guest.write(log_format="sonnet")
    plane.want(directive("a"))
    guest.start()
    plane.wait_for(running("a"))
    assert " WARNING guest_agent.logs i-1: log_format 'sonnet' is none of plain, json;" in guest.log
