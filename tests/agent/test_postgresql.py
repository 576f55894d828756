"""PostgreSQL under management, against the real engine."""

import base64
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
import psycopg
import pytest
import scramp

from guest_agent.engines.base import Account, EngineError, Home
from guest_agent.engines.postgresql import PostgreSQL, find_binaries
from guest_agent.engines.postgresql.binaries import major, read_version
from guest_agent.engines.postgresql.cluster import data_directory
from guest_agent.protocol import DesiredDatabase, DesiredEngine, DesiredUser, Grant

BINARIES = cast(Path, find_binaries(None))
VERSION = str(major(read_version(BINARIES)))

MakeHome = Callable[..., Home]
HOSTILE = [
    'quo"te',
    "apo'strophe",
    "per%cent %s",
    "spa ce",
    "ünïcödé 数据",
    "semi;--",
    "back\\slash",
]


def verifier(password: str) -> str:
    """What PostgreSQL itself would store."""
    salt, stored, server, rounds = scramp.ScramMechanism("SCRAM-SHA-256").make_auth_info(password)
    salt_, stored_, server_ = (base64.b64encode(each).decode() for each in (salt, stored, server))
    return f"SCRAM-SHA-256${rounds}:{salt_}${stored_}:{server_}"


def database(name: str, **changes: Any) -> DesiredDatabase:
    wanted = {"character_set": None, "collation": None, "owner": None} | changes
    return cast(DesiredDatabase, {"name": name, "generation": 1, "state": "present", **wanted})


def user(name: str, password: str = "secret", **grants: list[str]) -> DesiredUser:
    """`user("x", db=["SELECT"])`."""
    return DesiredUser(
        name=name,
        host="%",
        generation=1,
        state="present",
        verifier=verifier(password),
        grants=[Grant(database=each, privileges=held) for each, held in grants.items()],
    )


@dataclass
class Managed:
    """An engine with what is wanted of it."""

    engine: PostgreSQL
    desired: DesiredEngine

    def bring_up(self, **parameters: str) -> None:
        self.engine.prepare(self.desired, parameters)
        self.engine.start(self.desired)

    def apply(self, **parameters: str) -> Any:
        return self.engine.apply_configuration(self.desired, parameters)

    def connect(self, user: str, database: str, password: str = "secret") -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.desired["port"],
            user=user,
            password=password,
            dbname=database,
            autocommit=True,
        )

    def by_hand(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """What an operator does behind the agent's back."""
        with self.operator(database) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def operator(self, database: str) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.engine.home.run),
            port=self.desired["port"],
            user="coffret_admin",
            dbname=database,
            autocommit=True,
        )

    def postmaster(self) -> int:
        noted = (data_directory(self.engine.home) / "postmaster.pid").read_text()
        return int(noted.splitlines()[0])

    def grants_of(self, name: str) -> list[Grant]:
        return next(each["grants"] for each in self.engine.users() if each["name"] == name)

    def owned(self, names: list[str], owner: str | None) -> None:
        for each in names:
            self.engine.ensure_database(database(each, owner=owner))


@pytest.fixture(scope="module")
def make_managed(
    make_home: MakeHome, free_port: Callable[[], int], desired_engine: Callable[..., DesiredEngine]
) -> Iterator[Callable[[], Managed]]:
    made: list[Managed] = []

    def make() -> Managed:
        wanted = desired_engine("postgresql", VERSION, free_port())
        made.append(Managed(PostgreSQL(make_home(BINARIES)), wanted))
        return made[-1]

    yield make
    for each in made:
        each.engine.stop()


@pytest.fixture(scope="module")
def shared(make_managed: Callable[[], Managed]) -> Managed:
    """One running engine for the tests that leave it running."""
    managed = make_managed()
    managed.bring_up()
    return managed


@pytest.fixture
def managed(shared: Managed) -> Iterator[Managed]:
    """The shared engine, emptied afterwards."""
    yield shared
    for each in shared.engine.databases():
        shared.engine.drop_database(each["name"])
    for each in shared.engine.users():
        shared.engine.drop_user(each["name"], "%")
    shared.apply()


# The server


def test_it_starts_answers_and_stops(make_managed: Callable[[], Managed]) -> None:
    managed = make_managed()
    engine = managed.engine
    assert not engine.running()
    managed.bring_up()
    assert engine.running()
    engine.health()
    assert engine.version().split(".")[0] == VERSION
    engine.stop()
    assert not engine.running()
    with pytest.raises(EngineError):
        engine.health()
    managed.bring_up()
    engine.health()


def test_it_never_runs_as_root(shared: Managed, account: Account | None) -> None:
    process = psutil.Process(shared.postmaster())
    assert process.username() == (account.name if account else psutil.Process().username())
    assert process.uids().real != 0
    assert all(
        path.stat().st_uid == process.uids().real
        for path in data_directory(shared.engine.home).rglob("*.conf")
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be refused for being root")
def test_root_without_an_account_is_refused(shared: Managed, tmp_path: Path) -> None:
    engine = PostgreSQL(Home(tmp_path / "data", tmp_path / "run", BINARIES, None))
    with pytest.raises(EngineError, match="never runs as root"):
        engine.prepare(shared.desired, {})


def test_an_engine_whose_agent_was_killed_is_found_again(
    make_managed: Callable[[], Managed], account: Account | None
) -> None:
    managed = make_managed()
    managed.engine.prepare(managed.desired, {})
    home = managed.engine.home
    agent = f"""
import os, signal
from pathlib import Path
from guest_agent.engines.base import Account, Home
from guest_agent.engines.postgresql import PostgreSQL
home = Home(Path({str(home.data)!r}), Path({str(home.run)!r}), Path({str(home.binaries)!r}),
    {account!r})
PostgreSQL(home).start({managed.desired!r})
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", agent], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    started = managed.postmaster()

    (home.run / "postgres.pid").unlink()  # killed even before it noted the pid
    again = Managed(PostgreSQL(home), managed.desired)
    assert again.engine.running()
    again.bring_up()
    again.engine.health()
    assert again.postmaster() == started
    again.engine.stop()
    assert not managed.engine.running()


def test_a_killed_engine_is_started_again_and_keeps_its_data(
    make_managed: Callable[[], Managed],
) -> None:
    managed = make_managed()
    managed.bring_up()
    managed.by_hand("CREATE TABLE kept AS SELECT 1 AS a")
    busy = psutil.Process(managed.postmaster()).children()
    os.kill(managed.postmaster(), signal.SIGKILL)
    psutil.wait_procs(busy, timeout=10)
    assert not managed.engine.running()
    managed.bring_up()
    assert managed.by_hand("SELECT a FROM kept") == [(1,)]


def test_an_interrupted_initdb_is_done_again(
    make_managed: Callable[[], Managed], account: Account | None
) -> None:
    managed = make_managed()
    home = managed.engine.home
    agent = f"""
from pathlib import Path
from guest_agent.engines.base import Account, Home
from guest_agent.engines.postgresql import PostgreSQL
home = Home(Path({str(home.data)!r}), Path({str(home.run)!r}), Path({str(home.binaries)!r}),
    {account!r})
PostgreSQL(home).prepare({managed.desired!r}, {{}})
"""
    child = subprocess.Popen([sys.executable, "-c", agent])
    deadline = time.monotonic() + 30
    while not list(home.data.glob("pgdata.new-*/base/1")):
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.005)
    child.kill()
    child.wait()
    assert not data_directory(home).exists()
    managed.bring_up()
    managed.engine.health()


def test_a_data_directory_with_something_else_in_it_is_left_alone(
    make_managed: Callable[[], Managed],
) -> None:
    managed = make_managed()
    precious = data_directory(managed.engine.home) / "precious"
    precious.parent.mkdir()
    precious.write_text("thesis")
    with pytest.raises(EngineError, match="holds no PostgreSQL data"):
        managed.engine.prepare(managed.desired, {})
    assert precious.read_text() == "thesis"


def test_another_major_version_is_refused(shared: Managed) -> None:
    older = cast(DesiredEngine, {**shared.desired, "version": "15" if VERSION != "15" else "16"})
    with pytest.raises(EngineError, match=f"made by PostgreSQL {VERSION}"):
        shared.engine.prepare(older, {})
    shared.engine.health()


def test_binaries_are_found_by_major_version() -> None:
    assert find_binaries(VERSION) == find_binaries(f"{VERSION}.99") == BINARIES
    assert find_binaries("7") is None


def test_what_keeps_it_from_starting_is_said_and_can_be_put_right(
    make_managed: Callable[[], Managed],
) -> None:
    managed = make_managed()
    managed.engine.prepare(managed.desired, {"shared_buffers": "8000GB"})
    with pytest.raises(EngineError, match=r"(?s)did not start: .*shared memory.*8\d{12}"):
        managed.engine.start(managed.desired)
    assert not managed.engine.running()

    with socket.socket() as other:
        other.bind(("127.0.0.1", managed.desired["port"]))
        other.listen()
        managed.engine.prepare(managed.desired, {})
        with pytest.raises(EngineError, match="Address already in use"):
            managed.engine.start(managed.desired)

    managed.bring_up()
    managed.engine.health()


# Configuration


def test_the_flavor_sets_the_memory(managed: Managed) -> None:
    assert managed.by_hand("SHOW shared_buffers") == [("128MB",)]
    assert managed.by_hand("SHOW effective_cache_size") == [("384MB",)]


def test_a_dynamic_parameter_is_applied_and_goes_back_to_its_default(managed: Managed) -> None:
    seen = managed.apply(work_mem="9MB", search_path="\"$user\", public, 'it''s\\'")
    assert (seen["in_sync"], seen["changed"]) == (True, ["search_path", "work_mem"])
    assert managed.by_hand("SHOW work_mem") == [("9MB",)]
    assert managed.apply()["in_sync"]
    assert managed.by_hand("SHOW work_mem") == [("4MB",)]


def test_a_parameter_that_needs_a_restart_is_pending_until_then(
    make_managed: Callable[[], Managed],
) -> None:
    managed = make_managed()
    managed.bring_up()
    pending = {"name": "max_connections", "running": "100", "desired": "42"}
    for _ in range(2):
        seen = managed.apply(max_connections="42")
        assert (seen["in_sync"], seen["pending_restart"]) == (False, [pending])
        assert seen["changed"] == []
    managed.engine.stop()
    managed.bring_up(max_connections="42")
    assert managed.apply(max_connections="42")["in_sync"]
    assert managed.by_hand("SHOW max_connections") == [("42",)]
    assert managed.apply()["pending_restart"] == [
        {"name": "max_connections", "running": "42", "desired": None}
    ]


def test_refused_parameters_are_reported_and_the_others_applied(managed: Managed) -> None:
    seen = managed.apply(
        work_mem="11MB",
        nonsense="1",
        wal_level="loud",
        TimeZone="Mars",
        port="1",
        include="/etc/passwd",
        **{"a b": "c"},
    )
    assert seen["errors"] == {
        "nonsense": 'unrecognized configuration parameter "nonsense"',
        "wal_level": 'invalid value for parameter "wal_level": "loud". '
        "Available values: minimal, replica, logical.",
        "TimeZone": 'invalid value for parameter "TimeZone": "Mars"',
        "port": "port is set by Coffret itself",
        "include": "include is set by Coffret itself",
        "a b": '"a b" is no parameter name',
    }
    assert not seen["in_sync"]
    assert managed.by_hand("SHOW work_mem") == [("11MB",)]


def test_a_refused_parameter_does_not_keep_it_from_starting(
    make_managed: Callable[[], Managed],
) -> None:
    managed = make_managed()
    managed.bring_up(nonsense="1", work_mem="7MB")
    assert managed.by_hand("SHOW work_mem") == [("7MB",)]
    assert list(managed.apply(nonsense="1", work_mem="7MB")["errors"]) == ["nonsense"]


def test_a_value_cannot_smuggle_in_another_parameter(managed: Managed) -> None:
    seen = managed.apply(application_name="x'\nfsync = off\n#\\")
    assert seen["errors"] == {}
    assert managed.by_hand("SHOW fsync") == [("on",)]


def test_configuration_changed_by_hand_is_undone(managed: Managed) -> None:
    managed.apply(work_mem="9MB")
    managed.by_hand("ALTER SYSTEM SET work_mem = '99MB'")
    managed.by_hand("SELECT pg_reload_conf()")
    while managed.by_hand("SHOW work_mem") != [("99MB",)]:
        time.sleep(0.01)
    data = data_directory(managed.engine.home)
    (data / "coffret.conf").write_text("fsync = off\n")
    seen = managed.apply(work_mem="9MB")
    assert (seen["in_sync"], seen["changed"]) == (True, ["work_mem"])
    assert managed.apply(work_mem="9MB")["changed"] == []
    assert managed.by_hand("SHOW work_mem") == [("9MB",)]
    assert managed.by_hand("SHOW fsync") == [("on",)]


def test_an_agent_locked_out_by_hand_lets_itself_in_again(managed: Managed) -> None:
    rules = data_directory(managed.engine.home) / "pg_hba.conf"
    rules.write_text("local all all reject\nhost all all all trust\n")
    managed.by_hand("SELECT pg_reload_conf()")
    time.sleep(0.2)
    with pytest.raises(psycopg.OperationalError):
        managed.by_hand("SELECT 1")
    assert managed.apply()["in_sync"]
    managed.engine.health()


def test_a_reload_that_a_killed_agent_did_not_ask_for_is_made_up(managed: Managed) -> None:
    managed.engine.prepare(managed.desired, {"work_mem": "13MB"})  # written, not reloaded
    assert managed.by_hand("SHOW work_mem") == [("4MB",)]
    assert managed.apply(work_mem="13MB")["in_sync"]
    assert managed.by_hand("SHOW work_mem") == [("13MB",)]


def test_the_catalogue_comes_from_the_engine(managed: Managed) -> None:
    catalogue = managed.engine.catalogue()
    assert (catalogue["version"], catalogue["datastore"]) == (VERSION, "postgresql")
    parameters = {each["name"]: each for each in catalogue["parameters"]}
    connections = parameters["max_connections"]
    assert (connections["type"], connections["default"]) == ("integer", "100")
    assert (connections["minimum"], connections["restart_required"]) == (1, True)
    assert parameters["work_mem"]["unit"] == "kB"
    assert not parameters["work_mem"]["restart_required"]
    assert parameters["shared_buffers"]["default"] is None
    assert parameters["wal_level"]["values"] == ["minimal", "replica", "logical"]
    for owned in ("port", "archive_command", "shared_preload_libraries", "server_version"):
        assert not parameters[owned]["settable"]


# Databases


def test_databases_of_any_name_are_created_listed_and_dropped(managed: Managed) -> None:
    for name in HOSTILE:
        assert managed.engine.ensure_database(database(name))
        assert managed.engine.ensure_database(database(name)) is None
    assert {each["name"] for each in managed.engine.databases()} == set(HOSTILE)
    for name in HOSTILE:
        with contextlib.closing(managed.operator(name)):  # an open session does not hold it up
            assert managed.engine.drop_database(name)
        assert managed.engine.drop_database(name) is None
    assert managed.engine.databases() == []


def test_names_that_cannot_be_are_refused(managed: Managed) -> None:
    for name in ("postgres", "template1", "", "é" * 32, "nul\0"):
        with pytest.raises(EngineError):
            managed.engine.ensure_database(database(name))
    for name in ("coffret_admin", "pg_monitor", "public", "x" * 64):
        with pytest.raises(EngineError):
            managed.engine.ensure_user(user(name))
    assert managed.engine.databases() == []
    assert managed.engine.users() == []


def test_each_collation_of_utf8_makes_a_database(managed: Managed) -> None:
    for collation in managed.engine.catalogue()["character_sets"]["UTF8"]:
        wanted = database(f"in {collation}", character_set="UTF8", collation=collation)
        managed.engine.ensure_database(wanted)
        assert managed.engine.ensure_database(wanted) is None
        assert {
            "name": wanted["name"],
            "character_set": "UTF8",
            "collation": collation,
            "owner": None,
        } in managed.engine.databases()


def test_another_character_set_makes_a_database_and_cannot_be_changed(managed: Managed) -> None:
    wanted = database("old", character_set="LATIN1")
    managed.engine.ensure_database(wanted)
    assert managed.engine.databases()[0]["character_set"] == "LATIN1"
    with pytest.raises(EngineError, match="cannot become UTF8"):
        managed.engine.ensure_database(database("old", character_set="UTF8"))
    with pytest.raises(EngineError, match=r"cannot become C\.UTF-8"):
        managed.engine.ensure_database(database("old", collation="C.UTF-8"))
    with pytest.raises(EngineError, match="no character set here; one of UTF8"):
        managed.engine.ensure_database(database("new", character_set="KLINGON"))
    with pytest.raises(EngineError, match="does not go with character set LATIN1"):
        managed.engine.ensure_database(database("new", character_set="LATIN1", collation="C.UTF-8"))


def test_the_owner_may_do_all_and_can_change(managed: Managed) -> None:
    managed.engine.ensure_user(user("first"))
    managed.engine.ensure_user(user("second"))
    managed.engine.ensure_database(database("shop", owner="first"))
    with managed.connect("first", "shop") as connection:
        connection.execute("CREATE TABLE a (b int)")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        managed.connect("second", "shop")
    assert managed.engine.ensure_database(database("shop", owner="second"))
    with managed.connect("second", "shop") as connection:
        connection.execute("CREATE TABLE c (d int)")
    with pytest.raises(EngineError, match='role "nobody_here" does not exist'):
        managed.engine.ensure_database(database("shop", owner="nobody_here"))


def test_a_database_opened_to_everybody_by_hand_is_closed(managed: Managed) -> None:
    managed.engine.ensure_database(database("shop"))
    managed.by_hand("GRANT CONNECT ON DATABASE shop TO PUBLIC")
    assert managed.engine.ensure_database(database("shop")) == "Database shop: closed to PUBLIC"


# Users


def test_a_user_logs_in_with_the_password_behind_the_verifier(managed: Managed) -> None:
    managed.owned(["shop"], None)
    for name in HOSTILE:
        wanted = user(name, "pässword '\"%", shop=["CONNECT"])
        assert managed.engine.ensure_user(wanted) == f"User {name}: created"
        assert managed.engine.ensure_user(wanted) is None
        managed.engine.ensure_grants(wanted)
        managed.connect(name, "shop", "pässword '\"%").close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        managed.connect(HOSTILE[0], "shop", "wrong")
    assert {each["name"] for each in managed.engine.users()} == set(HOSTILE)


def test_a_new_verifier_is_a_new_password(managed: Managed) -> None:
    managed.engine.ensure_database(database("shop"))
    managed.engine.ensure_user(user("app", "old"))
    wanted = user("app", "new", shop=["CONNECT"])
    assert managed.engine.ensure_user(wanted) == "User app: password set"
    managed.engine.ensure_grants(wanted)
    managed.connect("app", "shop", "new").close()
    with pytest.raises(psycopg.OperationalError):
        managed.connect("app", "shop", "old")


def test_what_is_no_verifier_is_refused(managed: Managed) -> None:
    wanted = user("app")
    wanted["verifier"] = "plain text"
    with pytest.raises(EngineError, match="no SCRAM-SHA-256 verifier"):
        managed.engine.ensure_user(wanted)
    assert managed.engine.users() == []


def test_a_user_changed_by_hand_is_put_right(managed: Managed) -> None:
    managed.owned(["shop"], None)
    wanted = user("app", shop=["CONNECT"])
    managed.engine.ensure_user(wanted)
    managed.engine.ensure_grants(wanted)
    for drift in (
        "PASSWORD 'other'",
        "SUPERUSER",
        "NOLOGIN",
        "CREATEROLE CREATEDB",
        "VALID UNTIL '2000-01-01'",
        "CONNECTION LIMIT 0",
    ):
        managed.by_hand(f"ALTER ROLE app {drift}")
        assert managed.engine.ensure_user(wanted), drift
        assert managed.engine.ensure_user(wanted) is None
        managed.connect("app", "shop").close()
    managed.by_hand("GRANT pg_read_all_data, coffret_admin TO app")
    assert "taken out of role" in str(managed.engine.ensure_user(wanted))
    assert managed.by_hand("SELECT FROM pg_auth_members WHERE member = 'app'::regrole") == []


def test_no_user_is_the_administrator_or_sees_the_engines_own_database(managed: Managed) -> None:
    managed.engine.ensure_user(user("app"))
    with pytest.raises(psycopg.OperationalError, match="rejects connection"):
        managed.connect("app", "postgres")
    with pytest.raises(psycopg.OperationalError, match="rejects connection"):
        managed.connect("coffret_admin", "postgres")


def test_no_verifier_is_logged(managed: Managed) -> None:
    managed.apply(log_statement="all", log_min_duration_statement="0")
    wanted = user("app")
    managed.engine.ensure_user(wanted)
    log = (managed.engine.home.data / "log" / "postgresql.log").read_text()
    assert wanted["verifier"] not in log


# Grants


def test_a_reader_reads_tables_there_are_and_tables_to_come(managed: Managed) -> None:
    managed.engine.ensure_user(user("app"))
    managed.owned(["shop"], "app")
    reader = user("reader", shop=["SELECT"])
    managed.engine.ensure_user(reader)
    with managed.connect("app", "shop") as owner:
        owner.execute('CREATE SCHEMA "s p"; CREATE TABLE "s p"."t%" AS SELECT 1 AS a')
        assert managed.engine.ensure_grants(reader)
        assert managed.engine.ensure_grants(reader) is None
        assert managed.grants_of("reader") == [{"database": "shop", "privileges": ["CONNECT", "SELECT"]}]
        owner.execute("CREATE TABLE later AS SELECT 2 AS a; CREATE SCHEMA s; CREATE TABLE s.t()")
    with managed.connect("reader", "shop") as connection:
        assert connection.execute('SELECT a FROM "s p"."t%"').fetchone() == (1,)
        assert connection.execute("SELECT a FROM later").fetchone() == (2,)
        connection.execute("SELECT FROM s.t")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO later VALUES (3)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE mine ()")
    assert managed.engine.ensure_grants(reader) is None


def test_a_writer_can_use_serial_columns(managed: Managed) -> None:
    managed.owned(["shop"], None)
    managed.by_hand("CREATE TABLE t (id serial, a int)", "shop")
    writer = user("writer", shop=["INSERT"])
    managed.engine.ensure_user(writer)
    managed.engine.ensure_grants(writer)
    with managed.connect("writer", "shop") as connection:
        connection.execute("INSERT INTO t (a) VALUES (1)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM t")


def test_all_is_reported_as_all(managed: Managed) -> None:
    managed.engine.ensure_user(user("owner"))
    managed.owned(["shop"], "owner")
    for name in ("owner", "other"):
        wanted = user(name, shop=["ALL"])
        managed.engine.ensure_user(wanted)
        managed.engine.ensure_grants(wanted)
        assert managed.engine.ensure_grants(wanted) is None
        assert managed.grants_of(name) == [{"database": "shop", "privileges": ["ALL"]}]
    with managed.connect("other", "shop") as connection:
        connection.execute("CREATE TABLE t (); CREATE SCHEMA s")
    for name in ("owner", "other"):
        managed.engine.ensure_grants(user(name, shop=["ALL"]))
        assert managed.grants_of(name) == [{"database": "shop", "privileges": ["ALL"]}]


def test_users_see_each_others_tables(managed: Managed) -> None:
    managed.owned(["shop"], None)
    one, two = user("one", shop=["ALL"]), user("two", shop=["ALL"])
    for _ in range(2):
        for each in (one, two):
            managed.engine.ensure_user(each)
            managed.engine.ensure_grants(each)
    with managed.connect("one", "shop") as connection:
        connection.execute("CREATE TABLE made_by_one AS SELECT 1 AS a")
    with managed.connect("two", "shop") as connection:
        assert connection.execute("SELECT a FROM made_by_one").fetchone() == (1,)


@pytest.mark.parametrize(
    "drift",
    [
        "GRANT INSERT ON t TO reader",
        "GRANT SELECT ON t TO reader WITH GRANT OPTION",
        "GRANT UPDATE (a) ON t TO reader",
        "GRANT CREATE ON SCHEMA public TO reader",
        "GRANT CREATE ON DATABASE shop TO reader",
        "GRANT ALL ON SEQUENCE t_a_seq TO reader",
        "GRANT ALL ON elsewhere.t TO reader",
        "ALTER DEFAULT PRIVILEGES GRANT DELETE ON TABLES TO reader",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT DELETE ON TABLES TO reader",
        "SET ROLE middle; GRANT DELETE ON t TO reader",
        "REVOKE SELECT ON t FROM reader",
        "REVOKE USAGE ON SCHEMA public FROM reader",
        "REVOKE CONNECT ON DATABASE shop FROM reader",
        "ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM reader",
        "CREATE TABLE new (); REVOKE ALL ON new FROM reader",
    ],
)
def test_grants_changed_by_hand_are_put_right(managed: Managed, drift: str) -> None:
    managed.owned(["shop"], None)
    managed.by_hand(
        "CREATE TABLE t (a serial); CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.t ();"
        " CREATE ROLE middle LOGIN; GRANT DELETE ON t TO middle WITH GRANT OPTION",
        "shop",
    )
    wanted = user("reader", shop=["SELECT"])
    managed.engine.ensure_user(wanted)
    managed.engine.ensure_grants(wanted)
    before = acl(managed)
    managed.by_hand(drift, "shop")
    assert acl(managed) != before or "new" in drift
    said = managed.engine.ensure_grants(wanted)
    assert said
    assert "shop" in said
    assert managed.engine.ensure_grants(wanted) is None
    if "new" not in drift:
        assert acl(managed) == before


def acl(managed: Managed) -> list[tuple[Any, ...]]:
    """Every privilege in the database, whoever has it."""
    return managed.by_hand(
        """
        SELECT 'd', datname::text, aclexplode(datacl)::text FROM pg_database WHERE datname = 'shop'
        UNION ALL SELECT 'n', nspname, aclexplode(nspacl)::text FROM pg_namespace
        UNION ALL SELECT 'r', oid::text, aclexplode(relacl)::text FROM pg_class
        UNION ALL SELECT 'c', attrelid::text, aclexplode(attacl)::text FROM pg_attribute
        UNION ALL SELECT 'f', concat(defaclrole, '.', defaclnamespace, defaclobjtype),
            aclexplode(defaclacl)::text FROM pg_default_acl
        ORDER BY 1, 2, 3
        """,
        "shop",
    )


def test_grants_no_longer_wanted_are_taken_away_everywhere(managed: Managed) -> None:
    managed.owned(["one", "two"], None)
    managed.engine.ensure_user(user("app"))
    managed.engine.ensure_grants(user("app", one=["ALL"], two=["SELECT", "TEMPORARY"]))
    assert managed.grants_of("app") == [
        {"database": "one", "privileges": ["ALL"]},
        {"database": "two", "privileges": ["CONNECT", "TEMPORARY", "SELECT"]},
    ]
    managed.engine.ensure_grants(user("app", two=["CONNECT"]))
    assert managed.grants_of("app") == [{"database": "two", "privileges": ["CONNECT"]}]
    managed.engine.ensure_grants(user("app"))
    assert managed.grants_of("app") == []


def test_grants_that_cannot_be_are_refused(managed: Managed) -> None:
    managed.engine.ensure_user(user("app"))
    with pytest.raises(EngineError, match="there is no database nowhere"):
        managed.engine.ensure_grants(user("app", nowhere=["SELECT"]))
    with pytest.raises(EngineError, match="no privilege FLY; one of ALL, CONNECT"):
        managed.engine.ensure_grants(user("app", nowhere=["FLY"]))
    with pytest.raises(EngineError, match="own database"):
        managed.engine.ensure_grants(user("app", postgres=["CONNECT"]))
    with pytest.raises(EngineError, match="User ghost does not exist"):
        managed.engine.ensure_grants(user("ghost"))


def test_an_owners_traps_do_not_catch_the_administrator(managed: Managed) -> None:
    managed.engine.ensure_user(user("mallory"))
    managed.owned(["trap"], "mallory")
    with managed.connect("mallory", "trap") as connection:
        connection.execute(
            "CREATE TABLE caught (by text);"
            " CREATE FUNCTION public.array_agg_(oid) RETURNS text LANGUAGE sql AS"
            " $$INSERT INTO caught VALUES (current_user) RETURNING by$$;"
            " CREATE FUNCTION public.pg_get_userbyid(oid) RETURNS name LANGUAGE sql AS"
            " $$INSERT INTO public.caught VALUES (current_user) RETURNING by::name$$;"
            " ALTER DATABASE trap SET search_path = public, pg_catalog;"
            " ALTER DATABASE trap SET default_transaction_read_only = on;"
            " ALTER DATABASE trap SET role = mallory;"
            " ALTER DATABASE trap SET statement_timeout = 1"
        )
    wanted = user("app", trap=["SELECT"])
    managed.engine.ensure_user(wanted)
    managed.engine.ensure_grants(wanted)
    assert managed.grants_of("app") == [{"database": "trap", "privileges": ["CONNECT", "SELECT"]}]
    assert managed.by_hand("SELECT * FROM public.caught", "trap") == []


# Dropping


def test_what_a_dropped_user_owned_goes_to_the_databases_owner(managed: Managed) -> None:
    for name in ("owner", "leaver"):
        managed.engine.ensure_user(user(name))
    managed.owned(["shop"], "owner")
    managed.owned(["own"], "leaver")
    leaver = user("leaver", shop=["ALL"])
    managed.engine.ensure_grants(leaver)
    managed.engine.ensure_grants(user("owner", own=["SELECT"]))
    session = managed.connect("leaver", "shop")
    session.execute("CREATE TABLE t (); CREATE SCHEMA s; GRANT SELECT ON t TO owner")
    with managed.connect("leaver", "own") as connection:
        connection.execute("CREATE TABLE t ()")

    assert managed.engine.drop_user("leaver", "%") == (
        "User leaver: dropped; what it owned in own is coffret_heir's now;"
        " what it owned in shop is owner's now"
    )
    assert managed.engine.drop_user("leaver", "%") is None
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    owners = "SELECT tableowner FROM pg_tables WHERE tablename = 't'"
    assert managed.by_hand(owners, "shop") == [("owner",)]
    assert managed.by_hand(owners, "own") == [("coffret_heir",)]
    assert {each["name"]: each["owner"] for each in managed.engine.databases()} == {
        "shop": "owner",
        "own": None,
    }


MAKES = """
CREATE SCHEMA s;
CREATE TABLE s.t (id serial PRIMARY KEY, mood int);
INSERT INTO s.t (mood) VALUES (1);
CREATE VIEW v AS SELECT id FROM s.t;
CREATE MATERIALIZED VIEW m AS SELECT id FROM s.t;
CREATE SEQUENCE q;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN d AS int;
CREATE FUNCTION f(int) RETURNS int LANGUAGE sql SECURITY DEFINER RETURN $1;
CREATE AGGREGATE a (int) (SFUNC = int4pl, STYPE = int);
CREATE TEXT SEARCH CONFIGURATION c (PARSER = "default");
CREATE STATISTICS st ON id, mood FROM s.t;
SELECT lo_create(4711);
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO owner;
GRANT SELECT ON s.t TO owner WITH GRANT OPTION;
GRANT USAGE ON SCHEMA s TO owner
"""
"""What a user with ALL in a database can make there."""


@pytest.fixture
def leaver(managed: Managed) -> Managed:
    """The user `leaver` owns what MAKES says in `shop`, which is `owner`'s, and a table in `free`."""
    for name in ("owner", "leaver"):
        managed.engine.ensure_user(user(name))
    managed.owned(["shop"], "owner")
    managed.owned(["free"], None)
    managed.engine.ensure_grants(user("leaver", shop=["ALL"], free=["ALL"]))
    for name in ("shop", "free"):
        with managed.connect("leaver", name) as connection:
            connection.execute(MAKES if name == "shop" else "CREATE TABLE t ()")
    return managed


def test_nothing_but_privileges_is_dropped_with_a_user(leaver: Managed) -> None:
    with leaver.operator("shop") as connection:
        connection.execute("CREATE TABLE public.other ()")
        connection.execute("GRANT SELECT ON public.other TO leaver WITH GRANT OPTION")
        connection.execute("SET ROLE leaver; GRANT SELECT ON public.other TO owner; RESET ROLE")
    before = described(leaver, "leaver")
    assert len(before) == 13
    assert leaver.engine.drop_user("leaver", "%")
    assert described(leaver, "owner") == before
    assert leaver.by_hand("SELECT mood FROM s.t", "shop") == [(1,)]
    assert not leaver.by_hand("SELECT FROM pg_roles WHERE rolname = 'leaver'")
    with leaver.connect("owner", "shop") as connection:
        connection.execute("ALTER TABLE s.t ADD COLUMN more int; DROP FUNCTION f; DROP SCHEMA s CASCADE")


def described(managed: Managed, owner: str) -> set[tuple[Any, ...]]:
    """What the role owns in `shop`, in the engine's words."""
    return set(
        managed.by_hand(
            "SELECT pg_describe_object(classid, objid, 0) FROM pg_shdepend JOIN pg_database AS b"
            " ON b.oid = dbid AND datname = current_database() WHERE deptype = 'o'"
            f" AND refobjid = '{owner}'::regrole AND classid NOT IN"
            " ('pg_default_acl'::regclass, 'pg_database'::regclass)",
            "shop",
        )
    )


def test_what_becomes_nobodys_is_not_the_superusers(leaver: Managed) -> None:
    """Else a function, a view or an index that a user has left would be run as the superuser."""
    for name in ("free", "shop"):
        leaver.engine.ensure_database(database(name))
    assert leaver.engine.drop_user("leaver", "%")
    for name in ("free", "shop"):
        assert leaver.by_hand(
            "SELECT count(*) FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace"
            " WHERE relowner = 'coffret_admin'::regrole AND nspname IN ('public', 's')",
            name,
        ) == [(0,)]
    heir = leaver.by_hand("SELECT rolcanlogin, rolsuper FROM pg_roles WHERE rolname = 'coffret_heir'")
    assert heir == [(False, False)]
    assert "coffret_heir" not in {each["name"] for each in leaver.engine.users()}

    leaver.owned(["shop"], "owner")  # and so it is no longer nobody's
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('public', 's')"
    assert leaver.by_hand(owners, "shop") == [("owner",)]
    assert leaver.by_hand(owners, "free") == [("coffret_heir",)]
    with pytest.raises(EngineError, match="reserved"):
        leaver.engine.ensure_user(user("coffret_heir"))


def test_who_owns_something_is_not_dropped_if_that_is_to_be_refused(leaver: Managed) -> None:
    leaver.by_hand("CREATE DATABASE theirs OWNER leaver")
    assert seen(leaver, "leaver")["owns"] == ["free", "shop", "theirs"]
    session = leaver.connect("leaver", "shop")
    with pytest.raises(EngineError) as refused:
        leaver.engine.drop_user("leaver", "%", "refuse")
    said = str(refused.value)
    assert said.startswith("User leaver owns database theirs; in free: table public.t; in shop: ")
    for each in (
        "table s.t",
        "sequence public.q",
        "function public.f(integer)",
        "schema s",
        "view public.v",
    ):
        assert each in said
    assert "deletion_policy is refuse" in said

    with session:  # it goes on as before
        session.execute("CREATE TEMPORARY TABLE mine ()")
        session.execute("DROP OWNED BY leaver CASCADE")
    leaver.by_hand("DROP TABLE t", "free")
    with pytest.raises(EngineError, match="leaver owns database theirs\\. "):
        leaver.engine.drop_user("leaver", "%", "refuse")
    leaver.by_hand("DROP DATABASE theirs")
    assert leaver.engine.drop_user("leaver", "%", "refuse") == "User leaver: dropped"


def seen(managed: Managed, name: str) -> Any:
    return next(each for each in managed.engine.users() if each["name"] == name)


def test_what_nobody_manages_is_listed_and_left_alone(managed: Managed) -> None:
    managed.by_hand("CREATE DATABASE theirs")
    managed.by_hand("CREATE ROLE them LOGIN SUPERUSER PASSWORD 'x'")
    managed.by_hand("CREATE ROLE group_role")
    managed.by_hand("GRANT CREATE ON DATABASE theirs TO them")
    managed.engine.ensure_user(user("app"))
    managed.engine.ensure_grants(user("app"))
    managed.engine.ensure_database(database("ours"))
    assert {each["name"] for each in managed.engine.databases()} == {"ours", "theirs"}
    assert managed.grants_of("them") == [{"database": "theirs", "privileges": ["CREATE"]}]
    assert "group_role" not in {each["name"] for each in managed.engine.users()}
    assert managed.by_hand("SELECT rolsuper FROM pg_roles WHERE rolname = 'them'") == [(True,)]
    managed.by_hand("DROP ROLE group_role")
