"""The state database of the tests' application: laid anew for each test, from copies."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contract import PASSWORD, Api
from control_plane_fixtures import ControlPlane
from flask import Flask

from control_plane.clouds.noop import Books
from control_plane.database import db
from control_plane.datastores.service import import_shipped


class States:
    """Copies of the state database, to start tests from."""

    def __init__(self, app: Flask, books: Books) -> None:
        self.app = app
        self.books = books
        self.folder: Path = app.extensions["coffret_settings"].data_dir
        with app.app_context():
            db.create_all()
            import_shipped(images=False)
        self.api = Api(ControlPlane(app, books))
        self.keep("shipped")
        with self.laid("shipped"):
            fill(self.api)
            self.keep("filled")

    def keep(self, name: str) -> None:
        self._let_go()
        (self.folder / "coffret.db").rename(self.folder / name)

    @contextmanager
    def laid(self, name: str) -> Iterator[Api]:
        """The API over a copy of the state so called, as a member of `project` calls it."""
        shutil.copy(self.folder / name, self.folder / "coffret.db")
        yield self.api
        self._let_go()
        for file in self.folder.glob("coffret.db*"):
            file.unlink()
        books = self.books
        for kept in (books.volumes, books.ports, books.servers, books.calls, books.failures):
            kept.clear()

    def _let_go(self) -> None:
        with self.app.app_context():
            db.session.remove()
            db.engine.dispose()


def fill(api: Api) -> None:
    """The instances orders (PostgreSQL), maria and cache (Valkey), with databases `shop`, a user `app`."""
    api.instance()
    api.instance("maria", datastore="mariadb")
    api.instance("cache", datastore="valkey")
    for name in ("orders", "maria"):
        api.made(f"/instances/{name}/databases/shop", {})
    grants = [{"database": "shop", "privileges": ["SELECT"]}]
    api.made("/instances/orders/users/app", {"password": PASSWORD, "grants": grants})
    api.work()
