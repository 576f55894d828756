"""The API as its clients see it: several callers, the shipped catalogues, and what a call changed."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from control_plane_fixtures import ControlPlane
from flask import Flask
from sqlalchemy import literal_column, select, update
from werkzeug.test import TestResponse

from control_plane.auth import Role, tokens
from control_plane.clouds.noop import Books
from control_plane.database import db, locked, transaction
from control_plane.instances.models import Instance
from control_plane.instances.reconcile import reconcile
from control_plane.work import lease

INSTANCE = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 10}}
GROUP = {"datastore": "postgresql", "parameters": {"work_mem": "8MB"}}
PASSWORD = "correct horse battery"
_ALL = select(literal_column("*"))
ROLES = {"reader": Role.READER, "member": Role.MEMBER, "admin": Role.ADMIN}


@dataclasses.dataclass(frozen=True)
class Caller:
    """One token's view of the API."""

    app: Flask
    token: str

    def __call__(
        self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **headers: str
    ) -> TestResponse:
        """`headers` are written with underscores: If_Match, Idempotency_Key."""
        sent = {"Authorization": f"Bearer {self.token}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        content: dict[str, Any] = {"data": raw} if raw is not None else {}
        if raw is not None:
            sent.setdefault("Content-Type", "application/json")
        elif body is not None:
            content = {"json": body}
        return self.app.test_client().open(f"/v1{path}", method=method, headers=sent, **content)

    def get(self, path: str, **headers: str) -> TestResponse:
        return self("GET", path, **headers)

    def put(self, path: str, body: Any, **headers: str) -> TestResponse:
        return self("PUT", path, body, **headers)

    def patch(self, path: str, body: Any, **headers: str) -> TestResponse:
        return self("PATCH", path, body, **headers)

    def post(self, path: str, body: Any, **headers: str) -> TestResponse:
        return self("POST", path, body, **headers)

    def delete(self, path: str, **headers: str) -> TestResponse:
        return self("DELETE", path, **headers)

    def made(self, path: str, body: Any) -> Any:
        """What a PUT made, as JSON; fails when it did not make it."""
        answer = self.put(path, body)
        assert answer.status_code in (201, 202), answer.json
        return answer.json

    def names(self, path: str) -> list[str]:
        answer = self.get(path)
        assert answer.status_code == 200, answer.json
        return [item["name"] for item in answer.json["items"]]


class Api(Caller):
    """The caller is a member of the project `project`; `admin`, `reader` and `stranger` are others."""

    def __init__(self, control_plane: ControlPlane) -> None:
        app = control_plane.app
        with app.app_context():
            issued = {name: tokens.create(name, "project", role)[1] for name, role in ROLES.items()}
            stranger = tokens.create("stranger", "elsewhere", Role.MEMBER)[1]
        super().__init__(app, issued["member"])
        object.__setattr__(self, "control_plane", control_plane)
        object.__setattr__(self, "admin", Caller(app, issued["admin"]))
        object.__setattr__(self, "reader", Caller(app, issued["reader"]))
        object.__setattr__(self, "stranger", Caller(app, stranger))

    control_plane: ControlPlane
    admin: Caller
    reader: Caller
    stranger: Caller

    @property
    def books(self) -> Books:
        return self.control_plane.books

    def instance(self, name: str = "orders", **fields: Any) -> Any:
        """A new instance that is ready, unless something is left to do by hand."""
        made = self.made(f"/instances/{name}", INSTANCE | fields)
        self.work()
        return made

    def work(self) -> None:
        """Do what the runner would do, until there is nothing to do."""
        with self.app.app_context():
            for instance_id in db.session.scalars(select(Instance.id)).all():
                held = lease.acquire(instance_id)
                if held is None:
                    continue  # it is not due
                look = reconcile(instance_id, self.app.extensions["coffret_cloud"], held)
                if not look.gone:
                    with held.fenced() as row:
                        held.release(row, look.again)

    def report(self, name: str, **parts: Any) -> None:
        """Let the instance's agent have seen something more."""
        with self.app.app_context(), transaction() as session:
            row = session.scalars(locked(select(Instance).filter_by(name=name))).one()
            row.report = row.report | parts

    def write(self, name: str, **columns: Any) -> None:
        with self.app.app_context(), transaction() as session:
            session.execute(update(Instance).where(Instance.name == name).values(**columns))

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of all tables, but what is noted of refused requests."""
        with self.app.app_context():
            return {
                table.name: [
                    tuple(row) for row in db.session.execute(_ALL.select_from(table)) if "denied" not in row
                ]
                for table in db.metadata.sorted_tables
            }

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Nothing that is stored changes meanwhile."""
        before = self.everything()
        yield
        after = self.everything()
        for table, rows in before.items():
            assert after[table] == rows, f"{table} changed"


def problem(
    answer: TestResponse, status: int, code: str, pointer: str | None = None, says: str = ""
) -> dict[str, Any]:
    """The answer's problem, checked for all that a problem must have."""
    body = answer.json
    assert answer.status_code == status, body
    assert answer.content_type == "application/problem+json"
    assert body is not None
    assert body["code"] == code
    assert body["status"] == status
    assert body["type"] == f"urn:coffret:problem:{code}"
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == answer.headers["X-Request-Id"]
    if pointer is not None:
        assert pointer in [item["pointer"] for item in body["errors"]], body["errors"]
    assert says in body["detail"], body["detail"]
    return dict(body)
