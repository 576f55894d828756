"""Terraform killed at any moment, the network cut, the control plane restarted: nothing lost or doubled.

What is applied is examples/quickstart, on the noop cloud. SEED chooses the moments.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from proxying import PLACES, Proxy
from serving import ROOT, STARTING, Serving, eventually, served

EXAMPLE = ROOT / "examples" / "quickstart"
RESOURCES = {
    "coffret_configuration_group.orders": "/configuration-groups/orders-settings",
    "coffret_instance.orders": "/instances/orders-db",
    "coffret_instance.cache": "/instances/cache",
    "coffret_database.orders": "/instances/orders-db/databases/orders",
    "coffret_database.billing": "/instances/orders-db/databases/billing",
    "coffret_user.app": "/instances/orders-db/users/app",
    "coffret_user.cache": "/instances/cache/users/app",
}
WRITES = len(RESOURCES)
LATER = [
    ('work_mem                   = "8192"', 'work_mem = "4096"'),
    ("volume              = { size = 1 }", "volume = { size = 2 }"),
    ('privileges = ["CONNECT", "SELECT"]', 'privileges = ["CONNECT"]'),
    ('keys = ["app:*"]', 'keys = ["other:*"]'),
]
"""What the example is changed to: four updates."""
SEED = int(os.environ.get("SEED", "0")) or random.randrange(1, 1_000_000)
OUTAGE = 1.0
"""Seconds that a cut network stays so; the provider's patience is three times that at least."""

Moment = float | tuple[int, str]
"""When something happens to a run: after so many seconds, or at a write, at one of PLACES."""
Moments = Callable[..., Iterator[Moment]]


class Workspace:
    """The example in a folder of its own, with the control plane behind a proxy."""

    def __init__(
        self, folder: Path, terraform: str, environment: dict[str, str], serving: Serving, *, adopt: bool
    ) -> None:
        self.folder, self.serving = folder, serving
        self.proxy = Proxy(int(serving.url.rpartition(":")[2]))
        self._terraform = terraform
        self._environment = environment | {
            "COFFRET_ENDPOINT": self.proxy.url,
            "COFFRET_TOKEN": str(serving.session.headers["Authorization"]).removeprefix("Bearer "),
            "TF_VAR_app_password": "a-password-of-the-test",
        }
        for file in EXAMPLE.glob("*.tf"):
            shutil.copy(file, folder)
        if adopt:
            self.rewrite(
                "versions.tf", ('provider "coffret" {}', 'provider "coffret" {\n  adopt = true\n}')
            )

    def rewrite(self, file: str, *changes: tuple[str, str]) -> None:
        text = (self.folder / file).read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (self.folder / file).write_text(text)

    def start(self, *arguments: str) -> psutil.Popen:
        with (self.folder / "said").open("wb") as said:
            return psutil.Popen(
                [self._terraform, *arguments], cwd=self.folder, env=self._environment, stdout=said,
                stderr=said, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def run(self, *arguments: str, code: int = 0) -> str:
        """What Terraform said; it must end with `code`."""
        ended = self.start(*arguments).wait(120)
        assert ended == code, self.said()
        return self.said()

    def interrupted(self, moment: Moment, what: Callable[[psutil.Popen], None], *arguments: str) -> int:
        """Start Terraform and do `what` to it at that moment. Returns its exit code."""
        reached = threading.Event()
        process = None

        def watch(number: int, place: str) -> None:
            if (number, place) == moment:
                started.wait()
                assert process is not None
                what(process)
                reached.set()

        started = threading.Event()
        self.proxy.watch(watch)
        process = self.start(*arguments)
        started.set()
        if isinstance(moment, float):
            with contextlib.suppress(psutil.TimeoutExpired):
                return int(process.wait(moment))
            what(process)
            reached.set()
        code = int(process.wait(120))
        assert reached.wait(STARTING), f"there was no {moment}: {self.said()}"
        return code

    def state(self) -> dict[str, str]:
        """The id of each resource in the state, by address."""
        found = json.loads((self.folder / "terraform.tfstate").read_text())["resources"]
        return {
            f"{item['type']}.{item['name']}": one["attributes"]["id"]
            for item in found
            for one in item["instances"]
        }

    def there(self) -> dict[str, str]:
        """The id of each resource at the control plane, by path."""
        found = {}
        paths = ["/configuration-groups", "/instances"]
        for path in paths:
            for item in self.serving.call("GET", path).json()["items"]:
                place = f"{path}/{quote(item['name'])}"
                found[place] = item["id"]
                if path == "/instances":
                    paths += [f"{place}/databases", f"{place}/users"]
        return found

    def shown(self, path: str) -> Any:
        return self.serving.call("GET", path).json()

    def converged(self) -> None:
        """Each resource is there once and is in the state, and there is nothing left to do."""
        self.run("plan", "-detailed-exitcode")
        state = self.state()
        assert {RESOURCES[address]: found for address, found in state.items()} == self.there()
        assert state.keys() == RESOURCES.keys()

    def clear(self) -> None:
        self.proxy.restore()
        for path in ("/instances", "/configuration-groups"):
            for item in self.serving.call("GET", path).json()["items"]:
                self.serving.call("DELETE", f"{path}/{item['name']}")
            eventually(lambda path=path: not self.serving.call("GET", path).json()["items"], 30)
        self.proxy.cut()


Make = Callable[..., contextlib.AbstractContextManager[Workspace]]


@pytest.fixture(scope="module")
def plane() -> Iterator[Serving]:
    with served(COFFRET_CLOUD="noop") as one:
        one.start()
        yield one


@pytest.fixture
def make(tmp_path: Path, terraform: str, environment: dict[str, str], plane: Serving) -> Make:
    @contextlib.contextmanager
    def made(*, adopt: bool = True) -> Iterator[Workspace]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        workspace = Workspace(folder, terraform, environment, plane, adopt=adopt)
        try:
            yield workspace
        finally:
            workspace.clear()

    return made


@pytest.fixture(scope="module")
def seconds(
    tmp_path_factory: pytest.TempPathFactory, terraform: str, environment: dict[str, str], plane: Serving
) -> float:
    """How long an apply takes that nothing interrupts."""
    folder = tmp_path_factory.mktemp("undisturbed")
    workspace = Workspace(folder, terraform, environment, plane, adopt=False)
    began = time.monotonic()
    workspace.run("apply", "-auto-approve")
    took = time.monotonic() - began
    workspace.converged()
    workspace.clear()
    return took


def kill(process: psutil.Popen) -> None:
    """SIGKILL to Terraform, and to its providers."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        os.killpg(process.pid, signal.SIGKILL)
        for one in family[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


@pytest.fixture
def moments(request: pytest.FixtureRequest) -> Moments:
    """Some moments by chance: at one of so many writes and, by turns, in so many seconds, if any."""
    chance = random.Random(f"{SEED} {request.node.name}")

    def chosen(number: int, writes: int, seconds: float = 0.0) -> Iterator[Moment]:
        for turn in range(number):
            if seconds and turn % 2:
                moment: Moment = chance.uniform(0, seconds)
            else:
                moment = chance.randrange(writes), chance.choice(PLACES)
            sys.stdout.write(f"SEED={SEED}: {moment}\n")  # which pytest shows where a test fails
            yield moment

    return chosen


def several(few: int, many: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "number",
        [pytest.param(few, id="few"), pytest.param(many, id="many", marks=pytest.mark.slow)],
    )


@several(3, 40)
def test_a_killed_apply_is_completed_by_the_next_one(
    make: Make, moments: Moments, seconds: float, number: int
) -> None:
    for moment in moments(number, WRITES, seconds):
        with make() as workspace:
            workspace.interrupted(moment, kill, "apply", "-auto-approve")
            workspace.run("apply", "-auto-approve")
            workspace.converged()


@several(1, 20)
def test_what_a_killed_apply_has_left_is_imported_as_the_message_says(
    make: Make, moments: Moments, seconds: float, number: int
) -> None:
    for moment in moments(number, WRITES, seconds):
        with make(adopt=False) as workspace:
            workspace.interrupted(moment, kill, "apply", "-auto-approve")
            imported = import_what_is_in_the_way(workspace)
            if isinstance(moment, tuple) and moment[1] == "unanswered":
                assert imported, "the write whose answer was lost has left something"
            workspace.converged()


def import_what_is_in_the_way(workspace: Workspace) -> int:
    """Apply until it succeeds, with the import blocks that errors ask for; returns how many these were."""
    blocks: list[str] = []
    while workspace.start("apply", "-auto-approve", "-json").wait(120):
        before = len(blocks)
        for detail in errors(workspace.said()):
            block = re.search(r'import {\n  to = (\w+)\.NAME\n  id = "(.*)"\n}', detail)
            assert block is not None, detail
            (address,) = (
                address
                for address, path in RESOURCES.items()
                if address.startswith(f"{block[1]}.") and "/".join(path.split("/")[2::2]) == block[2]
            )
            assert f"with the id {workspace.there()[RESOURCES[address]]}." in detail
            blocks.append(block[0].replace(f"{block[1]}.NAME", address))
        assert len(blocks) > before, workspace.said()
        (workspace.folder / "imports.tf").write_text("\n".join(blocks))
    return len(blocks)


def errors(said: str) -> Iterator[str]:
    for line in said.splitlines():
        event = json.loads(line)
        if event["@level"] == "error" and "diagnostic" in event:
            yield event["diagnostic"]["detail"]


@several(1, 15)
def test_a_killed_destroy_is_completed_by_the_next_one(
    make: Make, moments: Moments, seconds: float, number: int
) -> None:
    for turn, moment in enumerate(moments(number, WRITES, seconds)):
        with make() as workspace:
            workspace.run("apply", "-auto-approve")
            workspace.interrupted(moment, kill, "destroy", "-auto-approve")
            if turn % 2:  # whoever changes their mind
                workspace.run("apply", "-auto-approve")
                workspace.converged()
            workspace.run("destroy", "-auto-approve")
            assert workspace.state() == workspace.there() == {}


@several(1, 15)
def test_a_killed_update_is_completed_by_the_next_one(
    make: Make, moments: Moments, seconds: float, number: int
) -> None:
    for moment in moments(number, len(LATER), seconds):
        with make() as workspace:
            workspace.run("apply", "-auto-approve")
            before = workspace.there()
            workspace.rewrite("main.tf", *LATER)
            workspace.interrupted(moment, kill, "apply", "-auto-approve")
            workspace.run("apply", "-auto-approve")
            workspace.converged()
            assert workspace.there() == before, "nothing was made anew"
            assert workspace.shown("/instances/orders-db")["volume"]["size"] == 2
            assert workspace.shown("/instances/cache/users/app")["grants"][0]["keys"] == ["other:*"]
            group = workspace.shown("/configuration-groups/orders-settings")
            assert group["parameters"]["work_mem"] == "4096"


@several(2, 20)
def test_an_apply_outlasts_a_network_that_is_cut(make: Make, moments: Moments, number: int) -> None:
    for moment in moments(number, WRITES):
        with make(adopt=False) as workspace:

            def cut(_: psutil.Popen, workspace: Workspace = workspace) -> None:
                workspace.proxy.cut()
                threading.Timer(OUTAGE, workspace.proxy.restore).start()

            assert workspace.interrupted(moment, cut, "apply", "-auto-approve") == 0, workspace.said()
            workspace.converged()


@several(1, 15)
def test_a_control_plane_that_is_killed_and_started_again_loses_nothing(
    make: Make, moments: Moments, number: int
) -> None:
    for moment in moments(number, WRITES):
        with make() as workspace:

            def restart(_: psutil.Popen, plane: Serving = workspace.serving) -> None:
                plane.kill()
                plane.start()

            code = workspace.interrupted(moment, restart, "apply", "-auto-approve")
            if code != 0:  # it took longer than the provider's patience lasts
                assert "does not answer" in " ".join(workspace.said().split()), workspace.said()
                workspace.run("apply", "-auto-approve")
            workspace.converged()
