"""Secrets at rest: the state database has them encrypted only, and keys come and go."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from contract import PASSWORD
from control_plane_fixtures import ControlPlane, control_plane
from sqlalchemy import JSON, bindparam, text
from sqlalchemy.exc import DBAPIError

from control_plane.cli import main
from control_plane.database import db
from control_plane.secrets import keys as app_keys
from control_plane.secrets.keys import Keys, UnreadableSecret, fingerprint, new_key, open_keys
from control_plane.secrets.rotation import rotate, used
from control_plane.settings import Settings, SettingsError
from control_plane.users import verifiers

__all__ = ["control_plane"]


@pytest.fixture
def folder(control_plane: ControlPlane) -> Iterator[Path]:
    """The data folder of a control plane with an instance."""
    control_plane.put_instance()
    settings: Settings = control_plane.app.extensions["coffret_settings"]
    return settings.data_dir


def put(control_plane: ControlPlane, name: str, password: str = PASSWORD) -> Any:
    answer = control_plane.call("PUT", f"/instances/orders/users/{name}", {"password": password})
    assert answer.status_code in (200, 202), answer.json
    return answer.json


def stored(control_plane: ControlPlane) -> list[str]:
    with control_plane.app.app_context():
        return list(db.session.scalars(text("SELECT verifier FROM users ORDER BY name")))


def known(control_plane: ControlPlane) -> list[str]:
    """The verifiers as the control plane reads them."""
    with control_plane.app.app_context():
        from control_plane.users.models import User

        return [row.verifier for row in db.session.query(User).order_by(User.name)]


def rotated(control_plane: ControlPlane) -> int:
    with control_plane.app.app_context():
        return rotate()


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_no_verifier_and_no_kept_answer_is_in_the_files(control_plane: ControlPlane, folder: Path) -> None:
    put(control_plane, "app")
    restart = {"type": "restart"}
    answer = control_plane.call("POST", "/instances/orders/actions", restart, **{"Idempotency-Key": "once"})
    (verifier,) = known(control_plane)
    assert verifiers.fits("postgresql", PASSWORD, verifier)
    kept = json.dumps(answer.json)
    files = [file.read_bytes() for file in folder.glob("coffret.db*")]
    assert any(b"fernet:" in content for content in files)
    for content in files:
        for secret in (PASSWORD, verifier, verifier.split("$")[2], "SCRAM-SHA-256", kept):
            assert secret.encode() not in content
    again = control_plane.call("POST", "/instances/orders/actions", restart, **{"Idempotency-Key": "once"})
    assert again.json == answer.json
    assert again.headers["Idempotent-Replayed"] == "true"


def test_the_same_password_is_no_change(control_plane: ControlPlane, folder: Path) -> None:
    first = put(control_plane, "app")
    before = stored(control_plane)
    assert put(control_plane, "app")["generation"] == first["generation"]
    assert stored(control_plane) == before
    assert put(control_plane, "app", "another password")["generation"] == first["generation"] + 1


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "secrets.keys"
    rings = [Keys(file, make=True) for _ in range(8)]
    threads = [threading.Thread(target=ring.load) for ring in rings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({ring.newest for ring in rings}) == 1
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_new_key_takes_over_while_the_control_plane_runs(
    control_plane: ControlPlane, folder: Path
) -> None:
    file = folder / "secrets.keys"
    put(control_plane, "app")
    old, new = file.read_text().strip(), new_key()
    verifier = known(control_plane)
    file.write_text(f"{new}\n{old}\n")
    put(control_plane, "web")
    assert [fingerprint(new) in item for item in stored(control_plane)] == [False, True]
    assert rotated(control_plane) == 1
    assert rotated(control_plane) == 0
    file.write_text(f"{new}\n")
    assert known(control_plane)[:1] == verifier
    assert all(item.startswith(f"fernet:{fingerprint(new)}:") for item in stored(control_plane))


def test_what_earlier_versions_wrote_in_clear_is_read_and_encrypted(
    control_plane: ControlPlane, folder: Path
) -> None:
    put(control_plane, "app")
    (verifier,) = known(control_plane)
    answer = {"id": "of an earlier version"}
    with control_plane.app.app_context():
        db.session.execute(text("UPDATE users SET verifier = :clear"), {"clear": verifier})
        db.session.execute(
            text(
                "INSERT INTO idempotency_keys VALUES"
                " ('project', 'old', 'hash', 202, :body, '2026-01-01 00:00:00.000000')"
            ).bindparams(bindparam("body", answer, JSON)),
        )
        db.session.commit()
    assert known(control_plane) == [verifier]
    assert put(control_plane, "app")["generation"] == 1
    assert rotated(control_plane) == 2
    assert known(control_plane) == [verifier]
    assert verifier not in stored(control_plane)
    with control_plane.app.app_context():
        body = db.session.scalar(text("SELECT body FROM idempotency_keys").columns(body=JSON))
        assert body.startswith("fernet:")


def test_with_clear_at_the_top_values_are_written_for_earlier_versions(
    control_plane: ControlPlane, folder: Path
) -> None:
    file = folder / "secrets.keys"
    put(control_plane, "app")
    file.write_text(f"clear\n{file.read_text()}")
    put(control_plane, "web")
    assert [item.startswith("fernet:") for item in stored(control_plane)] == [True, False]
    assert all(item.startswith("SCRAM") for item in known(control_plane))
    assert rotated(control_plane) == 1
    assert all(item.startswith("SCRAM") for item in stored(control_plane))


def test_writers_and_two_rotations_at_once_lose_nothing(
    control_plane: ControlPlane, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.secrets.rotation.BATCH", 3)
    file = folder / "secrets.keys"
    names = [f"u{number:02}" for number in range(12)]
    for name in names:
        put(control_plane, name)
    new = new_key()
    file.write_text(f"{new}\n{file.read_text()}")
    failures: list[BaseException] = []

    def tried(work: Any) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    def write() -> None:
        for name in names:
            put(control_plane, name, f"changed {name}")

    works = [lambda: rotated(control_plane), lambda: rotated(control_plane), write]
    threads = [threading.Thread(target=tried, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    file.write_text(f"{new}\n")
    for name, verifier in zip(names, known(control_plane), strict=True):
        assert verifiers.fits("postgresql", f"changed {name}", verifier)


def test_a_rotation_broken_off_is_gone_on_with(
    control_plane: ControlPlane, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.secrets.rotation.BATCH", 2)
    file = folder / "secrets.keys"
    for number in range(6):
        put(control_plane, f"u{number}")
    before = known(control_plane)
    file.write_text(f"{new_key()}\n{file.read_text()}")
    encrypt, done = Keys.encrypt, []

    def dies(self: Keys, value: str) -> str:
        done.append(value)
        if len(done) > 3:  # in the second batch
            raise KeyboardInterrupt
        return encrypt(self, value)

    with monkeypatch.context() as patched:
        patched.setattr(Keys, "encrypt", dies)
        with pytest.raises(KeyboardInterrupt):
            rotated(control_plane)
    assert known(control_plane) == before
    assert rotated(control_plane) == 4
    assert known(control_plane) == before
    with control_plane.app.app_context():
        assert used() == {app_keys().newest}


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("replaced", [None, "another"])
def test_a_missing_or_another_key_is_said_at_the_start_and_changes_nothing(
    control_plane: ControlPlane, folder: Path, replaced: str | None
) -> None:
    put(control_plane, "app")
    file = folder / "secrets.keys"
    needed = fingerprint(file.read_text().strip())
    file.unlink()
    if replaced:
        file.write_text(f"{new_key()}\n")
    with control_plane.app.app_context():
        db.session.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        db.session.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": head()})
        db.session.commit()
    before = stored(control_plane)
    environment = {"COFFRET_DATA_DIR": str(folder), "COFFRET_CLOUD": "noop"}
    for command in (["db", "upgrade"], ["secrets", "rotate"]):
        answer = CliRunner().invoke(main, command, env=environment)
        assert answer.exit_code == 1
        assert f"encrypted with the key {needed}" in answer.output
        assert "does not have it" in answer.output
    assert stored(control_plane) == before
    assert file.exists() is bool(replaced)


def head() -> str:
    versions = Path(__file__).parents[2] / "control_plane" / "migrations" / "versions"
    return max(file.name[:4] for file in versions.glob("0*.py"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        ("", "has no key"),
        ("# nothing\nclear text\n", "line 2 is no key"),
        (new_key()[:-3], "line 1 is no key"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_no_key_is_shown(
    tmp_path: Path, content: str | None, says: str
) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError) as refused:
        Keys(file).check(set())
    assert says in refused.value.detail
    assert str(file) in refused.value.detail
    assert not content or content.splitlines()[-1] not in refused.value.detail


def test_a_file_that_goes_wrong_later_leaves_the_keys_that_were_read(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{new_key()}\n")
    keys = Keys(file)
    secret = keys.encrypt("secret")
    file.write_text("no key\n")
    assert keys.decrypt(secret) == "secret"
    assert keys.decrypt(keys.encrypt("another")) == "another"


def test_a_damaged_value_is_not_taken_for_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{new_key()}\n")
    keys = Keys(file)
    with pytest.raises(UnreadableSecret, match="damaged"):
        keys.decrypt(keys.encrypt("secret")[:-8])


def test_with_a_shared_database_the_file_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="COFFRET_SECRETS_KEYS must name the file"):
        open_keys(Settings(data_dir=tmp_path, database_url="postgresql://db.example/coffret"))


def test_an_error_of_the_database_does_not_show_what_it_was_sent(control_plane: ControlPlane) -> None:
    with control_plane.app.app_context(), pytest.raises(DBAPIError) as failed:
        db.session.execute(text("SELECT * FROM nowhere WHERE verifier = :verifier"), {"verifier": PASSWORD})
    assert PASSWORD not in str(failed.value)
    assert "nowhere" in str(failed.value)
