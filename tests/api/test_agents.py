"""The agents' API, with the test as the agent (guest_agent/protocol.py)."""

import copy
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from control_plane_fixtures import ControlPlane, eventually, with_guests
from sqlalchemy import event, update

from control_plane.agents.models import Agent
from control_plane.auth.tokens import digest
from control_plane.clouds import CloudError
from control_plane.database import db, now, transaction
from control_plane.instances.models import Instance
from control_plane.work.clock import moment
from guest_agent.protocol import SECRET_HEADER

__all__ = ["with_guests"]

DATABASE = "/instances/orders/databases/shop"
USER = "/instances/orders/users/app"


class Guest:
    """An agent by hand: it says what the test tells it to."""

    def __init__(self, control_plane: ControlPlane, instance_id: str) -> None:
        self.control_plane = control_plane
        self.client = control_plane.app.test_client()
        self.instance_id = instance_id
        self.secret = ""
        self.offered: str | None = None
        self.directive: dict[str, Any] = {}
        self.sequence = 0
        self.abilities: list[str] = []

    def register(self, token: str | None = None) -> Any:
        token = token or self.control_plane.compute.tokens[self.instance_id]
        body = {"instance_id": self.instance_id, "bootstrap_token": token}
        answer = self.client.post("/agent/v1/register", json=body)
        if answer.status_code == 200:
            self.secret = answer.json["secret"]
        return answer

    def report(self, **parts: Any) -> dict[str, Any]:
        self.sequence += 1
        etag = self.directive.get("etag")
        report = {
            "protocol": 1,
            "abilities": self.abilities,
            "run": "run-1",
            "sequence": self.sequence,
            "agent_version": "0.1.0",
            "etag": etag,
            "converged_etag": etag,
            "engine": {
                "state": "running",
                "version": "18.6",
                "started_at": "2026-01-01T00:00:00.000+00:00",
                "restarts": 1,
                "message": "",
            },
            "volume_used": 4096,
            "configuration": {"in_sync": True, "pending_restart": [], "errors": {}},
            "restart_done": self.directive.get("restart"),
            "databases": self.outcomes("databases"),
            "users": self.outcomes("users"),
            "seen_databases": [],
            "seen_users": [],
            "repairs": [],
            "wait": 0,
        }
        return report | parts

    def outcomes(self, kind: str, message: str = "") -> list[dict[str, Any]]:
        """All done, or all failed with `message`."""
        return [
            {"id": item["id"], "generation": item["generation"]} | {"done": not message, "message": message}
            for item in self.directive.get(kind, [])
        ]

    def sync(self, report: dict[str, Any] | None = None, **parts: Any) -> Any:
        answer = self.client.post(
            "/agent/v1/sync",
            json=report if report is not None else self.report(**parts),
            headers={"Authorization": f"Bearer {self.instance_id}.{self.secret}"},
        )
        self.offered = answer.headers.get(SECRET_HEADER)
        if answer.status_code == 200:
            self.directive = answer.json
        return answer

    def converge(self) -> None:
        """Take the directive and report it done, until there is nothing new."""
        while self.sync().status_code == 200:
            pass


@pytest.fixture
def guest(with_guests: ControlPlane) -> Guest:
    """Of an instance whose server is there; not registered yet."""
    with_guests.start()
    instance_id = with_guests.put_instance()
    eventually(lambda: instance_id in with_guests.books.servers)
    return Guest(with_guests, instance_id)


@pytest.fixture
def ready(guest: Guest) -> Guest:
    """The guest, registered and with nothing left to do; nothing else writes."""
    assert guest.register().status_code == 200
    guest.converge()
    guest.control_plane.call("GET", "/instances/orders?wait_for=ready&timeout=5")
    eventually(lambda: "nothing to do" in sentence(guest))
    guest.control_plane.runner.stop()
    return guest


def sentence(guest: Guest) -> str:
    with guest.control_plane.app.app_context():
        return guest.control_plane.row(guest.instance_id).sentence


def events_of(guest: Guest, kind: str) -> list[str]:
    answer = guest.control_plane.call("GET", f"/events?instance=orders&kind={kind}")
    return [item["message"] for item in answer.json["items"]]


def test_an_instance_becomes_ready_for_who_asked_and_not_for_its_agents_request(
    with_guests: ControlPlane,
) -> None:
    wanted = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}
    numbered = {"X-Request-Id": "req-of-the-put"}
    instance_id = with_guests.call("PUT", "/instances/orders", wanted, **numbered).json["id"]
    with_guests.start()
    with with_guests.app.app_context():
        eventually(lambda: "waiting for its agent" in with_guests.row(instance_id).sentence)
    guest = Guest(with_guests, instance_id)
    guest.register()
    guest.converge()
    eventually(lambda: "nothing to do" in sentence(guest))
    progress = with_guests.call("GET", "/events?instance=orders&kind=progress").json["items"]
    assert {event["request_id"] for event in progress} == {"req-of-the-put"}
    with with_guests.app.app_context():
        eventually(lambda: with_guests.row(instance_id).asked_by is None)


def test_a_directive_names_the_request_that_wants_it_until_it_is_worked_through(
    with_guests: ControlPlane,
) -> None:
    call = with_guests.call
    group = {"datastore": "postgresql", "parameters": {"work_mem": "8MB"}}
    assert call("PUT", "/configuration-groups/fast", group).status_code == 201
    wanted = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}
    wanted["configuration_group"] = "fast"
    guests = []
    for name in ("orders", "stock"):
        put = call("PUT", f"/instances/{name}", wanted, **{"X-Request-Id": f"req-of-{name}"})
        guests.append(Guest(with_guests, put.json["id"]))
    with_guests.start()
    for guest, name in zip(guests, ("orders", "stock"), strict=True):
        eventually(lambda at=guest: at.instance_id in with_guests.books.servers)
        guest.register()
        guest.converge()
        assert guest.directive["request_id"] == f"req-of-{name}"

    orders = guests[0]
    first = {"X-Request-Id": "req-of-first"}
    call("PUT", "/instances/orders/databases/shop", {}, **first)
    call("PUT", "/instances/orders/databases/till?dry_run=true", {}, **{"X-Request-Id": "req-of-dry-run"})
    orders.sync()
    assert orders.directive["request_id"] == "req-of-first"
    for request_id in ("req-of-second", "req-of-third"):
        call("PUT", f"/instances/orders/databases/{request_id}", {}, **{"X-Request-Id": request_id})
    orders.converge()
    assert orders.directive["request_id"] == "req-of-third", "the newest of several"

    group["parameters"] = {"work_mem": "16MB"}
    call("PUT", "/configuration-groups/fast", group, **{"X-Request-Id": "req-of-the-group"})
    for guest in guests:
        guest.converge()
        assert guest.directive["request_id"] == "req-of-the-group"

    dropped = {"X-Request-Id": "req-of-the-drop"}
    call("DELETE", "/instances/orders/databases/shop", **dropped)
    orders.sync()
    assert orders.directive["request_id"] == "req-of-the-drop"
    before = orders.directive["etag"]
    orders.converge()
    assert orders.directive["etag"] != before, "without what was dropped"
    assert orders.directive["request_id"] is None, "which nobody asked for"


def test_the_directive_for_a_server_made_anew_names_who_asked_for_that(guest: Guest) -> None:
    guest.register()
    guest.converge()
    plane = guest.control_plane
    plane.call("GET", "/instances/orders?wait_for=ready&timeout=5")
    eventually(lambda: "nothing to do" in sentence(guest))
    plane.books.failures.append(CloudError("Nova is down."))
    asked = {"X-Request-Id": "req-of-the-rebuild"}
    assert plane.call("POST", "/instances/orders/actions", {"type": "rebuild"}, **asked).status_code == 202
    eventually(lambda: "Nova is down" in sentence(guest))
    given = []

    def take() -> bool:
        """As the old server's agent, which is done before the cloud begins, and then as the new one's."""
        while guest.sync().status_code == 200:
            given.append(guest.directive["request_id"])
        return len(given) == 2

    eventually(take)
    assert set(given) == {"req-of-the-rebuild"}


def test_a_bootstrap_token_works_once(guest: Guest) -> None:
    token = guest.control_plane.compute.tokens[guest.instance_id]
    assert guest.register(token).status_code == 200
    answer = guest.register(token)
    assert answer.status_code == 401
    assert "used up" in answer.json["detail"]


def test_a_bootstrap_token_is_no_good_after_its_time(guest: Guest) -> None:
    with guest.control_plane.app.app_context(), transaction() as session:
        session.execute(update(Agent).values(bootstrap_expires_at=now() - timedelta(seconds=1)))
    assert guest.register().status_code == 401


def test_a_token_of_another_instance_is_refused(guest: Guest) -> None:
    other = guest.control_plane.put_instance("other")
    eventually(lambda: other in guest.control_plane.compute.tokens)
    assert guest.register(guest.control_plane.compute.tokens[other]).status_code == 401


def test_no_secret_is_kept_in_clear(guest: Guest) -> None:
    token = guest.control_plane.compute.tokens[guest.instance_id]
    with guest.control_plane.app.app_context():
        kept = [str(db.session.get_one(Agent, guest.instance_id).bootstrap_hash)]
    guest.register()
    with guest.control_plane.app.app_context():
        kept.append(str(db.session.get_one(Agent, guest.instance_id).secret_hash))
    assert all(len(text) == 64 and token not in text and guest.secret not in text for text in kept)


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer x", "Bearer {id}.", "Bearer {id}.wrong", "Basic {id}.{secret}"]
)
def test_a_sync_without_the_right_secret_is_refused(guest: Guest, authorization: str) -> None:
    guest.register()
    given = authorization.format(id=guest.instance_id, secret=guest.secret)
    answer = guest.client.post("/agent/v1/sync", json=guest.report(), headers={"Authorization": given})
    assert answer.status_code == 401


def test_a_users_token_does_not_speak_for_an_agent(guest: Guest) -> None:
    headers = {"Authorization": f"Bearer {guest.control_plane.token}"}
    answer = guest.client.post("/agent/v1/sync", json=guest.report(), headers=headers)
    assert answer.status_code in (401, 410)


def test_an_agents_secret_is_no_users_token(guest: Guest) -> None:
    guest.register()
    headers = {"Authorization": f"Bearer {guest.instance_id}.{guest.secret}"}
    assert guest.client.get("/v1/instances", headers=headers).status_code == 401


def test_a_revoked_secret_is_refused(guest: Guest) -> None:
    guest.register()
    with guest.control_plane.app.app_context(), transaction() as session:
        session.execute(update(Agent).values(secret_hash=None))
    assert guest.sync().status_code == 401


def test_an_agent_whose_instance_is_gone_is_told_so(guest: Guest) -> None:
    guest.register()
    guest.control_plane.call("DELETE", "/instances/orders")
    eventually(lambda: guest.control_plane.call("GET", "/instances/orders").status_code == 404)
    assert guest.sync().status_code == 410
    assert guest.register("any").status_code == 410


def test_a_parked_agent_learns_at_once_that_its_instance_is_gone(guest: Guest) -> None:
    guest.register()
    guest.converge()
    answers: list[int] = []

    def stay() -> None:
        while not answers or answers[-1] == 200:
            answers.append(guest.sync(wait=20).status_code)

    parked = threading.Thread(target=stay)
    parked.start()
    time.sleep(0.3)
    guest.control_plane.call("DELETE", "/instances/orders")
    parked.join(10)
    assert answers[-1] == 410


def test_the_first_sync_brings_the_directive(guest: Guest) -> None:
    guest.register()
    answer = guest.sync(converged_etag=None)
    assert answer.status_code == 200
    assert answer.headers["Retry-After"] == "0"
    directive = answer.json
    assert directive["instance_id"] == guest.instance_id
    assert directive["engine"] == {
        "manager": "postgresql",
        "version": "18",
        "listen": ["127.0.0.1"],
        "port": 5432,
        "ram": 1024,
        "vcpus": 1,
        "volume_size": 1,
    }


def test_an_instance_is_ready_once_its_agent_says_so(guest: Guest) -> None:
    assert not guest.control_plane.instance()["status"]["ready"]
    guest.register()
    guest.converge()
    status = guest.control_plane.instance()["status"]
    assert status["ready"], status
    assert status["engine_version"] == "18.6"
    eventually(lambda: "nothing to do" in sentence(guest))


def test_what_is_current_is_not_sent_again(ready: Guest) -> None:
    answer = ready.sync()
    assert answer.status_code == 304
    assert 3 <= int(answer.headers["Retry-After"]) <= 30
    assert not answer.data


def test_an_agent_at_work_is_asked_to_come_back_soon(ready: Guest) -> None:
    before = ready.directive["etag"]
    ready.control_plane.call("PUT", DATABASE, {})
    assert ready.sync(converged_etag=before).status_code == 200
    answer = ready.sync(converged_etag=before, databases=[])
    assert answer.status_code == 304
    assert answer.headers["Retry-After"] == "2"


def test_a_database_and_a_user_become_ready_by_the_agents_word(ready: Guest) -> None:
    ready.control_plane.call("PUT", DATABASE, {})
    grants = [{"database": "shop", "privileges": ["SELECT"]}]
    ready.control_plane.call("PUT", USER, {"password": "a-long-password", "grants": grants})
    assert ready.sync().status_code == 200
    (user,) = ready.directive["users"]
    assert user["verifier"].startswith("SCRAM-SHA-256$")
    assert "a-long-password" not in str(ready.directive)
    assert not ready.control_plane.call("GET", DATABASE).json["status"]["ready"]
    assert ready.sync().status_code == 304
    for path in (DATABASE, USER):
        assert ready.control_plane.call("GET", path).json["status"]["ready"]


def test_a_failed_object_says_why_and_recovers(ready: Guest) -> None:
    ready.control_plane.call("PUT", DATABASE, {})
    ready.sync()
    ready.sync(databases=ready.outcomes("databases", "The disk is full."))
    status = ready.control_plane.call("GET", DATABASE).json["status"]
    assert (status["phase"], status["message"]) == ("ERROR", "The disk is full.")
    assert "The disk is full." in events_of(ready, "failure")
    ready.sync()
    assert ready.control_plane.call("GET", DATABASE).json["status"]["ready"]


def test_a_deleted_database_goes_when_the_agent_has_dropped_it(ready: Guest) -> None:
    ready.control_plane.call("PUT", DATABASE, {})
    ready.converge()
    ready.control_plane.call("DELETE", DATABASE)
    assert ready.sync().status_code == 200
    assert [item["state"] for item in ready.directive["databases"]] == ["absent"]
    assert ready.control_plane.call("GET", DATABASE).status_code == 200
    assert ready.sync().status_code == 200, "a directive without the database"
    assert ready.directive["databases"] == []
    assert ready.control_plane.call("GET", DATABASE).status_code == 404


REFUSING = {"password": "a-long-password", "deletion_policy": "refuse"}
WORDS = "User app owns in shop: table public.t."


@pytest.fixture
def refused(ready: Guest) -> Guest:
    """Whose user `app` is to be dropped, and is not: it owns something."""
    ready.abilities = ["deletion_policy"]
    ready.control_plane.call("PUT", USER, REFUSING)
    ready.converge()
    assert ready.control_plane.call("DELETE", USER).json["status"]["phase"] == "SHUTDOWN"
    ready.sync()
    (wanted,) = ready.directive["users"]
    assert (wanted["state"], wanted["deletion_policy"]) == ("absent", "refuse")
    ready.sync(users=ready.outcomes("users", WORDS))
    return ready


def test_a_user_whose_drop_is_refused_says_why(refused: Guest) -> None:
    status = refused.control_plane.call("GET", f"{USER}?wait_for=ready&timeout=20").json["status"]
    assert (status["phase"], status["ready"], status["message"]) == ("ERROR", False, WORDS)
    assert WORDS in events_of(refused, "failure")


def test_it_is_dropped_once_it_owns_nothing(refused: Guest) -> None:
    refused.sync()
    assert refused.control_plane.call("GET", USER).status_code == 404


def test_it_is_dropped_once_its_policy_is_another(refused: Guest) -> None:
    call = refused.control_plane.call
    assert call("PATCH", USER, {"password_version": 2}).json["code"] == "conflict"
    assert call("PATCH", USER, {"deletion_policy": "reassign"}).json["status"]["phase"] == "SHUTDOWN"
    refused.sync()
    assert refused.directive["users"][0]["deletion_policy"] == "reassign"
    words = "User app: dropped; what it owned in shop is owner's now"
    refused.sync(users=[each | {"done": True, "message": words} for each in refused.outcomes("users")])
    assert call("GET", USER).status_code == 404
    assert any(words in said for said in events_of(refused, "deleted"))


def test_it_can_be_left_where_it_is(refused: Guest) -> None:
    assert refused.control_plane.call("PATCH", USER, {"deletion_policy": "abandon"}).status_code == 202
    refused.sync()
    assert refused.directive["users"] == []
    assert refused.control_plane.call("GET", USER).status_code == 404


def test_a_put_takes_a_refused_deletion_back(refused: Guest) -> None:
    again = refused.control_plane.call("PUT", USER, REFUSING)
    assert (again.status_code, again.json["status"]["phase"]) == (202, "BUILD")
    refused.sync()
    assert refused.directive["users"][0]["state"] == "present"
    refused.sync()
    assert refused.control_plane.call("GET", USER).json["status"]["phase"] == "ACTIVE"


def test_another_delete_has_a_refused_one_tried_at_once(refused: Guest) -> None:
    etag = refused.directive["etag"]
    assert refused.control_plane.call("DELETE", USER).json["status"]["phase"] == "SHUTDOWN"
    assert refused.control_plane.call("DELETE", USER).status_code == 202
    refused.sync()
    assert refused.directive["etag"] != etag
    refused.sync()
    assert refused.control_plane.call("GET", USER).status_code == 404


def test_an_agent_that_would_not_heed_a_refusal_is_not_told_to_drop(ready: Guest) -> None:
    call = ready.control_plane.call
    call("PUT", USER, REFUSING)
    ready.converge()
    call("DELETE", USER)
    ready.converge()
    assert ready.directive["users"] == []
    status = call("GET", USER).json["status"]
    assert (status["phase"], "too old" in status["message"]) == ("ERROR", True)
    ready.abilities = ["deletion_policy"]  # updated
    ready.converge()
    assert call("GET", USER).status_code == 404


def test_an_outcome_of_an_older_wish_is_not_taken_for_the_new_one(ready: Guest) -> None:
    ready.control_plane.call("PUT", DATABASE, {})
    ready.sync()
    ready.control_plane.call("DELETE", DATABASE)
    ready.sync(databases=ready.outcomes("databases"))
    status = ready.control_plane.call("GET", DATABASE).json["status"]
    assert status["phase"] == "SHUTDOWN"


def test_an_engine_that_is_down_keeps_its_version(ready: Guest) -> None:
    version = ready.control_plane.instance()["status"]["engine_version"]
    ready.sync(engine=ready.report()["engine"] | {"state": "starting", "version": None})
    status = ready.control_plane.instance()["status"]
    assert status["operating_status"] == "RESTARTING"
    assert status["engine_version"] == version
    assert version


def test_an_outcome_of_an_earlier_incarnation_is_not_taken_for_the_new_one(ready: Guest) -> None:
    ready.control_plane.call("PUT", DATABASE, {})
    ready.sync()
    ready.sync(databases=ready.outcomes("databases"))
    ready.control_plane.call("DELETE", DATABASE)
    ready.sync()
    dropped = ready.outcomes("databases")
    ready.sync(databases=dropped)
    again = ready.control_plane.call("PUT", DATABASE, {}).json
    ready.sync(databases=[outcome | {"generation": again["generation"]} for outcome in dropped])
    assert ready.control_plane.call("GET", DATABASE).json["status"]["phase"] == "BUILD"


def test_an_outcome_for_what_does_not_exist_changes_nothing(ready: Guest) -> None:
    other = {"id": "nobodys", "generation": 1, "done": True, "message": ""}
    assert ready.sync(databases=[other]).status_code == 304
    assert ready.control_plane.instance()["status"]["ready"]


def test_a_parked_sync_is_answered_when_something_new_is_wanted(ready: Guest) -> None:
    took: list[float] = []

    def park() -> None:
        assert ready.sync(wait=20).status_code == 200
        took.append(time.monotonic())

    parked = threading.Thread(target=park)
    parked.start()
    time.sleep(0.3)
    began = time.monotonic()
    assert ready.control_plane.call("PUT", DATABASE, {}).status_code == 202
    parked.join(30)
    assert took
    assert took[0] - began < 10
    assert [item["name"] for item in ready.directive["databases"]] == ["shop"]


def test_a_parked_sync_is_let_go_when_its_time_is_over(ready: Guest) -> None:
    began = time.monotonic()
    answer = ready.sync(wait=0.3)
    assert answer.status_code == 304
    assert answer.headers["Retry-After"] == "0"
    assert time.monotonic() - began >= 0.3


def test_without_a_place_to_park_the_answer_comes_at_once(ready: Guest) -> None:
    changes = ready.control_plane.app.extensions["coffret_changes"]
    changes._limit = 0
    began = time.monotonic()
    answer = ready.sync(wait=20)
    assert answer.status_code == 304
    assert int(answer.headers["Retry-After"]) >= 3
    assert time.monotonic() - began < 10


def test_news_is_stored_before_the_sync_is_parked(ready: Guest) -> None:
    engine = ready.report()["engine"] | {"state": "failed", "message": "could not bind port 5432"}
    parked = threading.Thread(target=lambda: ready.sync(engine=engine, wait=2))
    parked.start()
    eventually(lambda: ready.control_plane.instance()["status"]["phase"] == "ERROR", 1.5)
    assert "could not bind" in ready.control_plane.instance()["status"]["message"]
    parked.join()
    assert "could not bind port 5432" in events_of(ready, "failure")


def test_a_report_that_came_late_does_not_undo_a_newer_one(ready: Guest) -> None:
    late = ready.report()
    late["engine"] = late["engine"] | {"state": "starting"}
    newer = ready.report(volume_used=64 << 20)
    assert ready.sync(newer).status_code == 304
    assert ready.sync(late).status_code == 304
    assert ready.control_plane.instance()["status"]["ready"]


def test_a_repair_is_told_once(ready: Guest) -> None:
    ready.sync(repairs=["Granted CONNECT on shop to app again."])
    ready.sync()
    assert events_of(ready, "repaired") == ["Granted CONNECT on shop to app again."]


def test_a_restart_is_done_when_the_agent_says_so(ready: Guest) -> None:
    action = ready.control_plane.call("POST", "/instances/orders/actions", {"type": "restart"}).json
    assert ready.control_plane.instance()["status"]["phase"] == "REBOOT"
    assert ready.sync(restart_done=None).status_code == 200
    assert ready.directive["restart"] == action["id"]
    ready.sync()
    path = f"/instances/orders/actions/{action['id']}"
    assert ready.control_plane.call("GET", path).json["phase"] == "DONE"
    assert ready.control_plane.instance()["status"]["ready"]


def test_an_agent_heard_of_again_is_no_longer_lost(ready: Guest) -> None:
    with ready.control_plane.app.app_context(), transaction() as session:
        session.execute(update(Instance).values(agent_lost=True, ready=False))
    ready.sync()
    assert ready.control_plane.instance()["status"]["ready"]


def test_a_sync_without_news_writes_nothing(ready: Guest) -> None:
    ready.sync()
    written: list[str] = []

    def note(_c: Any, _k: Any, statement: str, *_: Any) -> None:
        if not statement.startswith(("SELECT", "PRAGMA", "BEGIN\n")) and statement != "BEGIN":
            written.append(statement)

    with ready.control_plane.app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    for _ in range(3):
        assert ready.sync().status_code == 304
    assert written == []
    attendance = ready.control_plane.app.extensions["coffret_attendance"]
    with ready.control_plane.app.app_context():
        attendance.write()
        with transaction() as session:
            session.execute(update(Agent).values(last_seen_at=now() - timedelta(seconds=21)))
        written.clear()
        for _ in range(2):
            assert ready.sync().status_code == 304
            attendance.write()
    event.remove(engine, "before_cursor_execute", note)
    assert len([text for text in written if text.startswith("UPDATE agents")]) == 1


def test_an_agent_that_is_ahead_of_a_restored_database_gets_a_new_directive(ready: Guest) -> None:
    prefix, _, revision = ready.directive["etag"].rpartition("-")
    ahead = f"{prefix}-{int(revision) + 7}"
    assert ready.sync(etag=ahead, converged_etag=ahead).status_code == 200
    assert ready.directive["etag"] == f"{prefix}-{int(revision) + 8}"
    ready.converge()
    assert ready.control_plane.instance()["status"]["ready"]


def test_another_protocol_is_told_what_is_spoken_here(ready: Guest) -> None:
    answer = ready.sync(protocol=7)
    assert answer.status_code == 426
    assert "Update the agent" in answer.json["detail"]


def _broken(path: str, value: Any) -> Any:
    """A change of a report: puts `value` at the dotted path; ... takes the field out."""

    def change(report: dict[str, Any]) -> dict[str, Any]:
        changed = copy.deepcopy(report)
        *way, last = path.split(".")
        part: Any = changed
        for step in way:
            part = part[step]
        if value is ...:
            del part[last]
        else:
            part[last] = value
        return changed

    return pytest.param(change, path, id=f"{path}={str(value)[:30]}")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        _broken("engine", ...),
        _broken("engine", []),
        _broken("engine.state", "dancing"),
        _broken("engine.restarts", "1"),
        _broken("engine.restarts", -1),
        _broken("engine.message", 5),
        _broken("engine.message", "x" * 30_000),
        _broken("volume_used", 1e99),
        _broken("volume_used", True),
        _broken("sequence", None),
        _broken("configuration.errors", ["work_mem"]),
        _broken("configuration.pending_restart", [{"name": "a"}]),
        _broken("databases", [{"id": "shop", "generation": 1, "done": "yes", "message": ""}]),
        _broken("databases", [{"id": "", "generation": 1, "done": True, "message": ""}]),
        _broken("databases", {}),
        _broken("users", None),
        _broken("seen_users", [{"name": "x"}]),
        _broken("repairs", "all"),
        _broken("wait", -1),
        _broken("wait", 1e6),
        _broken("etag", 5),
    ],
)
def test_a_report_that_makes_no_sense_changes_nothing(ready: Guest, change: Any, path: str) -> None:
    engine = {"state": "failed", "version": None, "started_at": None, "restarts": 9, "message": "x"}
    answer = ready.sync(change(ready.report(engine=engine)))
    assert answer.status_code == 400, answer.json
    assert answer.json["errors"][0]["pointer"].startswith("/" + path.split(".")[0])
    assert ready.control_plane.instance()["status"]["ready"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"\xff", b'{"protocol": NaN}'])
def test_what_is_no_report_is_refused(ready: Guest, body: bytes) -> None:
    answer = ready.client.post(
        "/agent/v1/sync",
        data=body,
        content_type="application/json",
        headers={"Authorization": f"Bearer {ready.instance_id}.{ready.secret}"},
    )
    assert answer.status_code == 400


def test_a_long_report_is_taken_though_users_bodies_are_short(ready: Guest) -> None:
    seen = [
        {"name": f"database{number}", "character_set": "UTF8", "collation": "C", "owner": "x" * 200}
        for number in range(6000)
    ]
    assert ready.sync(seen_databases=seen).status_code == 304
    page = ready.control_plane.call("GET", "/instances/orders/databases?limit=2").json
    assert [item["name"] for item in page["items"]] == ["database0", "database1"]


NEW_SECRETS = {"abilities": ["new_secrets"]}


def age_secret(guest: Guest) -> None:
    """Let the secret be old, and its last offer."""
    long_ago = moment(-31 * 86400)
    with guest.control_plane.app.app_context(), transaction() as session:
        session.execute(update(Agent).values(secret_since=long_ago, secret_offered_at=long_ago))


def test_an_agent_gets_a_new_secret_when_its_own_is_old(
    ready: Guest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    ready.sync(**NEW_SECRETS)
    assert ready.offered is None
    age_secret(ready)
    began = time.monotonic()
    ready.sync(**NEW_SECRETS, wait=20)
    assert time.monotonic() - began < 10  # not parked with it
    former, new = ready.secret, ready.offered
    assert new
    assert ready.sync(**NEW_SECRETS).status_code in (200, 304)  # with the former, which is valid until
    assert ready.offered is None
    ready.secret = new
    assert ready.sync(**NEW_SECRETS).status_code in (200, 304)
    ready.secret = former
    assert ready.sync(**NEW_SECRETS).status_code == 401
    assert (
        f"a former secret of the agent of instance {ready.instance_id} came from 127.0.0.1" in caplog.text
    )
    assert former not in caplog.text
    assert new not in caplog.text
    ready.secret = new
    ready.sync(**NEW_SECRETS)
    assert ready.offered is None


def test_a_new_secret_that_got_lost_is_followed_by_another(ready: Guest) -> None:
    age_secret(ready)
    ready.sync(**NEW_SECRETS)
    lost = ready.offered
    age_secret(ready)
    ready.sync(**NEW_SECRETS)
    assert ready.offered not in (None, lost)
    former, ready.secret = ready.secret, str(lost)
    assert ready.sync(**NEW_SECRETS).status_code == 401
    ready.secret = former
    assert ready.sync(**NEW_SECRETS).status_code in (200, 304)


def test_an_agent_that_does_not_know_of_new_secrets_keeps_its_own(ready: Guest) -> None:
    age_secret(ready)
    ready.sync()
    assert ready.offered is None


def test_an_agent_whose_secret_has_no_date_gets_a_new_one(ready: Guest) -> None:
    with ready.control_plane.app.app_context(), transaction() as session:
        session.execute(update(Agent).values(secret_since=None, secret_offered_at=None))
    ready.sync(**NEW_SECRETS)
    assert ready.offered


def test_registering_anew_ends_a_new_secret_that_was_not_used(ready: Guest) -> None:
    age_secret(ready)
    ready.sync(**NEW_SECRETS)
    unused = ready.offered
    token = "a token of another start"
    with ready.control_plane.app.app_context(), transaction() as session:
        values = {"bootstrap_hash": digest(token), "bootstrap_expires_at": now() + timedelta(minutes=5)}
        session.execute(update(Agent).values(**values))
    assert ready.register(token).status_code == 200
    ready.secret = str(unused)
    assert ready.sync().status_code == 401
