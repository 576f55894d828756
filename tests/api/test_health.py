"""What /readyz says of what the process depends on."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from stores import let_go

from control_plane.app import ServerRole, create_app
from control_plane.clouds import CloudError, Flavor
from control_plane.clouds.noop import Books, cloud
from control_plane.database import db
from control_plane.http import health
from control_plane.settings import Settings, Work


@dataclass
class Weather:
    """A cloud's list of flavors, which may fail or hang."""

    fails: bool = False
    asked: int = 0

    def __post_init__(self) -> None:
        self.clear = threading.Event()
        self.clear.set()

    def flavors(self) -> Sequence[Flavor]:
        self.asked += 1
        self.clear.wait(30)
        if self.fails:
            raise CloudError("https://nova.internal:8774 answered 500 to coffret:sesame")
        return []


def made(folder: Path, weather: Weather, role: ServerRole = ServerRole.ALL, **settings: Any) -> Flask:
    app = create_app(
        Settings(data_dir=folder, cloud="noop", **settings), replace(cloud(Books()), flavors=weather), role
    )
    with app.app_context():
        db.create_all()
    return app


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look is a new one, and a short one."""
    monkeypatch.setattr(health, "KEPT", 0.0)
    monkeypatch.setattr(health, "PATIENCE", 10.0)


def test_all_that_answers_is_named(tmp_path: Path) -> None:
    app = made(tmp_path, Weather())
    answer = app.test_client().get("/readyz")
    assert (answer.status_code, answer.json) == (200, {"status": "ok", "database": "ok", "cloud": "ok"})
    let_go(app)


def test_a_cloud_that_is_away_is_said_without_its_words_and_leaves_the_process_ready(
    tmp_path: Path,
) -> None:
    app = made(tmp_path, Weather(fails=True))
    answer = app.test_client().get("/readyz")
    assert answer.status_code == 200
    assert answer.json == {"status": "ok", "database": "ok", "cloud": "CloudError"}
    let_go(app)


def test_an_answer_does_not_wait_for_a_cloud_that_hangs_nor_asks_it_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PATIENCE", 1.0)
    weather = Weather()
    app = made(tmp_path, weather)
    weather.clear.clear()
    for _ in range(2):
        assert app.test_client().get("/readyz").json["cloud"] == "no answer within 1 s"  # type: ignore[index]
    assert weather.asked == 1
    weather.clear.set()
    monkeypatch.setattr(health, "PATIENCE", 10.0)
    assert app.test_client().get("/readyz").json["cloud"] == "ok"  # type: ignore[index]
    let_go(app)


def test_what_was_learned_is_told_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weather = Weather()
    app = made(tmp_path, weather)
    monkeypatch.setattr(health, "KEPT", 1000.0)
    for _ in range(3):
        app.test_client().get("/readyz")
    assert weather.asked == 1
    let_go(app)


def test_a_gateway_does_not_ask_the_cloud(tmp_path: Path) -> None:
    app = made(tmp_path, Weather(fails=True), ServerRole.AGENTS)
    assert app.test_client().get("/readyz").json == {"status": "ok", "database": "ok"}
    let_go(app)


def test_without_its_tables_no_process_is_ready(tmp_path: Path) -> None:
    app = made(tmp_path, Weather())
    with app.app_context():
        db.drop_all()
    answer = app.test_client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json == {"status": "unready", "database": "OperationalError", "cloud": "ok"}
    let_go(app)


def test_a_broker_that_is_away_makes_workers_unready_and_nobody_else(tmp_path: Path) -> None:
    app = made(
        tmp_path, Weather(), work=Work.CELERY, broker_url="amqp://coffret:sesame@127.0.0.1:9/coffret"
    )
    client = app.test_client()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json["status"]) == (200, "ok")  # type: ignore[index]
    assert "Error" in answer.json["broker"]  # type: ignore[index]
    app.extensions["coffret_health"].need("broker")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json["status"]) == (503, "unready")  # type: ignore[index]
    assert "sesame" not in answer.text
    let_go(app)


def test_a_process_that_is_told_to_end_is_not_ready(tmp_path: Path) -> None:
    app = made(tmp_path, Weather())
    app.extensions["coffret_health"].ending.set()
    answer = app.test_client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json == {"status": "ending", "database": "ok", "cloud": "ok"}
    assert app.test_client().get("/healthz").status_code == 200
    let_go(app)
