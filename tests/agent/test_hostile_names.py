"""What the API lets through, however odd, the real engines hold exactly as written."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import test_mariadb as mariadb
import test_postgresql as postgresql
import test_valkey as valkey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.datastores.catalogue import check
from control_plane.datastores.managers import MANAGERS
from control_plane.datastores.models import Datastore, DatastoreVersion
from control_plane.errors import Invalid
from control_plane.users.service import check_key
from guest_agent.engines.base import Engine

PASSWORD = "correct horse battery"
EXAMPLES = 25
LENGTHS = {"x": (63, 64, 80, 81), "é": (31, 32, 40), "数": (21, 26), "😀": (15, 20)}
LETTERS = "'\"`\\%_;-#/*@ \0\n\r\t\x7f{}[]()$?:.,|&<>=+~^!aZ0éßİ\u0301\u202eש数😀\u00a0\u200b\ufeff"
ODD = st.text(st.sampled_from(LETTERS), min_size=1, max_size=12)
RESERVED = st.sampled_from(
    [
        *("select", "SELECT", "user", "table", "all", "NULL", "true", "current_user", "localhost", "on"),
        *("%s", "%(x)s", "{}", "{0}", "%%", "__", "a%", "a_", "--", "';--", "$1", "\\x00", "0", "-1"),
    ]
)
LONG = st.sampled_from(
    [
        letter * count for letter, counts in LENGTHS.items() for count in counts
    ]  # around each engine's longest
)
NAMES = ODD | RESERVED | LONG
HOSTS = st.text(st.sampled_from("abcXYZ019.:-_%/"), min_size=1, max_size=10) | st.sampled_from(
    ["localhost", "10.0.0.%", "192.168.0.0/255.255.255.0", "::1", "%", "%.Example.org", "h_st"]
)
FEW = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def let_through(check: Callable[[], None], pointer: str = "/name") -> bool:
    """Whether the API lets it through; what it refuses has a pointer and a sentence."""
    try:
        check()
    except Invalid as error:
        refused = error
    else:
        return True
    assert [item.pointer for item in refused.errors] == [pointer]
    assert refused.errors[0].detail
    return False


@pytest.fixture(scope="module")
def in_postgresql(make_home: Any, free_port: Any, desired_engine: Any) -> Iterator[postgresql.Managed]:
    wanted = desired_engine("postgresql", postgresql.VERSION, free_port())
    managed = postgresql.Managed(postgresql.PostgreSQL(make_home(postgresql.BINARIES)), wanted)
    managed.bring_up()
    yield managed
    managed.engine.stop()


@pytest.fixture(scope="module")
def in_mariadb(make_home: Any, free_port: Any, desired_engine: Any) -> Iterator[mariadb.Place]:
    if mariadb.FOLDER is None:
        pytest.skip("mariadb-server is not installed")
    home = make_home(mariadb.FOLDER)
    version = ".".join(mariadb.MariaDB(home).version().split(".")[:2])
    place = mariadb.Place(home, desired_engine("mariadb", version, free_port()))
    place.up()
    yield place
    place.engine.stop()


@pytest.fixture(scope="module")
def in_valkey(make_home: Any, free_port: Any, desired_engine: Any) -> Iterator[valkey.Place]:
    folder = valkey.find_binaries(valkey.VERSION)
    assert folder
    place = valkey.Place(make_home(folder), desired_engine("valkey", valkey.VERSION, free_port()))
    place.up()
    yield place
    place.engine.stop()


def databases_of(engine: Engine) -> list[str]:
    return [seen["name"] for seen in engine.databases()]


def empty(engine: Engine) -> None:
    """What an example that failed has left."""
    for name in databases_of(engine):
        engine.drop_database(name)
    for name, host in users_of(engine):
        engine.drop_user(name, host)


def users_of(engine: Engine) -> list[tuple[str, str]]:
    return [(seen["name"], seen["host"]) for seen in engine.users()]


@FEW
@given(name=NAMES, user=NAMES)
def test_postgresql_holds_databases_and_users_as_they_are_written(
    in_postgresql: postgresql.Managed, name: str, user: str
) -> None:
    manager, engine = MANAGERS["postgresql"], in_postgresql.engine
    empty(engine)
    if not let_through(lambda: manager.check_database(name)):
        name = "plain"
    if not let_through(lambda: check_key(manager, user, "%")):
        user = "plain"
    wanted = postgresql.user(user, PASSWORD, **{name: ["ALL"]})
    engine.ensure_database(postgresql.database(name))
    engine.ensure_user(wanted)
    engine.ensure_database(postgresql.database(name, owner=user))
    engine.ensure_grants(wanted)
    assert databases_of(engine) == [name]
    assert users_of(engine) == [(user, "%")]
    assert engine.ensure_user(wanted) is None
    assert engine.ensure_grants(wanted) is None
    with in_postgresql.connect(user, name, PASSWORD) as connection:
        row = connection.execute("SELECT current_user, current_database()").fetchone()
        assert row == (user, name)
    engine.drop_database(name)
    engine.drop_user(user, "%")
    assert databases_of(engine) == users_of(engine) == []


@FEW
@given(name=NAMES, user=NAMES, host=HOSTS)
def test_mariadb_holds_databases_and_users_as_they_are_written(
    in_mariadb: mariadb.Place, name: str, user: str, host: str
) -> None:
    manager, engine = MANAGERS["mariadb"], in_mariadb.engine
    empty(engine)
    if not let_through(lambda: manager.check_database(name)):
        name = "plain"
    if not let_through(lambda: check_key(manager, user, "%")):
        user = "plain"
    if not let_through(lambda: check_key(manager, user, host)):
        host = "%"
    engine.ensure_database(mariadb.wanted_database(name))
    wanted = mariadb.wanted_user(user, PASSWORD, {"database": name, "privileges": ["ALL"]}, host=host)
    anywhere = mariadb.wanted_user(user, PASSWORD, {"database": name, "privileges": ["ALL"]})
    for each in (wanted, anywhere):
        engine.ensure_user(each)
        engine.ensure_grants(each)
        assert engine.ensure_user(each) is None
        assert engine.ensure_grants(each) is None
    assert databases_of(engine) == [name]
    assert sorted(users_of(engine)) == sorted({(user, host), (user, "%")})
    if host != "localhost":
        with closing(in_mariadb.login(user, PASSWORD, name)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT DATABASE()")
            assert cursor.fetchone() == (name,)
    engine.drop_database(name)
    for each in (wanted, anywhere):
        engine.drop_user(user, each["host"])
    assert databases_of(engine) == users_of(engine) == []


@FEW
@given(user=NAMES)
def test_valkey_holds_users_as_they_are_written(in_valkey: valkey.Place, user: str) -> None:
    engine = in_valkey.engine
    empty(engine)
    if not let_through(lambda: check_key(MANAGERS["valkey"], user, "%")):
        return
    wanted = valkey.wanted_user(user, PASSWORD, valkey.EVERYTHING)
    engine.ensure_user(wanted)
    engine.ensure_grants(wanted)
    assert users_of(engine) == [(user, "%")]
    assert engine.ensure_user(wanted) is None
    assert engine.ensure_grants(wanted) is None
    client = in_valkey.login(user, PASSWORD)
    assert client.execute_command("ACL", "WHOAMI") == user
    client.close()
    engine.drop_user(user, "%")
    assert users_of(engine) == []


@FEW
@given(value=NAMES)
def test_postgresql_takes_a_parameter_s_value_as_it_is_written(
    in_postgresql: postgresql.Managed, value: str
) -> None:
    (entry,) = [
        item for item in in_postgresql.engine.catalogue()["parameters"] if item["name"] == "log_line_prefix"
    ]
    version = DatastoreVersion(
        name="18", parameters=[entry], datastore=Datastore(name="postgresql", manager="postgresql")
    )
    if not let_through(lambda: check({"log_line_prefix": value}, version), "/parameters/log_line_prefix"):
        return
    applied = in_postgresql.apply(log_line_prefix=value)
    assert applied["errors"] == {}
    assert in_postgresql.by_hand("SHOW log_line_prefix") == [(value,)]
