"""This version beside the one before: its agents, and its API process and worker on one state database."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rabbitmq import RabbitMQ
from serving import ROOT, Serving, eventually, served
from test_gateway import beside

from control_plane.database import new_id

INSTANCE = {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}
HERE = Path(__file__).parent


def previous(package: str, folder: Path) -> Path:
    """The code as it was when `package` was last another one than now, unpacked in `folder`."""
    for commit in _git("rev-list", "--max-count=50", "HEAD", "--", package).split():
        if subprocess.run(
            ["git", "diff", "--quiet", commit, "--", package], cwd=ROOT, check=False
        ).returncode:
            archive = folder / "previous.tar"
            _git("archive", f"--output={archive}", commit, "control_plane", "guest_agent")
            target = folder / "previous"
            target.mkdir(mode=0o755)
            subprocess.run(["tar", "-xf", archive, "-C", target], check=True)
            return target
    pytest.skip(f"this checkout's history has no other {package}, so the version before is not tested")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"without git's history the version before is not tested: {done.stderr.strip()}")
    return done.stdout


def test_an_agent_of_the_version_before_works_with_this_control_plane() -> None:
    with served() as serving:
        before = previous("guest_agent", serving.folder)
        serving.settings["PREVIOUS"] = str(before)
        serving.path.insert(0, str(HERE / "previous"))
        serving.start()
        serving.put("/instances/orders", INSTANCE)
        serving.ready("/instances/orders", 120)
        (agent,) = serving.agents()
        assert agent.environ()["PYTHONPATH"] == str(before)
        serving.put("/instances/orders/databases/shop", {})
        serving.ready("/instances/orders/databases/shop", 60)
        grants = [{"database": "shop", "privileges": ["ALL"]}]
        serving.put("/instances/orders/users/app", {"password": "correct horse battery", "grants": grants})
        serving.ready("/instances/orders/users/app", 60)


def test_an_api_process_of_the_version_before_works_beside_this_one() -> None:
    with served(COFFRET_CLOUD="noop") as new:
        new.start()
        before = previous("control_plane", new.folder)
        old = beside(new, new.folder / "old", "api")
        old.path = [str(before)]
        old.session.headers.update(new.session.headers)
        old.start()
        try:
            both(old, new, "begun-by-old")
            both(new, old, "begun-by-new")
        finally:
            old.stop()


def test_a_worker_of_the_version_before_works_beside_this_one(rabbitmq: RabbitMQ) -> None:
    with served(COFFRET_CLOUD="noop", COFFRET_WORK="celery", COFFRET_BROKER_URL=rabbitmq.url) as new:
        new.settings["COFFRET_DEPLOYMENT"] = new.folder.name
        new.start()
        before = previous("control_plane", new.folder)
        with worker(new, before):
            both(new, new, "by-old")
            with worker(new, ROOT):
                names = [f"by-either-{number}" for number in range(10)]
                for name in names:
                    new.put(f"/instances/{name}", INSTANCE)
                for name in names:
                    new.ready(f"/instances/{name}")
        with worker(new, ROOT):
            for name in names:
                assert new.call("DELETE", f"/instances/{name}").status_code == 202
            eventually(lambda: not new.call("GET", "/instances").json()["items"], 60)


@contextmanager
def worker(serving: Serving, code: Path) -> Iterator[None]:
    """A `coffret worker` of this code; it does not break off, and ends well."""
    log = serving.folder / f"work-{new_id()}.log"
    with log.open("ab") as said:
        process = subprocess.Popen(
            serving.command("worker", "--concurrency", "2"),
            env=serving.environment | {"PYTHONPATH": str(code)},
            stdout=said,
            stderr=said,
        )
    try:
        eventually(lambda: " ready." in log.read_text(), 60)
        yield
        process.terminate()
        assert process.wait(60) == 0, log.read_text()
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        process.kill()
        process.wait()


def both(first: Serving, second: Serving, name: str) -> None:
    """What one writes, the other reads, changes and deletes."""
    path = f"/instances/{name}"
    first.put(path, INSTANCE)
    second.ready(path)
    second.put(f"{path}/databases/shop", {})
    first.ready(f"{path}/databases/shop")
    first.put(f"{path}/users/app", {"password": "correct horse battery", "grants": []})
    second.ready(f"{path}/users/app")
    changed = second.put(path, INSTANCE | {"volume": {"size": 2}})
    assert first.ready(path)["generation"] == changed["generation"]
    assert first.call("DELETE", path).status_code == 202
    eventually(lambda: second.call("GET", path).status_code == 404, 60)
