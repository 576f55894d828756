"""What the log says, and in which form."""

import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from stores import let_go

from control_plane import logs
from control_plane.app import create_app
from control_plane.auth import Role, tokens
from control_plane.clouds.noop import Books, cloud
from control_plane.database import db
from control_plane.datastores.service import import_shipped
from control_plane.settings import LogFormat, Settings, Switch
from control_plane.work.looking import look_at

INSTANCE = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}


class Logged:
    """An application, a client with a token, and what they write."""

    def __init__(self, folder: Path, form: LogFormat, requests: Switch = Switch.ON) -> None:
        settings = Settings(data_dir=folder, cloud="noop", log_format=form, log_requests=requests)
        self.written = io.StringIO()
        self.app: Flask = create_app(settings, cloud(Books()))
        with self.app.app_context():
            db.create_all()
            import_shipped(images=False)
            _, text = tokens.create("test", "default", Role.ADMIN, None)
        self.client: FlaskClient = self.app.test_client()
        self.headers = {"Authorization": f"Bearer {text}", "X-Request-Id": "req-of-the-test"}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stderr", self.written)
            logs.log_to_stderr("INFO", form)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return self.client.open(path, method=method, json=body, headers=self.headers)

    @property
    def lines(self) -> list[str]:
        return self.written.getvalue().splitlines()

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_each_request_is_an_object_with_its_ids(tmp_path: Path) -> None:
    logged = Logged(tmp_path, LogFormat.JSON)
    logged.call("PUT", "/v1/instances/orders", INSTANCE)
    (line,) = logged.objects
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert 0 < line.pop("seconds") < 60
    assert line.pop("message").startswith("PUT /v1/instances/<instance> 202 in ")
    assert line == {
        "level": "INFO", "logger": "control_plane.access", "request_id": "req-of-the-test",
        "project_id": "default", "method": "PUT", "route": "/v1/instances/<instance>", "status": 202,
        "instance": "orders",
    }  # fmt: skip
    let_go(logged.app)


def test_what_is_said_while_an_instance_is_looked_at_names_it(tmp_path: Path) -> None:
    logged = Logged(tmp_path, LogFormat.JSON, Switch.OFF)
    made = logged.call("PUT", "/v1/instances/orders", INSTANCE).json
    look_at(logged.app, cloud(Books()), made["id"])
    assert logged.objects
    assert {line["instance_id"] for line in logged.objects} == {made["id"]}
    let_go(logged.app)


def test_a_plain_line_has_the_request_and_no_path_that_nobody_serves(tmp_path: Path) -> None:
    logged = Logged(tmp_path, LogFormat.PLAIN)
    logged.call("GET", "/v1/tokens/sesame/open")
    (line,) = logged.lines
    assert re.search(r"Z INFO control_plane\.access req-of-the-test: GET none 404 in \d\.\d{3} s$", line)
    let_go(logged.app)


def test_probes_are_not_written_down_nor_is_anything_when_it_is_off(tmp_path: Path) -> None:
    logged = Logged(tmp_path, LogFormat.PLAIN)
    for path in ("/healthz", "/readyz", "/metrics"):
        assert logged.call("GET", path).status_code == 200
    assert logged.lines == []
    (tmp_path / "other").mkdir()
    silent = Logged(tmp_path / "other", LogFormat.PLAIN, Switch.OFF)
    silent.call("GET", "/v1/instances")
    assert silent.lines == []
    for app in (logged.app, silent.app):
        let_go(app)


def test_an_exception_stays_in_its_line(tmp_path: Path) -> None:
    logged = Logged(tmp_path, LogFormat.JSON)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("control_plane").exception("it broke")
    (line,) = logged.objects
    assert line["message"] == "it broke"
    assert line["exception"].endswith("ValueError: two\nlines")
    let_go(logged.app)
