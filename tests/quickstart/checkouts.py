"""A checkout of this work tree, and `make` in it as one account or another."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


class Checkout:
    """Everyone may enter its folder, unlike pytest's own, and its path has a space."""

    def __init__(self, account: str | None, environment: dict[str, str]) -> None:
        self.account = account
        self.environment = environment
        self.first_run = ""
        self.parent = Path(tempfile.mkdtemp(prefix="coffret quickstart "))
        self.parent.chmod(0o755)
        self.folder = self.parent / "coffret"
        self.home = self.folder / ".quickstart"
        subprocess.run(["git", "clone", "--quiet", ROOT, self.folder], check=True)
        for name in _work_tree():
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target, follow_symlinks=False)
        if account is not None:
            subprocess.run(["chown", "-R", account, self.parent], check=True)

    def lend_packages(self) -> None:
        """Make its .venv see the packages of this one, so that only Coffret itself is installed."""
        venv = self.folder / ".venv"
        subprocess.run([sys._base_executable, "-m", "venv", venv], check=True)  # type: ignore[attr-defined]
        site = venv / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
        (site / "lent.pth").write_text(f"{sysconfig.get_path('purelib')}\n")

    def run(self, *command: str, fails: bool = False, **settings: str) -> str:
        """What it said, standard error included."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
            user=self.account,
            group=None if self.account is None else "nogroup",
            extra_groups=None if self.account is None else [],
        )
        assert (done.returncode != 0) == fails, done.stdout
        return done.stdout

    def make(self, target: str, fails: bool = False, **settings: str) -> str:
        return self.run("make", target, fails=fails, **settings)

    def with_env(self, command: str) -> str:
        """Run it in a shell that has read .quickstart/env, as a user goes on by hand."""
        return self.run("bash", "-euc", f". .quickstart/env; {command}")

    def processes(self, *words: str) -> dict[int, str]:
        """What runs out of this checkout or its data, with all the words in its command line."""
        places = {str(self.folder), str((self.home / "data").resolve())}
        found = {}
        for process in psutil.process_iter(["cmdline", "cwd", "status"]):
            line, cwd = " ".join(process.info["cmdline"] or []), process.info["cwd"] or ""
            ours = any(place in line or cwd.startswith(place) for place in places)
            runs = process.info["status"] != psutil.STATUS_ZOMBIE
            if ours and runs and all(word in line for word in words):
                found[process.pid] = line
        return found

    def remove(self) -> None:
        self.make("clean")
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.parent)


def _work_tree() -> list[str]:
    """Files as they are now, committed or not."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).exists()]
