"""Migrations only add, so that the version before goes on working: docs/operators/upgrades.md."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa

VERSIONS = Path(__file__).parents[2] / "control_plane/migrations/versions"
WIDENED = {("0004", "users", "verifier")}
"""A column whose type holds what the one before held."""


class Recorder:
    """Stands for alembic's `op`, and notes what would be done that is more than to add."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        self.found: list[str] = []
        self.made: set[str] = set()

    def f(self, name: str) -> str:
        return name

    def create_table(self, name: str, *_: Any, **__: Any) -> None:
        self.made.add(name)

    def add_column(self, table: str, column: sa.Column[Any], **_: Any) -> None:
        if table not in self.made and not column.nullable and column.server_default is None:
            self.found.append(f"add_column {table}.{column.name} that must not be null and has no default")

    def create_index(self, _: str, table: str, *__: Any, unique: bool = False, **___: Any) -> None:
        if unique and table not in self.made:
            self.found.append(f"create_index unique on {table}")

    def alter_column(self, table: str, column: str, **_: Any) -> None:
        if (self.revision, table, column) not in WIDENED:
            self.found.append(f"alter_column {table}.{column}")

    def batch_alter_table(self, table: str, **_: Any) -> "Batch":
        return Batch(self, table)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments, **_: self.found.append(f"{name} {arguments}")


class Batch:
    """As alembic's: what is done to one table."""

    def __init__(self, recorder: Recorder, table: str) -> None:
        self._recorder = recorder
        self._table = table

    def __enter__(self) -> "Batch":
        return self

    def __exit__(self, *_: object) -> None: ...

    def f(self, name: str) -> str:
        return name

    def create_index(self, name: str, columns: Sequence[str], **options: Any) -> None:
        self._recorder.create_index(name, self._table, columns, **options)

    def __getattr__(self, name: str) -> Callable[..., None]:
        done = getattr(self._recorder, name)
        return lambda *arguments, **options: done(self._table, *arguments, **options)


def beyond_adding(file: Path) -> list[str]:
    """What the migration does that a process of the version before may not bear."""
    module = _loaded(file)
    recorder = Recorder(module.revision)
    module.op = recorder  # type: ignore[attr-defined]
    module.upgrade()
    return recorder.found


def _loaded(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("file", sorted(VERSIONS.glob("*.py"))[1:], ids=lambda file: str(file.stem))
def test_a_migration_only_adds(file: Path) -> None:
    assert beyond_adding(file) == []


@pytest.mark.parametrize(
    "step",
    [
        "op.drop_column('users', 'name')",
        "op.drop_table('users')",
        "op.add_column('users', sa.Column('age', sa.Integer(), nullable=False))",
        "op.alter_column('users', 'name', nullable=False)",
        "op.batch_alter_table('users').drop_column('name')",
        "op.batch_alter_table('users').add_column(sa.Column('age', sa.Integer(), nullable=False))",
        "op.create_index('uq', 'users', ['name'], unique=True)",
        "op.create_unique_constraint('uq', 'users', ['name'])",
        "op.rename_table('users', 'people')",
        "op.execute('DELETE FROM users')",
    ],
)
def test_what_does_more_is_found(tmp_path: Path, step: str) -> None:
    file = tmp_path / "bad.py"
    file.write_text(f"import sqlalchemy as sa\nrevision = '9999'\ndef upgrade():\n    {step}\n")
    assert len(beyond_adding(file)) == 1
