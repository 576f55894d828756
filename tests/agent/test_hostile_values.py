"""A parameter's value is set exactly as it is written, or refused with a reason; nothing else changes."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import test_mariadb as mariadb
import test_valkey as valkey
from hypothesis import given, settings
from hypothesis import strategies as st
from test_hostile_names import FEW, LETTERS, let_through

from control_plane.datastores.catalogue import check
from control_plane.datastores.models import Datastore, DatastoreVersion
from guest_agent.engines.base import Engine

LONGEST = 4096
"""Of a value that the API lets through, in characters."""
SLY = [
    *("", " ", "#", ";", "-", "--", "'", '"', '""', "\\", "\\\\", "\\n", "a\\", '\\"', "%s", "yes", "no"),
    *("--port=1", "port=1", "!include /etc/passwd", "!includedir /etc", "include /etc/passwd", "../../etc"),
    *('"\nport = 1\n"', "'\nport 1\n", "\n[mariadbd]\nskip_grant_tables\n#", '" port 1', "x\r\nport 1\r\n"),
    *(
        "\n!include /etc/passwd\n",
        "a\0b",
        "\0",
        "x\x0bport 1",
        "x\x0cport 1",
        "x\x85port=1",
        "x\u2028port=1",
    ),
    *(" 16 ", "16\n", "\uff11\uff16", "\u0663", "1_6", "1e3", "1e999", "inf", "nan", "0x10", "+16", "-1"),
    *("16 k", "1" * 5000),
    *("\u212a", "bloc\u212a", "\u017f", "\u0130", "\ud800", "\ufeff16", "16\u00a0", "\x7f", "\x01", "\b\t"),
    *(letter * count for letter in "x é" for count in (1023, 2047, 4095, LONGEST, 70000)),
]
PAST_A_LINE = st.builds(
    lambda filling, count, rest: filling * count + rest,
    st.sampled_from("é "),
    st.integers(2000, 2050),
    st.sampled_from(["skip_grant_tables #", "port=1", "port 1", "x"]),
) | st.builds(lambda count: " " * count + "port=1", st.integers(4060, 4090))
"""So long that a program with a buffer of 4 KiB would read the end of it as something of its own."""
VALUES = st.sampled_from(SLY) | PAST_A_LINE | st.text(st.sampled_from(LETTERS), max_size=12)
NAMES = [
    *(
        "",
        "#",
        "port\nskip_grant_tables",
        "!include",
        "[client]",
        "include",
        "loadmodule",
        "rename-command",
    ),
    *(
        "user",
        "skip_grant",
        "chroo",
        "chroot",
        "help",
        "max_connections = 1 #",
        "hz 1\nport",
        "--port",
        "é",
    ),
    *("MAX_CONNECTIONS", "HZ", "loose_port", "por", "bind", "x" * 5000, "\ud800", "\0", "max-connections"),
]
MANY = settings(FEW, max_examples=300)


def of_the_engine(engine: Engine) -> dict[str, Any]:
    """The catalogue of the engine that runs, by name."""
    return {entry["name"]: entry for entry in engine.catalogue()["parameters"]}


def heard_by_the_api(manager: str, entry: Any, value: str) -> None:
    """The API lets it through, or refuses it with a pointer and a sentence."""
    version = DatastoreVersion(
        name="1", parameters=[entry], datastore=Datastore(name=manager, manager=manager)
    )
    name = entry["name"]
    let_through(lambda: check({name: value}, version), f"/parameters/{name}")


def number(text: str, units: Mapping[str, int]) -> float:
    matched = re.fullmatch(r"([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)([a-zA-Z]*)", text)
    assert matched, text
    return float(matched[1]) * units[matched[2].lower()]


# MariaDB

TEXTS = ("ft_boolean_syntax", "time_zone", "session_track_system_variables", "lc_messages")
LISTS = ("sql_mode", "log_output", "default_regex_flags", "optimizer_switch", "myisam_recover_options")
CHOICES = ("binlog_format", "innodb_change_buffering", "default_storage_engine", "collation_server")
BOOLEANS = ("slow_query_log", "performance_schema")
NUMBERS = ("max_connections", "long_query_time", "back_log", "innodb_log_buffer_size", "wait_timeout")
OF_A_START = ("date_format", "time_format", "datetime_format")
OF_MARIADB = (*TEXTS, *LISTS, *CHOICES, *BOOLEANS, *NUMBERS, *OF_A_START)
FOLLOWING = {
    "collation_server": {"character_set_server"},
    "long_query_time": {"log_slow_query_time"},
    "slow_query_log": {"log_slow_query"},
}


class InMariaDB:
    """A server with no parameter set, and what it and its files say."""

    def __init__(self, place: mariadb.Place) -> None:
        self.place = place
        self.entries = of_the_engine(place.engine)
        self.apply({})
        self.running = self.variables()
        self.read = self.options()

    def apply(self, parameters: Mapping[str, str]) -> Any:
        return self.place.engine.apply_configuration(self.place.wanted, parameters)

    def variables(self) -> dict[str, str | None]:
        rows = self.place.by_hand(
            "SELECT VARIABLE_NAME, GLOBAL_VALUE FROM information_schema.SYSTEM_VARIABLES"
            " WHERE VARIABLE_SCOPE <> 'SESSION ONLY' AND VARIABLE_NAME NOT LIKE 'GTID%'"
        )
        return {name.lower(): value for name, value in rows}

    def options(self) -> str:
        """What the engine's own parser reads in the option files, a line for each option."""
        file = self.place.home.data / "my.cnf"
        command = ["my_print_defaults", f"--defaults-file={file}", "mariadbd"]
        return subprocess.run(command, capture_output=True, check=True).stdout.decode()

    def changed(self) -> set[str]:
        now = self.variables()
        return {name for name in now if now[name] != self.running.get(name)}

    def holds(self, name: str, value: str) -> None:
        """Set exactly so, or refused and nothing changed; the files have it and no more."""
        seen = self.apply({name: value})
        changed = self.changed()
        read = self.options()
        if name in seen["errors"]:
            assert list(seen["errors"]) == [name]
            assert seen["errors"][name].strip()
            assert changed == set()
            assert read == self.read
            return
        assert seen["errors"] == {}
        if self.entries[name]["restart_required"]:
            assert changed == set()
        else:
            assert seen["in_sync"], seen
            assert changed <= {name} | FOLLOWING.get(name, set())
            assert self.means(name, str(self.variables()[name]), value)
        option = {"time_zone": "default_time_zone"}.get(name, name)
        written = {"yes": "1", "no": "0"}.get(value.lower(), value) if name in BOOLEANS else value
        assert f"--{option}={written}\n" in read
        for before in self.read.splitlines():
            assert before in read or before.startswith((f"--{name}=", "--character_set_server="))
        assert len(read.splitlines()) <= len(self.read.splitlines()) + 2

    @staticmethod
    def means(name: str, running: str, wanted: str) -> bool:
        if name in NUMBERS:
            units = {"": 1, **{letter: 1 << 10 * power for power, letter in enumerate("kmgtpe", 1)}}
            return number(running, units) == number(wanted, units)
        if name in BOOLEANS:
            return (running == "ON") == (wanted.lower() in ("1", "on", "yes", "true"))
        if name in LISTS and wanted.isdecimal():
            return True  # a mask of bits, which the engine shows by names
        if name in LISTS:
            parts = {part.strip().lower() for part in wanted.split(",")} - {""}
            return parts <= {part.lower() for part in running.split(",")}
        if name in CHOICES:
            return wanted.isdecimal() or running.lower() == wanted.lower()
        return running == wanted


@pytest.fixture(scope="module")
def in_mariadb(make_home: Any, free_port: Any, desired_engine: Any) -> Iterator[InMariaDB]:
    if mariadb.FOLDER is None:
        pytest.skip("mariadb-server is not installed")
    home = make_home(mariadb.FOLDER)
    version = ".".join(mariadb.MariaDB(home).version().split(".")[:2])
    place = mariadb.Place(home, desired_engine("mariadb", version, free_port()))
    place.up()
    yield InMariaDB(place)
    place.engine.stop()


def hold_in_mariadb(server: InMariaDB, name: str, value: str) -> None:
    heard_by_the_api("mariadb", server.entries[name], value)
    try:
        server.holds(name, value)
    finally:
        server.apply({})
    assert server.changed() == set()


@FEW
@given(name=st.sampled_from(OF_MARIADB), value=VALUES)
def test_mariadb_sets_a_value_as_it_is_written_or_says_why_not(
    in_mariadb: InMariaDB, name: str, value: str
) -> None:
    hold_in_mariadb(in_mariadb, name, value)


@pytest.mark.slow
@MANY
@given(name=st.sampled_from(OF_MARIADB), value=VALUES)
def test_mariadb_sets_many_values_as_they_are_written_or_says_why_not(
    in_mariadb: InMariaDB, name: str, value: str
) -> None:
    hold_in_mariadb(in_mariadb, name, value)


@pytest.mark.parametrize(
    "value", ['"\n!include /etc/passwd\nskip_grant_tables\n"', "é" * 2038 + "xskip_grant_tables #", "no"]
)
def test_mariadb_starts_with_whatever_its_parameters_are(in_mariadb: InMariaDB, value: str) -> None:
    place = in_mariadb.place
    parameters = {**dict.fromkeys(OF_MARIADB, value), **dict.fromkeys(NAMES, "1")}
    place.engine.stop()
    place.up(**parameters)
    seen = in_mariadb.apply(parameters)
    assert set(NAMES) <= seen["errors"].keys()
    assert all(reason.strip() for reason in seen["errors"].values())
    assert in_mariadb.changed() <= set(OF_MARIADB) - seen["errors"].keys()
    assert seen["pending_restart"] == []
    place.engine.stop()
    place.up()
    in_mariadb.apply({})
    assert in_mariadb.changed() == set()


# Valkey

EVENTS = "g$lshzxetd"
OF_VALKEY = (
    *("client-output-buffer-limit", "latency-tracking-info-percentiles", "maxmemory-clients"),
    *("notify-keyspace-events", "save", "maxmemory-policy", "appendfsync", "activerehashing", "hz"),
    *("maxmemory", "databases", "timeout", "rdbcompression", "io-threads"),
)


class InValkey:
    """A server with no parameter set, and what it and its files say."""

    def __init__(self, place: valkey.Place) -> None:
        self.place = place
        self.entries = of_the_engine(place.engine)
        self.apply({})
        self.running = self.configuration()
        self.files = self.listing()

    def apply(self, parameters: Mapping[str, str]) -> Any:
        return self.place.engine.apply_configuration(self.place.wanted, parameters)

    def configuration(self) -> dict[str, str]:
        found = self.place.by_hand("CONFIG", "GET", "*")
        return dict(zip(found[::2], found[1::2], strict=True))

    def listing(self) -> set[str]:
        data = self.place.home.data
        return {str(path.relative_to(data)) for path in data.iterdir()}

    def changed(self) -> set[str]:
        now = self.configuration()
        return {name for name in now if now[name] != self.running[name]}

    def holds(self, name: str, value: str) -> None:
        """Set exactly so, or refused and nothing changed; the file has it and no more."""
        seen = self.apply({name: value})
        changed = self.changed()
        lines = (self.place.home.data / "parameters.conf").read_text().split("\n")
        if name in seen["errors"]:
            assert list(seen["errors"]) == [name]
            assert seen["errors"][name].strip()
            assert changed == set()
            assert lines == [""]
            return
        assert seen["errors"] == {}
        assert len(lines) == 2
        assert lines[0].startswith(f"{name} ")
        if self.entries[name]["restart_required"]:
            assert changed == set()
        else:
            assert seen["in_sync"], seen
            assert changed <= {name}
            assert self.means(name, self.configuration()[name], value)
        assert self.listing() <= self.files | {"dump.rdb"}

    @staticmethod
    def means(name: str, running: str, wanted: str) -> bool:
        units = {
            "": 1,
            "b": 1,
            "k": 1000,
            "kb": 1 << 10,
            "m": 10**6,
            "mb": 1 << 20,
            "g": 10**9,
            "gb": 1 << 30,
        }
        match name:
            case "notify-keyspace-events":
                plain = [set(each.replace("A", EVENTS)) for each in (running, wanted)]
                return plain[0] == plain[1]
            case "save":
                return running == " ".join(wanted.split())
            case "client-output-buffer-limit":
                return all(
                    re.fullmatch("[a-z]+", each) or number(each, units) in map(float, running.split()[1::2])
                    for each in wanted.split()
                )
            case "latency-tracking-info-percentiles":
                return [float(each) for each in running.split()] == [float(each) for each in wanted.split()]
            case "activerehashing" | "rdbcompression":
                return (running == "yes") == (wanted.lower() in ("1", "on", "yes", "true"))
            case "maxmemory-policy" | "appendfsync":
                return running == wanted.lower()
            case _ if wanted.endswith("%"):
                return running == wanted
            case _:
                return number(running, units) == number(wanted or "0", units)  # it reads nothing as 0


@pytest.fixture(scope="module")
def in_valkey(make_home: Any, free_port: Any, desired_engine: Any) -> Iterator[InValkey]:
    folder = valkey.find_binaries(valkey.VERSION)
    assert folder
    place = valkey.Place(make_home(folder), desired_engine("valkey", valkey.VERSION, free_port()))
    place.up()
    yield InValkey(place)
    place.engine.stop()


def hold_in_valkey(server: InValkey, name: str, value: str) -> None:
    heard_by_the_api("valkey", server.entries[name], value)
    try:
        server.holds(name, value)
    finally:
        server.apply({})
    assert server.changed() == set()


OF_ITS_KIND = st.sampled_from(
    ["KEA", "Ex", "ex", "AKE", "A", "60 1", "60  1 ", "1 1 2 2", "normal 1mb 0 0", "5%"]
)


@FEW
@given(name=st.sampled_from(OF_VALKEY), value=VALUES | OF_ITS_KIND)
def test_valkey_sets_a_value_as_it_is_written_or_says_why_not(
    in_valkey: InValkey, name: str, value: str
) -> None:
    hold_in_valkey(in_valkey, name, value)


@pytest.mark.slow
@MANY
@given(name=st.sampled_from(OF_VALKEY), value=VALUES | OF_ITS_KIND)
def test_valkey_sets_many_values_as_they_are_written_or_says_why_not(
    in_valkey: InValkey, name: str, value: str
) -> None:
    hold_in_valkey(in_valkey, name, value)


def test_valkey_tells_events_by_their_case(in_valkey: InValkey) -> None:
    for value in ("xE", "xe", "xE"):
        assert in_valkey.apply({"notify-keyspace-events": value})["in_sync"]
        assert set(in_valkey.configuration()["notify-keyspace-events"]) == set(value)
    in_valkey.apply({})


@pytest.mark.parametrize(
    "value", ['"\nport 1\nrequirepass x\n"', "é" * 2038 + "\nrequirepass x\n", "x\0y", "no"]
)
def test_valkey_starts_with_whatever_its_parameters_are(in_valkey: InValkey, value: str) -> None:
    place = in_valkey.place
    parameters = {**dict.fromkeys(OF_VALKEY, value), **dict.fromkeys(NAMES, "1")}
    place.engine.stop()
    place.up(**parameters)
    seen = in_valkey.apply(parameters)
    assert set(NAMES) <= seen["errors"].keys()
    assert all(reason.strip() for reason in seen["errors"].values())
    assert in_valkey.changed() <= set(OF_VALKEY) - seen["errors"].keys()
    assert seen["pending_restart"] == []
    place.engine.stop()
    place.up()
    in_valkey.apply({})
    assert in_valkey.changed() == set()
