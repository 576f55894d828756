"""Child processes that outlive their parent, and finding them again."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from guest_agent.engines.base import Account

_LAST_WORDS = 2000


def spawn(
    command: Sequence[str | Path],
    *,
    pid_file: Path,
    log: Path,
    account: Account | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> psutil.Process:
    """Start a process in a session of its own and note who it is in `pid_file`.

    It goes on when this process dies. Its output is appended to `log`.
    """
    with log.open("ab") as output:
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=cwd,
            env=dict(env) if env is not None else None,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    process = psutil.Process(child.pid)
    note(process, pid_file)
    child.returncode = 0  # it is watched by its pid; a Popen that is let go would complain
    return process


def note(process: psutil.Process, pid_file: Path) -> None:
    """Write into `pid_file` who the process is."""
    noted = pid_file.with_suffix(".new")
    noted.write_text(json.dumps({"pid": process.pid, "created": process.create_time()}))
    noted.replace(pid_file)


def find(pid_file: Path) -> psutil.Process | None:
    """The running process noted in `pid_file`, or None. A pid that now is another's does not count."""
    try:
        noted = json.loads(pid_file.read_text())
        process = psutil.Process(noted["pid"])
        if process.create_time() != noted["created"] or process.status() == psutil.STATUS_ZOMBIE:
            reap(noted["pid"])
            return None
    except (OSError, ValueError, KeyError, psutil.NoSuchProcess):
        return None
    return process


def reap(pid: int) -> None:
    """Take the exit status of a dead child, so that it does not stay a zombie."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def stop(process: psutil.Process, ask: signal.Signals, patience: float) -> None:
    """Ask the process to end; kill it when it has not done so within `patience` seconds."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(ask)
        if not _ends(process, patience):
            process.kill()
            _ends(process, 10)


def _ends(process: psutil.Process, patience: float) -> bool:
    """Wait for the end. A zombie has ended, even if its parent (some init) never takes it away."""
    deadline = time.monotonic() + patience
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    reap(process.pid)
    return True


def last_words(log: Path) -> str:
    """The end of a log: what a process said before it died."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LAST_WORDS))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-12:])
