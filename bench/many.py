"""Many instances in a state database on PostgreSQL, put there in bulk."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from flask import Flask
from sqlalchemy import Table, select, text

from bench.service import Service, keys_for
from control_plane.agents import double
from control_plane.agents.models import Agent
from control_plane.app import ServerRole, create_app
from control_plane.auth import Role, tokens
from control_plane.clouds.registry import open_cloud
from control_plane.database import db, now, transaction
from control_plane.databases.models import Database
from control_plane.events.models import Event
from control_plane.instances.models import Instance
from control_plane.settings import Settings
from control_plane.users.models import User

LARGE_PROJECT = "large"
"""Has a fifth of all instances; of each other project there are 20."""
_SMALL = 20
BODY = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 10}}
DATABASES = 3
USERS = ("app", "reports")


def names(count: int) -> dict[str, list[str]]:
    """Names of `count` instances by project."""
    projects: dict[str, list[str]] = {}
    for number in range(count):
        projects.setdefault(project_of(number, count), []).append(f"pg-{number:05}")
    return projects


def project_of(number: int, count: int) -> str:
    place, rest = divmod(number, 5)
    return f"small-{place % (count // 5 * 4 // _SMALL)}" if rest else LARGE_PROJECT


def fill(api: Service, url: str, count: int) -> None:
    """Make `count` converged instances, each with databases, users, events and an agent.

    `api`: over that database, with a token of LARGE_PROJECT. It makes the first one, and SQL copies that.
    """
    first = f"/instances/pg-{0:05}"
    api.put(first, BODY)
    for number in range(DATABASES):
        api.put(f"{first}/databases/database-{number}", {"character_set": "UTF8"})
    for user in USERS:
        grants = [{"database": "database-0", "privileges": ["CONNECT"]}]
        api.put(f"{first}/users/{user}", {"password": "of-the-bench-123", "grants": grants})
    with opened(url, api):
        copy(_converge(), count)
        vacuum()


def copy(first: str, count: int) -> None:
    """Make it `count` instances: copies of the one with the id `first`, and of what is of it, in SQL."""
    with db.engine.begin() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE copies (number int, id text, project text)"))
        rows = [{"n": n, "id": _id(n), "project": project_of(n, count)} for n in range(1, count)]
        connection.execute(text("INSERT INTO copies VALUES (:n, :id, :project)"), rows)
        for model in (Instance, Database, User, Agent, Event):
            connection.execute(text(_copying(model.__table__)), {"first": first})
        connection.execute(text("DROP TABLE copies"))
        connection.execute(text("SET LOCAL synchronous_commit = on"))  # what is not is news to VACUUM


def vacuum() -> None:
    """What autovacuum would do before long."""
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


@contextmanager
def opened(url: str, api: Service) -> Iterator[Flask]:
    """The application of `api` over its database, within its context."""
    keys = keys_for(api.data.parent)
    settings = Settings(data_dir=api.data, database_url=url, secrets_keys=keys, cloud="noop")
    app = create_app(settings, open_cloud(settings), ServerRole.API)
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


def tokens_of(projects: Sequence[str]) -> dict[str, str]:
    """A new token for each project."""
    return {project: tokens.create("bench", project, Role.MEMBER)[1] for project in projects}


def _id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def _converge() -> str:
    """What drivers and an agent would do to the first instance, and no more looks. Returns its id."""
    with transaction() as session:
        instance = session.scalars(select(Instance)).one()
        instance.cloud = {
            **{f"{kind}_id": f"{kind}-{instance.id}" for kind in ("server", "volume", "port")},
            "volume_size": instance.volume_size, "flavor": instance.flavor, "rebuild": None,
            "host": "10.0.0.10", "listen": ["::"], "port": 5432,
        }  # fmt: skip
        instance.cloud_generation = instance.generation
        double.play(instance)
        session.add(Agent(instance_id=instance.id, secret_hash="0" * 64, last_seen_at=now()))
        session.flush()
        instance.next_reconcile_at = None
        return instance.id


def _copying(table: Table) -> str:
    """The statement that makes rows like those of the first instance for each of the copies."""
    ours = {
        "id": "CAST(CAST(md5(row.id || copies.id) AS uuid) AS text)",
        "instance_id": "copies.id",
        "project_id": "copies.project",
    }
    if table.name == "instances":
        ours |= {
            "id": "copies.id",
            "name": "'pg-' || lpad(CAST(copies.number AS text), 5, '0')",
            "cloud": "CAST(replace(CAST(row.cloud AS text), row.id, copies.id) AS json)",
        }
    key = "id" if table.name == "instances" else "instance_id"
    columns = [column.name for column in table.columns if (table.name, column.name) != ("events", "id")]
    named = ", ".join(f'"{name}"' for name in columns)
    values = ", ".join(ours.get(name, f'row."{name}"') for name in columns)
    return (
        f"INSERT INTO {table.name} ({named}) SELECT {values} FROM {table.name} row, copies"  # noqa: S608
        f" WHERE row.{key} = :first"
    )
