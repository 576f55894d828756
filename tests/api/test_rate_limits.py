"""A project that asks too often is told when to go on; others go on meanwhile."""

import dataclasses
import threading
from pathlib import Path

import pytest
from contract import Api, Caller, problem

from control_plane.http.rate_limits import InMemory, RateLimits
from control_plane.settings import Settings, SettingsError

LIMITS = {"rate_reads": "5/minute", "rate_writes": "3/minute", "rate_failed_logins": "4/minute"}


def limited(api: Api, monkeypatch: pytest.MonkeyPatch, **limits: str) -> None:
    settings = dataclasses.replace(api.app.extensions["coffret_settings"], **(LIMITS | limits))
    monkeypatch.setitem(api.app.extensions, "coffret_rate_limits", RateLimits(settings))


def test_reads_and_writes_are_limited_apart_and_by_project(
    filled: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(filled, monkeypatch)
    for _ in range(5):
        assert filled.get("/instances/orders").status_code == 200
    refused = filled.get("/instances/orders")
    problem(refused, 429, "rate_limited", says="The project may send 5 reads in a minute")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    for number in range(3):
        assert filled.put("/instances/orders/databases/shop", {}).status_code == 200, number
    with filled.unchanged():
        problem(filled.put("/instances/orders/databases/new", {}), 429, "rate_limited", says="3 writes")
    problem(filled.reader.get("/instances"), 429, "rate_limited")
    assert filled.stranger.get("/instances").status_code == 200


def test_without_limits_nothing_is_counted(filled: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(filled, monkeypatch, rate_reads="", rate_writes="", rate_failed_logins="")
    for _ in range(10):
        assert filled.get("/instances/orders").status_code == 200
        assert Caller(filled.app, "cfrt_no.token").get("/instances").status_code == 401


def test_an_address_that_fails_to_log_in_is_refused_and_whoever_can_goes_on(
    filled: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(filled, monkeypatch, rate_reads="")
    guess = Caller(filled.app, "cfrt_no.token")
    for _ in range(4):
        problem(guess.get("/instances"), 401, "unauthenticated")
    with filled.unchanged():
        refused = guess.delete("/instances/orders")
    problem(refused, 429, "rate_limited", says="may fail to log in 4 times")
    assert int(refused.headers["Retry-After"]) >= 1
    assert filled.get("/instances").status_code == 200


def test_agents_are_not_counted(filled: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(filled, monkeypatch)
    client = filled.app.test_client()
    for _ in range(10):
        assert client.post("/agent/v1/sync", json={}).status_code == 401
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("setting", ["rate_reads", "rate_writes", "rate_failed_logins"])
def test_a_limit_that_is_none_is_named(tmp_path: Path, setting: str) -> None:
    with pytest.raises(SettingsError, match=f"COFFRET_{setting.upper()}='often' is not a limit"):
        RateLimits(Settings(data_dir=tmp_path, **{setting: "often"}))  # type: ignore[arg-type]


def test_a_storage_that_is_none_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="COFFRET_RATE_STORAGE is not a storage") as refused:
        RateLimits(Settings(data_dir=tmp_path, rate_storage="nowhere://user:secret@host"))
    assert "secret" not in refused.value.detail


def test_a_storage_that_is_away_stops_nobody(
    filled: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limited(filled, monkeypatch, rate_storage="valkey://:secret@127.0.0.1:1/0")
    assert filled.get("/instances").status_code == 200
    assert "requests are not counted: ConnectionError" in caplog.text
    assert "secret" not in caplog.text


def test_counting_in_memory_starts_no_threads_and_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InMemory, "MOST", 10)
    storage = InMemory()
    before = threading.active_count()
    for number in range(1000):
        storage.incr(f"address {number}", 60)
        assert len(storage.storage) <= 11
    assert threading.active_count() <= before
    assert storage.incr("address 999", 60) == 2
