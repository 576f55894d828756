"""The state database of the tests' application: laid anew for each test, from copies."""

from collections.abc import Iterator
from contextlib import contextmanager

from contract import PASSWORD, Api
from control_plane_fixtures import ControlPlane
from flask import Flask
from stores import Store

from control_plane.clouds.noop import Books
from control_plane.datastores.service import import_shipped


class States:
    """Copies of the state database, to start tests from."""

    def __init__(self, store: Store, app: Flask, books: Books) -> None:
        self.app = app
        self.books = books
        self.store = store
        store.lay(app)
        with app.app_context():
            import_shipped(images=False)
        self.api = Api(ControlPlane(app, books))
        store.keep(app, "shipped")
        fill(self.api)
        store.keep(app, "filled")
        self._end()

    @contextmanager
    def laid(self, name: str) -> Iterator[Api]:
        """The API over a copy of the state so called, as a member of `project` calls it."""
        self.store.lay(self.app, name)
        yield self.api
        self._end()

    def _end(self) -> None:
        self.store.clear(self.app)
        books = self.books
        for kept in (books.volumes, books.ports, books.servers, books.calls, books.failures):
            kept.clear()


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
