"""The agent's life as a process: beside an engine, talking to a control plane over HTTP."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_home import FAKE_AGENT, Guest, running, until
from certificates import certify
from fake_control_plane import ControlPlane
from fake_engine import FakeEngine, database, directive, user

from guest_agent.engines.base import Account, Home


class FakeGuest(Guest):
    engine: FakeEngine


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    plane = ControlPlane()
    yield plane
    plane.down()


@pytest.fixture
def guest(tmp_path: Path, plane: ControlPlane, account: Account | None) -> Iterator[FakeGuest]:
    engine = FakeEngine(Home(tmp_path / "data", tmp_path / "run", None, account))
    guest = FakeGuest(tmp_path, plane, engine, FAKE_AGENT)
    yield guest
    guest.close()


def test_an_agent_registers_once_and_its_token_leaves_the_disk(
    guest: FakeGuest, plane: ControlPlane
) -> None:
    guest.start()
    first = plane.wait_for(lambda report: True)
    assert first["etag"] is None
    assert first["engine"]["state"] == "stopped"
    assert first["wait"] == 25
    until(lambda: "token-1" not in (guest.home / "agent.json").read_text())
    for name in ("agent.json", "state.json"):
        assert stat.S_IMODE((guest.home / name).stat().st_mode) == 0o600
    assert guest.state["secret"] == "secret-1"
    assert "INFO guest_agent.sync i-1: registered" in guest.log
    assert "secret-1" not in guest.log
    assert "token-1" not in guest.log


def test_an_agent_trusts_the_authority_it_was_told_of_and_no_other(
    tmp_path: Path, account: Account | None
) -> None:
    for name in ("own", "other", "guest"):
        (tmp_path / name).mkdir()
    certify(tmp_path / "own", "127.0.0.1")
    certify(tmp_path / "other", "127.0.0.1")
    plane = ControlPlane(tls=tmp_path / "own")
    home = tmp_path / "guest"
    guest = FakeGuest(home, plane, FakeEngine(Home(home / "data", home / "run", None, account)), FAKE_AGENT)
    try:
        guest.write(ca=str(tmp_path / "other/ca.pem"))
        guest.start()
        until(lambda: "certificate verify failed" in guest.log)
        assert plane.token == "token-1"
        guest.stop()
        guest.write(ca=str(tmp_path / "own/ca.pem"))
        guest.start()
        plane.wait_for(lambda report: True)
    finally:
        guest.close()
        plane.down()


def test_no_engine_is_made_or_started_without_its_volume(guest: FakeGuest, plane: ControlPlane) -> None:
    plane.want(directive("a"))
    data = guest.home / "volume/data"
    guest.write(volume_id="0d4a1a5e-4f0c-4c37-9d5a-6a2b8f6f3c11", data=str(data))
    guest.start()
    report = plane.wait_for(lambda report: report["engine"]["state"] == "failed", timeout=20)
    assert "Volume 0d4a1a5e-4f0c-4c37-9d5a-6a2b8f6f3c11 is not attached" in report["engine"]["message"]
    assert guest.stop() == 0
    assert not data.exists()


def test_a_lost_answer_to_register_is_mended_by_a_new_token(guest: FakeGuest, plane: ControlPlane) -> None:
    plane.lose_register_answer = True
    guest.start()
    until(lambda: "a new one into agent.json" in guest.log)
    assert plane.reports == []
    plane.lose_register_answer = False
    plane.token = "token-2"
    guest.write(bootstrap_token="token-2")
    plane.wait_for(lambda report: True)
    assert guest.state["secret"] == "secret-2"


def test_a_refused_secret_is_replaced_by_a_new_token(guest: FakeGuest, plane: ControlPlane) -> None:
    plane.want(directive("a"))
    guest.start()
    plane.wait_for(running("a"))
    plane.secret = "rotated"
    plane.token = "token-2"
    guest.write(bootstrap_token="token-2")
    plane.want(directive("b"))
    plane.wait_for(running("b"))
    assert guest.state["secret"] == "secret-2"


def test_a_new_secret_takes_the_place_of_the_one_before(guest: FakeGuest, plane: ControlPlane) -> None:
    guest.start()
    plane.wait_for(lambda report: True)
    plane.next_secret = "a new secret"
    plane.want(directive("a"))
    plane.wait_for(running("a"))
    until(lambda: guest.state["secret"] == "a new secret")
    assert guest.state["next_secret"] is None
    assert plane.secret == "a new secret"
    assert stat.S_IMODE((guest.home / "state.json").stat().st_mode) == 0o600
    assert "a new secret" not in guest.log


def test_an_agent_killed_with_a_new_secret_unused_goes_on_with_it(
    guest: FakeGuest, plane: ControlPlane
) -> None:
    kill_with(guest, plane, "unused")
    plane.next_secret = "unused"
    plane.want(directive("b"))
    guest.start()
    plane.wait_for(running("b"))
    until(lambda: guest.state["secret"] == "unused")


def test_a_new_secret_that_is_not_taken_is_given_up_for_the_former(
    guest: FakeGuest, plane: ControlPlane
) -> None:
    kill_with(guest, plane, "of a database that was put back")
    plane.want(directive("b"))
    guest.start()
    plane.wait_for(running("b"))
    until(lambda: guest.state["next_secret"] is None)
    assert guest.state["secret"] == "secret-1"
    assert "going on with another secret" in guest.log
    assert "that was put back" not in guest.log


def kill_with(guest: FakeGuest, plane: ControlPlane, next_secret: str) -> None:
    """Kill an agent that had kept a new secret and not used it."""
    plane.want(directive("a"))
    process = guest.start()
    plane.wait_for(running("a"))
    process.kill()
    process.wait()
    (guest.home / "state.json").write_text(json.dumps(guest.state | {"next_secret": next_secret}))


def test_a_new_directive_is_made_true_and_reported_while_no_sync_circles(
    guest: FakeGuest, plane: ControlPlane
) -> None:
    plane.want(directive("a"))
    guest.start()
    plane.wait_for(running("a"))
    until(lambda: plane.syncs_parked)
    time.sleep(1.2)  # two looks for drift, which find nothing
    syncs = len(plane.reports)
    time.sleep(1)
    assert len(plane.reports) == syncs
    began = time.monotonic()
    plane.want(directive("b", databases=[database("app", owner="ada")], users=[user("ada")]))
    report = plane.wait_for(running("b"))
    assert time.monotonic() - began < 10  # the sync that was parked would go on for 25 s
    assert report["etag"] == "b"
    assert report["databases"][0]["done"]
    plane.wait_for(lambda report: bool(report["seen_databases"]))
    time.sleep(1)
    assert len(plane.reports) <= syncs + 2  # what was done goes first, what was seen after it


def test_the_pause_that_the_control_plane_asks_for_is_kept_but_for_news(
    guest: FakeGuest, plane: ControlPlane
) -> None:
    plane.parks = False
    plane.retry_after = "60"
    plane.want(directive("a"))
    guest.start()
    plane.wait_for(running("a"))
    syncs = len(plane.reports)
    time.sleep(1.5)
    assert len(plane.reports) == syncs
    pid = guest.engine.pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    plane.wait_for(lambda report: report["engine"]["restarts"] == 2, 30)


def test_an_engine_that_dies_while_the_sync_is_parked_is_started_and_reported(
    guest: FakeGuest, plane: ControlPlane
) -> None:
    plane.want(directive("a"))
    guest.write(drift_seconds=60)
    guest.start()
    plane.wait_for(running("a"))
    until(lambda: plane.syncs_parked)
    pid = guest.engine.pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    plane.wait_for(lambda report: "ended by itself" in report["engine"]["message"])
    report = plane.wait_for(lambda report: report["engine"]["restarts"] == 2 and running("a")(report))
    assert time.monotonic() - began < 10
    assert guest.engine.pid not in (None, pid)
    told = [sentence for each in plane.reports for sentence in each["repairs"]]
    assert told == ["Started fake again after it had ended by itself."]
    assert report["engine"]["message"] == ""


def test_drift_is_reported_once_while_the_sync_is_parked(guest: FakeGuest, plane: ControlPlane) -> None:
    plane.want(directive("a", databases=[database("app")]))
    guest.start()
    plane.wait_for(running("a"))
    until(lambda: plane.syncs_parked)
    guest.engine.write(databases={"by_hand": None})
    report = plane.wait_for(lambda report: bool(report["repairs"]), 3)
    assert report["repairs"] == ["Created database app."]
    plane.wait_for(lambda report: {seen["name"] for seen in report["seen_databases"]} == {"app", "by_hand"})
    plane.want(directive("b"))
    plane.wait_for(running("b"))
    assert sum(len(each["repairs"]) for each in plane.reports) == 1


def test_an_answer_that_comes_late_does_not_undo_a_newer_one(guest: FakeGuest, plane: ControlPlane) -> None:
    plane.want(directive("a"))
    guest.start()
    plane.wait_for(running("a"))
    until(lambda: plane.syncs_parked)
    plane.late = 1.5
    plane.want(directive("b", databases=[database("outdated")]))
    until(lambda: not plane.syncs_parked)
    plane.want(directive("c"))
    guest.engine.write(databases={"by_hand": None})  # news, and with it a second sync
    plane.wait_for(running("c"))
    plane.late = 0
    plane.want(directive("d"))
    plane.wait_for(running("d"))
    assert list(guest.engine.contents["databases"]) == ["by_hand"]


def test_repairs_made_while_the_control_plane_was_away_are_reported_later(
    guest: FakeGuest, plane: ControlPlane
) -> None:
    plane.want(directive("a", databases=[database("app")]))
    guest.start()
    plane.wait_for(running("a"))
    plane.down()
    pid = guest.engine.pid
    guest.engine.write(databases={})
    until(lambda: guest.engine.contents["databases"])
    tried = guest.log.count("cannot reach")
    until(lambda: guest.log.count("cannot reach") > tried + 1)
    assert guest.engine.pid == pid
    plane.up()
    plane.want(directive("b"))
    plane.wait_for(running("b"))
    told = [sentence for each in plane.reports for sentence in each["repairs"]]
    assert told == ["Created database app."]


def test_an_agent_starts_its_engine_from_memory_with_the_control_plane_away(
    guest: FakeGuest, plane: ControlPlane
) -> None:
    plane.want(directive("a"))
    first = guest.start()
    plane.wait_for(running("a"))
    first.terminate()
    assert first.wait(10) == 0
    assert guest.engine.pid is None
    plane.down()
    guest.start()
    until(lambda: guest.engine.pid)
    plane.up()
    plane.wait_for(lambda report: report["engine"]["restarts"] == 2 and running("a")(report))


def test_a_killed_agents_engine_is_found_again_and_not_started_twice(
    guest: FakeGuest, plane: ControlPlane
) -> None:
    plane.want(directive("a", databases=[database("app")]))
    first = guest.start()
    plane.wait_for(running("a"))
    pid = guest.engine.pid
    first.kill()
    first.wait()
    plane.reports.clear()
    guest.start()
    report = plane.wait_for(running("a"))
    assert guest.engine.pid == pid
    assert report["engine"]["restarts"] == 1
    assert plane.secrets_given == 1
    assert all(each["engine"]["state"] == "running" for each in plane.reports)


def test_sigterm_stops_the_engine_and_says_so(guest: FakeGuest, plane: ControlPlane) -> None:
    plane.want(directive("a"))
    agent = guest.start()
    plane.wait_for(running("a"))
    agent.terminate()
    assert agent.wait(10) == 0
    assert guest.engine.pid is None
    assert plane.reports[-1]["engine"]["state"] == "stopped"


def test_sigusr2_leaves_the_engine_to_the_next_agent(guest: FakeGuest, plane: ControlPlane) -> None:
    plane.want(directive("a"))
    agent = guest.start()
    plane.wait_for(running("a"))
    agent.send_signal(signal.SIGUSR2)
    assert agent.wait(10) == 0
    assert guest.engine.pid is not None


def test_a_gone_instance_stops_for_good(guest: FakeGuest, plane: ControlPlane) -> None:
    plane.want(directive("a"))
    agent = guest.start()
    plane.wait_for(running("a"))
    with plane.changed:
        plane.gone = True
        plane.changed.notify_all()
    assert agent.wait(10) == 0
    assert guest.engine.pid is None
    assert guest.start().wait(10) == 0
    assert guest.engine.pid is None
    assert guest.engine.contents["starts"] == [512]


@pytest.mark.parametrize("how", ["alive", "killed", "never started"])
def test_stop_ends_agent_and_engine_however_they_are(
    guest: FakeGuest, plane: ControlPlane, how: str
) -> None:
    if how != "never started":
        plane.want(directive("a"))
        agent = guest.start()
        plane.wait_for(running("a"))
        if how == "killed":
            agent.kill()  # and left a zombie for a while
        assert guest.stop() == 0
        assert agent.wait(1) == (0 if how == "alive" else -signal.SIGKILL)
    assert guest.stop() == 0
    assert guest.engine.pid is None


def test_a_second_agent_of_a_home_leaves_with_a_sentence(guest: FakeGuest, plane: ControlPlane) -> None:
    plane.want(directive("a"))
    guest.start()
    plane.wait_for(running("a"))
    assert guest.start().wait(10) == 0
    assert "another agent is at work" in guest.log
    assert guest.engine.pid is not None


def test_an_engine_that_cannot_start_is_tried_again_and_at_once_with_a_new_directive(
    guest: FakeGuest, plane: ControlPlane
) -> None:
    plane.want(directive("a", parameters={"crash": "1"}))
    guest.start()
    report = plane.wait_for(lambda report: report["engine"]["state"] == "failed")
    assert report["engine"]["message"] == "FATAL: crash is set"
    assert report["etag"] == "a"
    assert report["converged_etag"] is None
    plane.wait_for(lambda report: report["engine"]["restarts"] >= 4)
    began = time.monotonic()
    plane.want(directive("b"))
    plane.wait_for(running("b"))
    assert time.monotonic() - began < 2  # the pause would be as long, or twice that


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could run the engine as root")
@pytest.mark.parametrize("name", [None, "root", "no-such-account"])
def test_as_root_an_account_for_the_engine_is_demanded(guest: FakeGuest, name: str | None) -> None:
    guest.write(account=name)
    assert guest.start().wait(10) == 1
    assert "account" in guest.log
    assert "Traceback" not in guest.log


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "one JSON object"),
        ('{"url": "http://x"}', "lacks instance_id"),
    ],
)
def test_unusable_settings_are_refused_with_a_sentence(guest: FakeGuest, text: str, said: str) -> None:
    (guest.home / "agent.json").write_text(text)
    assert guest.start().wait(10) == 1
    assert said in guest.log
    assert "Traceback" not in guest.log


def test_a_catalogue_is_printed_sorted_from_a_throw_away_engine() -> None:
    program = (
        "from guest_agent import engines, __main__; "
        "engines.PLUGINS['fake'] = 'fake_engine.FakeEngine'; "
        "raise SystemExit(__main__.main(['catalogue', '--manager', 'fake', '--version', '1']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    catalogue = json.loads(done.stdout)
    assert list(catalogue) == sorted(catalogue)
    assert catalogue["character_sets"] == {"utf8": ["ä"]}
