"""The engines' programs: where they are, running one to its end, starting and finding a server."""

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import psutil

from guest_agent import process
from guest_agent.engines.base import Account, EngineError

_LOG_LIMIT = 32 << 20
_LOG_KEPT = 1 << 20
_POLL = 0.02


@contextlib.contextmanager
def engine_errors() -> Iterator[None]:
    """What the file system says, a full disk say, as EngineError."""
    try:
        yield
    except OSError as error:
        raise EngineError(str(error)) from error


def version(server: Path, pattern: str, *asked: str) -> str:
    """The version that a program tells of itself; asked once for each state of its file."""
    return _version(server, server.stat().st_mtime_ns, pattern, asked or ("--version",))


@functools.lru_cache(maxsize=16)
def _version(server: Path, _changed: int, pattern: str, asked: tuple[str, ...]) -> str:
    said = run([server, *asked], None).stdout
    found = re.search(pattern, said)
    if not found:
        raise EngineError(f"{server} does not tell its version: {said.strip()}")
    return found[1]


def check_version(wanted: str, found: str) -> None:
    """Raise EngineError unless `10.11.6` was found where `10.11` is wanted."""
    if not f"{found}.".startswith(f"{wanted}."):
        raise EngineError(f"version {wanted} is wanted, {found} is installed")


def end(found: psutil.Process, patience: float) -> None:
    """Ask an engine to end until it does: while it is busy it may pass over a request."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.send_signal(signal.SIGTERM)
        for _ in range(25):
            if died(found):
                return
            time.sleep(_POLL)
    process.stop(found, signal.SIGTERM, 1)


def find(name: str, folders: Iterable[Path]) -> Path | None:
    """The program `name` in the first of `folders` that has it, else on PATH."""
    for folder in folders:
        if os.access(folder / name, os.X_OK):
            return folder / name
    found = shutil.which(name)
    return Path(found) if found else None


def refuse_root(account: Account | None) -> None:
    """Raise EngineError where an engine would run as root."""
    if (account.uid if account else os.geteuid()) == 0:
        raise EngineError("an engine never runs as root: name an unprivileged account for it")


def run(
    command: Sequence[str | Path],
    account: Account | None,
    *,
    text: str = "",
    cwd: Path | None = None,
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a program as `account` with `text` on its input; both its outputs are caught as one."""
    try:
        return subprocess.run(
            [str(part) for part in command],
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=cwd or "/",
            timeout=timeout,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineError(f"{Path(command[0]).name} could not be run: {error}") from error


def running(noted: Path, own: Path, folder: Path) -> psutil.Process | None:
    """The engine that works in `folder`: as noted when we started it, else by its own pid file."""
    if found := process.find(noted):
        return found
    try:
        found = psutil.Process(int(own.read_text()))
        ours = found.cwd() == str(folder.resolve())
        return found if ours and found.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, psutil.Error):
        return None


def start(
    command: Sequence[str | Path], *, pid_file: Path, log: Path, account: Account | None, cwd: Path
) -> psutil.Process:
    """Spawn an engine with a fresh log; the log of the start before stays beside it."""
    refuse_root(account)
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))
    try:
        return process.spawn(command, pid_file=pid_file, log=log, account=account, cwd=cwd)
    except (OSError, subprocess.SubprocessError, psutil.Error) as error:
        raise EngineError(f"{Path(command[0]).name} could not be started: {error}") from error


def words(log: Path) -> list[str]:
    """The lines at the end of a log, which begins with the start of its engine."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_KEPT))
            return file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return []


def trim(log: Path) -> None:
    """Keep the log of a running engine from filling the volume: past 32 MiB it starts anew."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_LIMIT:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)


def died(started: psutil.Process) -> bool:
    """Whether a process is gone, also one that only waits for its parent to notice."""
    process.reap(started.pid)
    try:
        return not started.is_running() or started.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
