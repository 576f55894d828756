"""Settings: read from a file and the environment, checked, documented."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from control_plane.clouds.registry import open_cloud
from control_plane.settings import LogLevel, Settings, SettingsError

PAGE = Path(__file__).parents[2] / "docs" / "operators" / "settings.md"
ROW = re.compile(r"^\| `(COFFRET_\w+)` \| (.*?) \| (.*) \|$", re.MULTILINE)


def test_every_setting_is_on_its_page_with_its_default() -> None:
    documented = {name: (default, text) for name, default, text in ROW.findall(PAGE.read_text())}
    assert documented == {
        f"COFFRET_{item.name.upper()}": (
            f"`{item.default}`" if item.default not in ("", None) else "none",
            item.metadata["doc"],
        )
        for item in fields(Settings)
    }


def test_what_is_not_said_has_its_default() -> None:
    assert Settings.load({"HOME": "/root", "PATH": "/bin"}) == Settings()


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "coffret.conf"
    file.write_text("# a comment\n\nCOFFRET_THREADS=7\nCOFFRET_WORKERS = 2 \nCOFFRET_CLOUD=noop\n")
    settings = Settings.load({"COFFRET_CONFIG": str(file), "COFFRET_THREADS": "9"})
    assert (settings.threads, settings.workers, settings.cloud) == (9, 2, "noop")


def test_values_have_their_types() -> None:
    settings = Settings.load(
        {
            "COFFRET_DATA_DIR": "/srv/coffret",
            "COFFRET_SWEEP_SECONDS": "0.5",
            "COFFRET_LOCAL_FLAVORS": "",
            "COFFRET_LOG_LEVEL": "DEBUG",
            "COFFRET_DATABASE_URL": "sqlite:////srv/other.db",
        }
    )
    assert settings.data_dir == Path("/srv/coffret")
    assert settings.sweep_seconds == 0.5
    assert settings.local_flavors is None
    assert settings.log_level is LogLevel.DEBUG
    assert str(settings.sqlalchemy_url) == "sqlite:////srv/other.db"


@pytest.mark.parametrize(
    ("written", "understood"),
    [
        ("postgresql://c:p%40ss@db/coffret?sslmode=require", "postgresql+psycopg"),
        ("postgres://c:p%40ss@db/coffret", "postgresql+psycopg"),
        ("postgresql+psycopg2://c:p%40ss@db/coffret", "postgresql+psycopg"),
        ("mysql://c:p%40ss@db/coffret", "mariadb+pymysql"),
        ("mariadb://c:p%40ss@db/coffret", "mariadb+pymysql"),
    ],
)
def test_a_database_is_named_as_its_own_tools_name_it(written: str, understood: str) -> None:
    settings = Settings(database_url=written)
    url = settings.sqlalchemy_url
    assert (url.drivername, url.password, url.database) == (understood, "p@ss", "coffret")
    assert "p%40ss" not in repr(settings)


@pytest.mark.parametrize(
    "url", ["oracle://c:hidden@db/coffret", "c:hidden@db", "postgresql://c:hidden@db:x/"]
)
def test_a_wrong_database_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="COFFRET_DATABASE_URL") as refused:
        assert Settings(database_url=url).sqlalchemy_url
    assert "hidden" not in refused.value.detail


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("COFFRET_THREDS", "4", "Did you mean 'COFFRET_THREADS'?"),
        ("COFFRET_", "4", "is not a setting"),
        ("COFFRET_THREADS", "many", "COFFRET_THREADS='many' is not a whole number from 1 up."),
        ("COFFRET_THREADS", "0", "from 1 up"),
        ("COFFRET_THREADS", "", "whole number"),
        ("COFFRET_THREADS", "1.5", "whole number"),
        ("COFFRET_SWEEP_SECONDS", "nan", "number from 0.1 up"),
        ("COFFRET_SWEEP_SECONDS", "inf", "number from 0.1 up"),
        ("COFFRET_QUOTA_RAM", "-1", "from 0 up"),
        ("COFFRET_LOG_LEVEL", "LOUD", "one of DEBUG, INFO, WARNING, ERROR"),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_be_right(name: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.load({name: value})
    assert says in refused.value.detail
    assert name in refused.value.detail


@pytest.mark.parametrize(
    ("threads", "limit", "kinds", "most"),
    [(40, 20, 2, 19), (40, 40, 1, 39), (41, 21, 2, 20), (2, 1, 2, 0), (1, 1, 1, 0)],
)
def test_parked_requests_must_leave_a_thread(threads: int, limit: int, kinds: int, most: int) -> None:
    with pytest.raises(SettingsError, match=f"COFFRET_PARKED_LIMIT={limit} .* set it to {most} at most"):
        Settings(threads=threads, parked_limit=limit).check_parking(kinds)
    Settings(threads=threads, parked_limit=most).check_parking(kinds)
    Settings(threads=kinds * limit + 1, parked_limit=limit).check_parking(kinds)


@pytest.mark.parametrize("threads", range(1, 50))
def test_what_is_parked_by_default_leaves_threads(threads: int) -> None:
    Settings(threads=threads).check_parking(kinds=2)


def test_an_unknown_cloud_is_named_with_those_there_are() -> None:
    with pytest.raises(SettingsError) as refused:
        open_cloud(Settings.load({"COFFRET_CLOUD": "nope"}))
    assert "Did you mean 'noop'?" in refused.value.detail


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"COFFRET_THREADS\n", "coffret.conf:1: expected NAME=value"),
        (b"\nTHREADS=4\n", "THREADS is not a setting"),
        (b"\xff\xfe", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_file_is_named_with_the_line(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "coffret.conf"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        Settings.load({"COFFRET_CONFIG": str(file)})
    assert says in refused.value.detail


def test_what_the_clients_read_from_the_environment_is_left_alone() -> None:
    clients = {"COFFRET_TOKEN": "cfrt_a.b", "COFFRET_ENDPOINT": "http://127.0.0.1:8779"}
    assert Settings.load(clients) == Settings()


def test_urls_that_may_hold_a_password_are_not_shown() -> None:
    urls = dict.fromkeys(("database_url", "rate_storage", "broker_url"), "scheme://user:secret@host")
    assert "secret@" not in repr(Settings(**urls))  # type: ignore[arg-type]
