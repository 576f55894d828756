"""How long the state database is waited for, and it for us."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import flask_migrate
import pytest
from contract import INSTANCE, Api, problem
from control_plane_fixtures import ControlPlane
from flask import Flask
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from stores import OnServer, Store, let_go
from wire import Wire

from control_plane import stores
from control_plane.app import create_app
from control_plane.clouds.noop import Books, cloud
from control_plane.clouds.noop.drivers import Network
from control_plane.database import db, queue_up, transaction
from control_plane.datastores.service import import_shipped
from control_plane.quotas import service as quotas

HANGS = {"postgresql": "SELECT pg_sleep({})", "mariadb": "SELECT SLEEP({})"}
SESSION = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT CONNECTION_ID()"}
LOCK = {
    "postgresql": "SELECT pg_advisory_lock(hashtext('coffret migrations'))",
    "mariadb": "SELECT GET_LOCK(CONCAT('coffret migrations ', DATABASE()), 0)",
}
Make = Callable[..., Flask]


@pytest.fixture
def server(store: Store) -> OnServer:
    if not isinstance(store, OnServer):
        pytest.skip("a file is not waited for")
    return store


@pytest.fixture
def make(server: OnServer, tmp_path: Path) -> Iterator[Make]:
    """An application, with a state database of its own."""
    made = []

    def make(**more: object) -> Flask:
        url = {"database_url": server.make()}  # not for another test, whose patience is longer
        made.append(create_app(server.settings(tmp_path, **url | more), cloud(Books())))
        return made[-1]

    yield make
    for app in made:
        let_go(app)


def filled(server: OnServer, app: Flask) -> Api:
    server.lay(app)
    with app.app_context():
        import_shipped(images=False)
    api = Api(ControlPlane(app, Books()))
    api.instance()
    return api


@contextmanager
def took(least: float, most: float) -> Iterator[None]:
    """Seconds."""
    began = time.monotonic()
    yield
    assert least < time.monotonic() - began < most


def test_a_statement_that_hangs_is_undone_said_and_its_connection_used_again(
    server: OnServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "STATEMENT_SECONDS", 1)
    api = filled(server, make(database_connections=1))

    def session() -> int:
        with api.app.app_context(), db.engine.connect() as connection:
            number: int = connection.scalar(text(SESSION[server.name]))
            return number

    before = session()
    with monkeypatch.context() as hung, api.unchanged(), took(0.9, 10):
        hung.setattr(quotas, "check", lambda *_: db.session.execute(text(HANGS[server.name].format(30))))
        answer = api.put("/instances/other", INSTANCE)
        problem(answer, 503, "state_unavailable")
        assert answer.headers["Retry-After"] == "2"
    assert session() == before
    api.made("/instances/other", INSTANCE)


def test_a_server_that_says_nothing_any_more_is_given_up(
    server: OnServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "SILENT_SECONDS", 1)
    wire = Wire(server.server.port)
    url = make_url(server.make()).set(port=wire.port).update_query_dict({"connect_timeout": "2"})
    api = filled(server, make(database_url=url.render_as_string(hide_password=False)))
    wire.silent = True
    with took(0.9, 10):
        problem(api.get("/instances/orders"), 503, "state_unavailable")
    wire.cut()
    wire.silent = False
    wire.restore()
    assert api.get("/instances/orders").status_code == 200
    wire.cut()


def test_what_a_transaction_that_stands_still_has_locked_is_free_again(
    server: OnServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "IDLE_SECONDS", 1)
    api = filled(server, make())

    def take_turn() -> None:
        with api.app.app_context(), transaction():
            queue_up("turn")

    def stand_still() -> None:
        other = threading.Thread(target=take_turn)
        with transaction() as session:
            queue_up("turn")
            with took(0.5, 10):
                other.start()
                other.join(30)
            session.execute(text("SELECT 1"))

    with api.app.app_context():
        with pytest.raises(DBAPIError) as failed:
            stand_still()
        assert stores.is_unavailable(failed.value)
        take_turn()


def test_who_waits_for_a_migration_waits_as_long_as_it_takes(
    make: Make, server: OnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("STATEMENT_SECONDS", "SILENT_SECONDS", "IDLE_SECONDS", "LOCK_SECONDS"):
        monkeypatch.setattr(stores, limit, 1)
    app = make()
    with app.app_context():
        another = db.engine.connect()
        stores.take_your_time(another)
        another.execute(text(LOCK[server.name]))
        another.commit()
        began = []

        def end() -> None:
            began.append(db.inspect(engine).has_table("instances"))
            another.close()

        engine = db.engine
        later = threading.Timer(2.5, end)
        later.start()
        flask_migrate.upgrade()
        later.join()
        assert began == [False]
        assert db.inspect(db.engine).has_table("instances")
        with db.engine.connect() as connection, pytest.raises(DBAPIError):  # but no one else does
            connection.execute(text(HANGS[server.name].format(30)))


def test_no_transaction_is_open_while_the_cloud_is_asked(
    filled: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, bool] = {}
    act = Books.act

    def note(call: str) -> None:
        asked[call] = asked.get(call, False) or db.session().in_transaction()

    def note_and_act(books: Books, call: str) -> None:
        note(call)
        act(books, call)

    monkeypatch.setattr(Books, "act", note_and_act)
    monkeypatch.setattr(Network, "validate", lambda *_: note("network.validate"))
    filled.instance("other")
    assert filled.patch("/instances/other", {"volume": {"size": 11}}).status_code == 202
    filled.work()
    assert filled.post("/instances/other/actions", {"type": "rebuild"}).status_code == 202
    filled.work()
    assert filled.delete("/instances/other").status_code == 202
    filled.work()
    parts = ("volumes", "network", "compute")
    acted = {f"{part}.{does}" for part in parts for does in ("ensure", "delete")}
    assert asked == dict.fromkeys({"network.validate", *acted}, False)
