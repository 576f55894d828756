"""A MariaDB under the agent: configuration, databases, accounts, and what happens to meddling."""

import base64
import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
import pytest
from nacl import bindings

from guest_agent import process
from guest_agent.engines import programs
from guest_agent.engines.base import EngineError, Home
from guest_agent.engines.mariadb import MariaDB, find_binaries
from guest_agent.protocol import DesiredDatabase, DesiredEngine, DesiredUser, Grant

FOLDER = find_binaries()
pytestmark = pytest.mark.skipif(FOLDER is None, reason="mariadb-server is not installed")

HOSTILE = [
    "we`ird",
    "a%b",
    "a_b",
    "dâtabase ユ",
    "it's; DROP",
    'qu"ote',
    "back\\slash",
    "-- x",
    "a.b",
]


def verifier(password: str) -> str:
    """The public key that MariaDB keeps: https://mariadb.com/kb/en/authentication-plugin-ed25519/"""
    secret = bytearray(hashlib.sha512(password.encode()).digest()[:32])
    secret[0] &= 248
    secret[31] = secret[31] & 63 | 64
    point = bindings.crypto_scalarmult_ed25519_base_noclamp(bytes(secret))
    return base64.b64encode(point).decode().rstrip("=")


def wanted_user(name: str, password: str, *grants: Grant, host: str = "%") -> DesiredUser:
    return {
        "name": name,
        "host": host,
        "generation": 1,
        "state": "present",
        "verifier": verifier(password),
        "grants": list(grants),
    }


def wanted_database(
    name: str, character_set: str | None = None, collation: str | None = None
) -> DesiredDatabase:
    return {
        "name": name,
        "generation": 1,
        "state": "present",
        "character_set": character_set,
        "collation": collation,
        "owner": None,
    }


class Place:
    """A running engine, what is wanted of it, and ways to look at it from outside."""

    def __init__(self, home: Home, wanted: DesiredEngine) -> None:
        self.home, self.wanted = home, wanted
        self.engine = MariaDB(home)

    def up(self, **parameters: str) -> None:
        self.engine.prepare(self.wanted, parameters)
        self.engine.start(self.wanted)

    def login(self, name: str, password: str, database: str | None = None) -> Any:
        return pymysql.connect(
            host="127.0.0.1",
            port=self.wanted["port"],
            user=name,
            password=password.encode(),  # a text would go as Latin-1
            database=database,
            autocommit=True,
            ssl_disabled=True,
        )

    def as_user(self, name: str, password: str, statement: str) -> Any:
        with closing(self.login(name, password)) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    def by_hand(self, *statements: str) -> Any:
        """As somebody with the machine's root, who may come in as the agent does."""
        with (
            self.engine._session() as server,
            server._connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall()

    def running(self, name: str) -> Any:
        return self.by_hand(f"SELECT @@GLOBAL.{name}")[0][0]


@pytest.fixture(scope="module")
def new_place(make_home: Callable[..., Home], free_port: Any, desired_engine: Any) -> Any:
    def make() -> Place:
        assert FOLDER
        home = make_home(FOLDER)
        version = ".".join(MariaDB(home).version().split(".")[:2])
        return Place(home, desired_engine("mariadb", version, free_port()))

    return make


@pytest.fixture(scope="module")
def shared(new_place: Any) -> Iterator[Place]:
    place: Place = new_place()
    place.up()
    yield place
    place.engine.stop()


@pytest.fixture
def place(shared: Place) -> Place:
    """The shared server, empty, with every parameter at its default."""
    shared.up()
    for user in shared.engine.users():
        shared.engine.drop_user(user["name"], user["host"])
    for database in shared.engine.databases():
        shared.engine.drop_database(database["name"])
    shared.engine.apply_configuration(shared.wanted, {})
    return shared


def test_a_server_is_found_again_and_never_started_twice(place: Place) -> None:
    pid = place.engine._process().pid
    other = MariaDB(place.home)
    other.start(place.wanted)
    assert other._process().pid == pid
    noted = place.home.run / "mariadb.pid"
    kept = noted.read_text()
    noted.unlink()
    assert MariaDB(place.home)._process().pid == pid
    noted.write_text(kept)
    other.stop()
    assert not place.engine.running()
    with pytest.raises(EngineError, match="does not answer"):
        place.engine.health()
    place.up()


def test_the_server_does_not_run_as_root(place: Place) -> None:
    assert place.engine._process().uids().real != 0
    if os.geteuid() == 0:
        careless = Home(place.home.data, place.home.run, place.home.binaries, account=None)
        with pytest.raises(EngineError, match="never runs as root"):
            MariaDB(careless).prepare(place.wanted, {})


def test_an_interrupted_initialisation_is_done_again(new_place: Any) -> None:
    place = new_place()
    half = place.home.data / "mariadb.new" / "mysql"
    half.mkdir(parents=True)
    (half / "left").write_text("behind")
    place.up()
    place.engine.health()
    assert not half.parent.exists()
    place.engine.stop()


def test_a_start_removes_only_temporary_tables_of_its_own(place: Place, new_place: Any) -> None:
    """It removes what has such a name in its folder for temporary files, whoever made it."""
    left = Path(place.running("tmpdir")) / "#sql-temptable-1-2-3.MAI"
    left.touch()
    os.chown(left, *(getattr(place.home.account, each, -1) for each in ("uid", "gid")))
    other = new_place()
    other.up()
    other.engine.stop()
    assert left.exists()
    place.engine.stop()
    place.up()
    assert not left.exists()


def test_unknown_data_is_never_wiped(new_place: Any) -> None:
    place = new_place()
    strange = place.home.data / "mariadb" / "thesis.txt"
    strange.parent.mkdir()
    strange.write_text("years of work")
    with pytest.raises(EngineError, match="holds something"):
        place.engine.prepare(place.wanted, {})
    assert strange.read_text() == "years of work"


def test_a_killed_server_recovers_what_was_committed(place: Place) -> None:
    place.by_hand("CREATE DATABASE d", "CREATE TABLE d.t (x int)", "INSERT INTO d.t VALUES (42)", "COMMIT")
    found = process.find(place.home.run / "mariadb.pid")
    assert found
    found.kill()
    deadline = time.monotonic() + 5
    while place.engine.running() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not place.engine.running()
    place.up()
    assert place.by_hand("SELECT x FROM d.t") == ((42,),)


def test_nobody_comes_in_over_the_network_at_first(place: Place) -> None:
    for name in ("root", "mysql", "", "mariadb.sys", "nobody"):
        with pytest.raises(pymysql.MySQLError):
            place.login(name, "")
    assert place.engine.users() == []
    assert place.engine.databases() == []


def test_memory_follows_the_flavor(place: Place) -> None:
    assert abs(place.running("innodb_buffer_pool_size") - (307 << 20)) <= 8 << 20
    assert place.running("max_connections") == 64
    bigger: DesiredEngine = {**place.wanted, "ram": 1024}
    seen = place.engine.apply_configuration(bigger, {})
    assert place.running("max_connections") == 128
    assert [each["name"] for each in seen["pending_restart"]] == ["aria_pagecache_buffer_size"]


def test_a_dynamic_parameter_is_applied_and_goes_back_to_its_default(place: Place) -> None:
    named = {
        "max_connections": "77",
        "long_query_time": "1.5",
        "innodb_buffer_pool_size": "200M",
        "sql_mode": "ansi_quotes",
        "slow_query_log": "on",
        "binlog_format": "ROW",
        "optimizer_switch": "mrr=on",
        "time_zone": "+02:00",
        "tx_isolation": "READ-COMMITTED",
        "tx_read_only": "ON",
        "max_statement_time": "0.000001",
        "collation_server": "latin1_bin",
        "ft_boolean_syntax": '+ -><()~*:""&|',
    }
    seen = place.engine.apply_configuration(place.wanted, named)
    assert seen["in_sync"], seen
    assert set(seen["changed"]) >= {"max_connections", "sql_mode", "time_zone", "slow_query_log"}
    seen = place.engine.apply_configuration(place.wanted, named)
    assert seen["in_sync"]
    assert seen["changed"] == []
    assert place.running("max_connections") == 77
    assert place.running("innodb_buffer_pool_size") == 200 << 20
    place.engine.stop()
    place.up(**named)
    again = MariaDB(place.home).apply_configuration(place.wanted, named)
    assert again["in_sync"], again
    assert again["changed"] == []
    assert place.running("long_query_time") == 1.5
    assert place.running("time_zone") == "+02:00"
    assert place.running("tx_isolation") == "READ-COMMITTED"
    assert place.running("character_set_server") == "latin1"
    assert place.engine.apply_configuration(place.wanted, {})["in_sync"]
    assert place.running("max_connections") == 64
    assert place.running("long_query_time") == 10
    assert place.running("slow_query_log") == 0
    assert place.running("time_zone") == "SYSTEM"
    assert place.running("character_set_server") == "utf8mb4"
    assert "STRICT_TRANS_TABLES" in place.running("sql_mode")
    assert "mrr=off" in place.running("optimizer_switch")
    assert place.engine.apply_configuration(place.wanted, {})["changed"] == []


@pytest.mark.parametrize("value", ["on", "TRUE", "1", "yes"])
def test_a_boolean_may_be_written_in_the_usual_ways(place: Place, value: str) -> None:
    named = {"slow_query_log": value, "performance_schema": value}
    seen = place.engine.apply_configuration(place.wanted, named)
    assert not seen["errors"]
    assert place.running("slow_query_log") == 1
    place.engine.stop()
    place.up(**named)
    assert place.running("slow_query_log") == 1
    assert place.running("performance_schema") == 1
    assert place.engine.apply_configuration(place.wanted, named)["in_sync"]
    place.engine.stop()


def test_a_parameter_changed_by_hand_is_put_right(place: Place) -> None:
    named = {"wait_timeout": "500"}
    place.engine.apply_configuration(place.wanted, named)
    place.by_hand(
        "SET GLOBAL wait_timeout = 1", "SET GLOBAL sort_buffer_size = 65536",
        "SET GLOBAL local_infile = 1",
    )  # fmt: skip
    seen = place.engine.apply_configuration(place.wanted, named)
    assert seen["changed"] == ["local_infile", "sort_buffer_size", "wait_timeout"]
    assert place.running("wait_timeout") == 500
    assert place.running("sort_buffer_size") == 2097152
    assert place.running("local_infile") == 0


def test_a_parameter_that_needs_a_restart_is_pending_until_then(place: Place) -> None:
    named = {"back_log": "99", "innodb_log_buffer_size": "17M"}
    seen = place.engine.apply_configuration(place.wanted, named)
    assert [(each["name"], each["desired"]) for each in seen["pending_restart"]] == [
        ("back_log", "99"),
        ("innodb_log_buffer_size", "17M"),
    ]
    assert not seen["in_sync"]
    place.engine.stop()
    place.up(**named)
    assert place.running("back_log") == 99
    assert place.engine.apply_configuration(place.wanted, named)["in_sync"]
    seen = place.engine.apply_configuration(place.wanted, {})
    assert seen["pending_restart"][0] == {"name": "back_log", "running": "99", "desired": None}
    place.engine.stop()
    place.up()
    assert place.engine.apply_configuration(place.wanted, {})["in_sync"]


def test_refused_values_are_told_and_do_not_keep_it_from_starting(place: Place) -> None:
    bad = {
        "max_connections": "many",
        "wait_timeout": "0",
        "back_log": "1000000",
        "binlog_format": "SOMETIMES",
        "general_log": "perhaps",
        "sql_mode": "NO_SUCH_MODE",
        "collation_server": "klingon",
        "port": "1",
        "no_such": "1",
        "skip-grant-tables": "1",
        "secure_file_priv": "/",
    }
    seen = place.engine.apply_configuration(place.wanted, bad | {"interactive_timeout": "300"})
    assert seen["errors"].keys() == bad.keys()
    assert "between 1 and" in seen["errors"]["wait_timeout"]
    assert "STATEMENT" in seen["errors"]["binlog_format"]
    assert "klingon" in seen["errors"]["collation_server"]
    assert "Coffret" in seen["errors"]["port"]
    place.engine.stop()
    place.up(**bad, interactive_timeout="300")
    assert place.running("interactive_timeout") == 300
    with pytest.raises(pymysql.MySQLError):
        place.login("root", "")


def test_a_value_it_cannot_start_with_is_told_in_its_own_words(place: Place) -> None:
    place.engine.stop()
    with pytest.raises(EngineError, match=r"(?i)memory|buffer"):
        place.up(innodb_buffer_pool_size="900T")
    assert not place.engine.running()
    place.up()
    place.engine.health()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("innodb_log_buffer_size", "nonsense", "no integer"),
        ("myisam_recover_options", "nonsense", "Error while setting value 'nonsense'"),
        ("collation_server", "klingon", "Unknown collation: 'klingon'"),
        ("time_zone", "Mars/Base", "Unknown or incorrect time zone"),
        ("default_storage_engine", "nonsense", "Unknown storage engine"),
        ("date_format", "é" * 2038 + "xskip_grant_tables #", "too long"),
        ("no_such_thing", "1", "no such parameter"),
        ("chroot", "/", "no such parameter"),
        ("innodb_tmpdir", "/var/tmp", "Coffret"),
    ],
)
def test_a_start_leaves_out_what_the_engine_does_not_take(
    place: Place, name: str, value: str, words: str
) -> None:
    place.engine.stop()
    parameters = {name: value, "back_log": "99", "lc_time_names": "de_DE"}
    place.up(**parameters)
    assert place.running("back_log") == 99
    seen = place.engine.apply_configuration(place.wanted, parameters)
    assert seen["errors"].keys() == {name}
    assert words in seen["errors"][name]
    assert seen["pending_restart"] == []
    assert place.running("lc_time_names") == "de_DE"


def test_of_two_values_that_do_not_go_together_one_is_left_out(place: Place) -> None:
    parameters = {"character_set_server": "utf8mb4", "collation_server": "latin1_bin"}
    seen = place.engine.apply_configuration(place.wanted, parameters)
    assert "is not valid for CHARACTER SET" in seen["errors"]["collation_server"]
    place.engine.stop()
    place.up(**parameters)
    assert place.running("character_set_server") == "utf8mb4"


def test_a_value_that_is_refused_goes_back_to_what_a_start_gives(place: Place) -> None:
    place.engine.apply_configuration(place.wanted, {"time_zone": "+02:00", "max_connections": "77"})
    seen = place.engine.apply_configuration(place.wanted, {"time_zone": "Mars", "max_connections": "many"})
    assert seen["errors"].keys() == {"time_zone", "max_connections"}
    assert set(seen["changed"]) == {"time_zone", "max_connections"}
    assert (place.running("time_zone"), place.running("max_connections")) == ("SYSTEM", 64)


def test_values_cannot_break_out_of_the_option_file(place: Place) -> None:
    place.engine.stop()
    sly = '"\nskip_grant_tables\n[mariadbd]\nport = 1\n#'
    place.up(ft_boolean_syntax='+ -><()~*:""&|', init_connect=sly, sql_mode="ANSI_QUOTES", date_format=sly)
    assert place.running("ft_boolean_syntax") == '+ -><()~*:""&|'
    assert place.running("skip_grant_tables") == 0
    assert place.running("init_connect") == ""
    assert place.running("date_format") == "%Y-%m-%d"


def test_a_taken_port_is_said(place: Place) -> None:
    place.engine.stop()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", place.wanted["port"]))
        taken.listen()
        with pytest.raises(EngineError, match="Address already in use"):
            place.up()
    assert not place.engine.running()
    place.up()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_database_may_have_any_name(place: Place, name: str) -> None:
    others = wanted_database(name.replace("_", "x").replace("%", "yy") + "z")
    place.engine.ensure_database(others)
    assert place.engine.ensure_database(wanted_database(name))
    assert place.engine.ensure_database(wanted_database(name)) is None
    user = wanted_user("app", "p", {"database": name, "privileges": ["ALL"]})
    place.engine.ensure_user(user)
    assert place.engine.ensure_grants(user)
    assert place.engine.ensure_grants(user) is None
    assert place.engine.users()[0]["grants"] == user["grants"]
    with closing(place.login("app", "p", name)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (x int)")
        cursor.execute("SHOW DATABASES")
        assert {row[0] for row in cursor.fetchall()} - {"information_schema"} == {name}
    assert place.engine.drop_database(name)
    assert place.engine.drop_database(name) is None


def test_a_grant_on_a_name_with_a_wildcard_is_for_that_one_only(place: Place) -> None:
    for name in ("a_b", "axb"):
        place.engine.ensure_database(wanted_database(name))
    user = wanted_user("app", "p", {"database": "a_b", "privileges": ["ALL"]})
    place.engine.ensure_user(user)
    place.engine.ensure_grants(user)
    place.login("app", "p", "a_b").close()
    with pytest.raises(pymysql.MySQLError, match="denied"):
        place.login("app", "p", "axb")


def test_character_set_and_collation_are_made_and_put_right(place: Place) -> None:
    shop = wanted_database("shop", "utf8mb4", "utf8mb4_unicode_ci")
    place.engine.ensure_database(shop)
    assert place.engine.databases() == [
        {
            "name": "shop",
            "character_set": "utf8mb4",
            "collation": "utf8mb4_unicode_ci",
            "owner": None,
        }
    ]
    place.by_hand("ALTER DATABASE shop COLLATE latin1_bin")
    assert place.engine.ensure_database(wanted_database("shop")) is None
    assert place.engine.ensure_database(shop)
    assert place.engine.databases()[0]["collation"] == "utf8mb4_unicode_ci"
    for one, other, words in (
        ("klingon", None, "klingon"),
        ("utf8mb4", "latin1_bin", "not valid for CHARACTER SET"),
    ):
        with pytest.raises(EngineError, match=words):
            place.engine.ensure_database(wanted_database("other", one, other))
    assert [each["name"] for each in place.engine.databases()] == ["shop"]


def test_every_collation_of_the_catalogue_can_be_used(place: Place) -> None:
    sets = place.engine.catalogue()["character_sets"]
    assert "utf8mb4_general_ci" in sets["utf8mb4"]
    for character_set, collations in sets.items():
        for collation in {collations[0], collations[-1]}:
            place.engine.ensure_database(wanted_database("c", character_set, collation))
            seen = place.engine.databases()[0]
            assert (seen["character_set"], seen["collation"]) == (character_set, collation)


@pytest.mark.parametrize("name", ["mysql", "information_schema", "sys", "", "n\0l", "x" * 65])
def test_a_database_that_cannot_be_is_refused(place: Place, name: str) -> None:
    with pytest.raises(EngineError):
        place.engine.ensure_database(wanted_database(name))
    assert place.engine.databases() == []


def test_a_database_has_no_owner(place: Place) -> None:
    with pytest.raises(EngineError, match="no owner"):
        place.engine.ensure_database({**wanted_database("d"), "owner": "app"})


def test_a_user_logs_in_with_its_password_and_does_what_it_was_granted(place: Place) -> None:
    place.engine.ensure_database(wanted_database("shop"))
    place.by_hand("CREATE TABLE shop.t (x int)")
    user = wanted_user("app", "s3cret ü", {"database": "shop", "privileges": ["SELECT", "insert"]})
    assert place.engine.ensure_user(user) == "user app@% created"
    assert place.engine.ensure_grants(user)
    assert place.engine.ensure_user(user) is None
    assert place.engine.ensure_grants(user) is None
    place.as_user("app", "s3cret ü", "INSERT INTO shop.t VALUES (1)")
    assert place.as_user("app", "s3cret ü", "SELECT x FROM shop.t") == ((1,),)
    for refused in ("DELETE FROM shop.t", "CREATE DATABASE mine", "SET GLOBAL max_connections=10"):
        with pytest.raises(pymysql.MySQLError, match="denied"):
            place.as_user("app", "s3cret ü", refused)
    with pytest.raises(pymysql.MySQLError, match="denied"):
        place.login("app", "wrong")
    assert place.engine.ensure_user(wanted_user("app", "new"))
    place.login("app", "new").close()


def test_no_verifier_gets_into_the_engines_logs(place: Place) -> None:
    named = {"general_log": "ON", "slow_query_log": "ON", "long_query_time": "0"}
    place.engine.apply_configuration(place.wanted, named)
    user = wanted_user("app", "p")
    place.engine.ensure_user(user)
    place.as_user("app", "p", "SELECT 'this is logged'")
    logs = [path.read_text(errors="replace") for path in (place.home.data / "mariadb").glob("*.log")]
    assert any("this is logged" in text for text in logs)
    assert not any(user["verifier"] in text for text in logs)


def test_hosts_tell_accounts_apart(place: Place) -> None:
    near, far = wanted_user("app", "a", host="127.0.0.1"), wanted_user("app", "b", host="10.%")
    for user in (near, far):
        place.engine.ensure_user(user)
    place.login("app", "a").close()
    with pytest.raises(pymysql.MySQLError):
        place.login("app", "b")
    assert place.engine.drop_user("app", "10.%") == "user app@10.% dropped"
    assert [user["host"] for user in place.engine.users()] == ["127.0.0.1"]
    place.login("app", "a").close()


def test_a_user_changed_by_hand_is_put_right(place: Place) -> None:
    for name in ("a", "b"):
        place.engine.ensure_database(wanted_database(name))
    place.by_hand("CREATE TABLE a.t (x int)", "CREATE PROCEDURE a.p() SELECT 1", "CREATE ROLE r")
    user = wanted_user("app", "p", {"database": "a", "privileges": ["SELECT", "UPDATE"]})
    place.engine.ensure_user(user)
    place.engine.ensure_grants(user)
    place.by_hand(
        "ALTER USER app@'%' IDENTIFIED BY 'other' REQUIRE SSL WITH MAX_USER_CONNECTIONS 1 "
        "ACCOUNT LOCK PASSWORD EXPIRE",
        "GRANT SELECT, SUPER, FILE ON *.* TO app@'%' WITH GRANT OPTION",
        "GRANT ALL ON b.* TO app@'%'",
        "GRANT DELETE ON a.* TO app@'%' WITH GRANT OPTION",
        "GRANT DROP ON a.t TO app@'%'",
        "GRANT INSERT (x) ON a.t TO app@'%'",
        "GRANT EXECUTE ON PROCEDURE a.p TO app@'%'",
        "GRANT r TO app@'%'",
        "GRANT PROXY ON root@localhost TO app@'%'",
        "REVOKE UPDATE ON a.* FROM app@'%'",
    )
    assert place.engine.ensure_user(user)
    assert place.engine.ensure_grants(user)
    assert place.engine.ensure_user(user) is None
    assert place.engine.ensure_grants(user) is None
    assert place.engine.users() == [{"name": "app", "host": "%", "grants": user["grants"]}]
    shown = " ".join(row[0] for row in place.as_user("app", "p", "SHOW GRANTS"))
    assert shown.count("GRANT ") == 2, shown
    assert "GRANT USAGE ON *.*" in shown
    assert "GRANT SELECT, UPDATE ON `a`.*" in shown
    place.by_hand("DROP ROLE r")


@pytest.mark.parametrize(
    ("before", "after"),
    [(["ALL"], ["SELECT"]), (["SELECT"], ["ALL"]), (["ALL"], None), (["EVENT", "DROP"], ["DROP"])],
)
def test_grants_become_exactly_the_wanted_ones(
    place: Place, before: list[str], after: list[str] | None
) -> None:
    one = wanted_user("app", "p", {"database": "d", "privileges": before})
    other = wanted_user("app", "p")
    if after:
        other["grants"] = [{"database": "d", "privileges": after}]
    place.engine.ensure_user(one)
    place.engine.ensure_grants(one)
    assert place.engine.ensure_grants(other)
    assert place.engine.ensure_grants(other) is None
    assert place.engine.users()[0]["grants"] == other["grants"]


@pytest.mark.parametrize(
    "given",
    [
        "INSERT (x) ON d.t",
        "SELECT ON d.t",
        "GRANT OPTION ON d.t",
        "EXECUTE ON PROCEDURE d.p",
        "GRANT OPTION ON PROCEDURE d.p",
        "SELECT ON `%`.*",
        "PROCESS ON *.*",
        "GRANT OPTION ON *.*",
    ],
)
def test_whatever_else_was_given_by_hand_is_taken_away(place: Place, given: str) -> None:
    user = wanted_user("app", "p")
    place.engine.ensure_user(user)
    place.by_hand(
        "CREATE DATABASE d", "CREATE TABLE d.t (x int)", "CREATE PROCEDURE d.p() SELECT 1",
        f"GRANT {given} TO app@'%'",
    )  # fmt: skip
    assert place.engine.ensure_grants(user)
    assert place.engine.ensure_grants(user) is None
    shown = [row[0] for row in place.as_user("app", "p", "SHOW GRANTS")]
    assert len(shown) == 1, shown


def test_one_that_has_all_cannot_give_it_to_others(place: Place) -> None:
    user = wanted_user("app", "p", {"database": "d", "privileges": ["ALL"]})
    place.engine.ensure_user(user)
    place.engine.ensure_grants(user)
    place.engine.ensure_user(wanted_user("friend", "q"))
    with pytest.raises(pymysql.MySQLError, match="denied"):
        place.as_user("app", "p", "GRANT SELECT ON d.* TO friend@'%'")


@pytest.mark.parametrize(
    "grant",
    [
        {"database": "d", "privileges": ["SUPER"]},
        {"database": "d", "privileges": ["SELECT ON *.* TO x@y; --"]},
        {"database": "d", "privileges": ["GRANT OPTION"]},
        {"database": None, "privileges": ["SELECT"]},
        {"privileges": ["ALL"]},
    ],
)
def test_a_grant_that_is_none_changes_nothing(place: Place, grant: Grant) -> None:
    good = wanted_user("app", "p", {"database": "d", "privileges": ["SELECT"]})
    place.engine.ensure_user(good)
    place.engine.ensure_grants(good)
    with pytest.raises(EngineError):
        place.engine.ensure_grants({**good, "grants": [grant]})
    assert place.engine.users()[0]["grants"] == good["grants"]


def test_a_user_may_have_any_name(place: Place) -> None:
    for name in (
        "o'brien",
        'qu"ote',
        "back\\slash",
        "at@home",
        "per%cent",
        "名前",
        "x" * 80,
        "a b",
    ):
        user = wanted_user(name, "p", {"database": "d", "privileges": ["SELECT"]})
        place.engine.ensure_user(user)
        place.engine.ensure_grants(user)
        assert place.engine.ensure_user(user) is None, name
        assert place.engine.ensure_grants(user) is None, name
        place.login(name, "p").close()
        assert place.engine.users() == [{"name": name, "host": "%", "grants": user["grants"]}]
        assert place.engine.drop_user(name, "%")
    assert place.engine.users() == []


@pytest.mark.parametrize("name", ["root", "mysql", "mariadb.sys", "PUBLIC", "", "x" * 81])
def test_the_engines_own_accounts_are_out_of_reach(place: Place, name: str) -> None:
    with pytest.raises(EngineError):
        place.engine.ensure_user(wanted_user(name, "p"))
    with pytest.raises(EngineError):
        place.engine.drop_user(name, "localhost")
    with pytest.raises(EngineError):
        place.engine.ensure_grants(wanted_user(name, "p"))
    place.engine.health()


def test_what_nobody_manages_is_listed_and_left_alone(place: Place) -> None:
    place.by_hand(
        "CREATE DATABASE theirs",
        "CREATE USER guest@localhost IDENTIFIED BY 'x'",
        "GRANT SELECT ON *.* TO guest@localhost",
        "GRANT ALL ON theirs.* TO guest@localhost WITH GRANT OPTION",
        "CREATE ROLE helpers",
    )
    place.engine.prepare(place.wanted, {})
    place.engine.apply_configuration(place.wanted, {})
    assert [each["name"] for each in place.engine.databases()] == ["theirs"]
    assert place.engine.users() == [
        {
            "name": "guest",
            "host": "localhost",
            "grants": [
                {"database": "theirs", "privileges": ["ALL", "GRANT OPTION"]},
                {"database": None, "privileges": ["SELECT"]},
            ],
        }
    ]
    place.by_hand("DROP ROLE helpers")


def test_dropping_a_user_ends_its_sessions(place: Place) -> None:
    user = wanted_user("app", "p")
    place.engine.ensure_user(user)
    with closing(place.login("app", "p")) as connection:
        assert place.engine.drop_user("app", "%") == "user app@% dropped"
        assert place.engine.drop_user("app", "%") is None
        with pytest.raises(pymysql.MySQLError), connection.cursor() as cursor:
            cursor.execute("SELECT 1")


DEFINES = """
CREATE DEFINER=app@`%` VIEW d.v AS SELECT 1
CREATE DEFINER=app@`%` SQL SECURITY INVOKER VIEW d.invoked AS SELECT 1
CREATE DEFINER=app@`%` PROCEDURE d.p() SELECT 1
CREATE DEFINER=app@`%` FUNCTION d.f() RETURNS INT RETURN 1
CREATE DEFINER=app@`%` TRIGGER d.g BEFORE INSERT ON d.t FOR EACH ROW SET NEW.i = 1
CREATE DEFINER=app@`%` EVENT d.e ON SCHEDULE EVERY 1 YEAR DO SELECT 1
"""
"""What is run as `app`, whoever uses it, but for `invoked`."""


def test_what_a_dropped_user_defined_is_named_and_stays(place: Place) -> None:
    place.engine.ensure_user(wanted_user("app", "p"))
    place.engine.ensure_database(wanted_database("d"))
    place.by_hand("CREATE TABLE d.t (i INT)", *DEFINES.strip().splitlines())
    named = "view d.v, function d.f, procedure d.p, trigger d.g, event d.e"
    with (
        closing(place.login("app", "p")) as connection,
        connection.cursor() as cursor,
    ):
        with pytest.raises(EngineError, match=f"app@% is the DEFINER of {named}. Its deletion_policy is"):
            place.engine.drop_user("app", "%", "refuse")
        cursor.execute("SELECT 1")  # it goes on as before
    assert place.engine.drop_user("app", "%") == (
        f"user app@% dropped; it is still the DEFINER of {named}, which fail when they are used"
    )
    with pytest.raises(pymysql.MySQLError, match="definer"):
        place.by_hand("SELECT * FROM d.v")
    assert place.by_hand("SELECT * FROM d.invoked") == ((1,),)


def test_one_that_defines_nothing_is_dropped_by_any_policy(place: Place) -> None:
    place.engine.ensure_user(wanted_user("app", "p"))
    assert place.engine.drop_user("app", "%", "refuse") == "user app@% dropped"


def test_the_catalogue_is_what_the_engine_says(place: Place) -> None:
    catalogue = place.engine.catalogue()
    assert catalogue["engine_version"] == place.engine.version()
    parameters = {each["name"]: each for each in catalogue["parameters"]}
    connections = parameters["max_connections"]
    assert (connections["type"], connections["minimum"]) == ("integer", 10)
    assert connections["default"] is None
    assert "clients" in connections["description"]
    assert parameters["long_query_time"]["type"] == "number"
    assert parameters["slow_query_log"]["type"] == "boolean"
    assert "ROW" in (parameters["binlog_format"]["values"] or [])
    assert parameters["back_log"]["restart_required"]
    assert not parameters["wait_timeout"]["restart_required"]
    for name in ("port", "socket", "datadir", "secure_file_priv", "plugin_dir", "version"):
        assert not parameters[name]["settable"], name
    for name in ("time_zone", "character_set_server", "tx_isolation", "sql_mode"):
        assert parameters[name]["settable"], name


def test_every_default_of_the_catalogue_is_accepted(place: Place) -> None:
    named = {
        each["name"]: each["default"]
        for each in place.engine.catalogue()["parameters"]
        if each["settable"] and each["default"] is not None
    }
    errors = place.engine.apply_configuration(place.wanted, named)["errors"]
    assert errors.keys() <= {"thread_pool_size"}  # for when there is a thread pool


def test_a_lock_does_not_hold_the_agent_for_long(place: Place, monkeypatch: Any) -> None:
    monkeypatch.setattr(
        "guest_agent.engines.mariadb.session._SETTINGS", ("SET SESSION lock_wait_timeout = 1",)
    )
    place.by_hand("CREATE DATABASE d", "CREATE TABLE d.t (x int)")
    user = wanted_user("app", "p", {"database": "d", "privileges": ["ALL"]})
    place.engine.ensure_user(user)
    place.engine.ensure_grants(user)
    with closing(place.login("app", "p", "d")) as connection, connection.cursor() as cursor:
        connection.begin()
        cursor.execute("SELECT * FROM t")
        with pytest.raises(EngineError, match="Lock wait timeout"):
            place.engine.drop_database("d")
    assert place.engine.drop_database("d")


def test_another_version_than_the_wanted_one_is_refused(place: Place) -> None:
    with pytest.raises(EngineError, match=r"9\.9 is wanted"):
        place.engine.prepare({**place.wanted, "version": "9.9"}, {})
    with pytest.raises(EngineError, match="is wanted"):
        programs.check_version("10.1", "10.11.6")
