"""The postmaster: starting, finding and stopping it."""

import contextlib
import os
import re
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from guest_agent import process
from guest_agent.engines.base import EngineError, Home
from guest_agent.engines.postgresql import cluster
from guest_agent.files import own_folder

if TYPE_CHECKING:
    from guest_agent.engines.postgresql.admin import Admin

_START_PATIENCE = 60.0
"""Seconds until the postmaster has its sockets; recovery after that takes what it takes."""
_STOP_PATIENCE = 300.0
"""Seconds for the shutdown checkpoint."""
_POLL = 0.01
_LOG_LIMIT = 32 * 1024 * 1024
_LOG_KEPT = 4 * 1024 * 1024

_TELLING = re.compile(
    r"\b(FATAL|PANIC|ERROR|WARNING|HINT|DETAIL):\s+(.*)"
    r"|\bLOG:\s+(.*(?:could not|invalid|unrecognized|cannot|not permitted|corrupt|failed).*)"
)


class Server:
    """The postmaster of one home, whoever started it."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._data = cluster.data_directory(home)
        self._pid_file = home.run / "postgres.pid"
        self.log = home.data / "log" / "postgresql.log"

    def process(self) -> psutil.Process | None:
        """The running postmaster, by our note of it or by PostgreSQL's own."""
        return process.find(self._pid_file) or self._by_its_own_note()

    def _by_its_own_note(self) -> psutil.Process | None:
        try:
            first = (self._data / "postmaster.pid").read_text().split(maxsplit=1)[0]
            pid = abs(int(first))  # negative: somebody's single-user session
            found = psutil.Process(pid)
            if found.status() == psutil.STATUS_ZOMBIE:
                process.reap(pid)
                return None
            return found if self._is_ours(found) else None
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            return None

    def _is_ours(self, found: psutil.Process) -> bool:
        """Every process of an engine stands in its data directory."""
        try:
            return found.name() == "postgres" and Path(found.cwd()).samefile(self._data)
        except (OSError, psutil.Error):
            return False

    def start(self, binaries: Path, admin: "Admin") -> None:
        """Start it unless it runs, and wait until it answers."""
        offset = self._log_size()
        if (running := self.process()) is None:
            self._end_orphans()
            own_folder(self._home.run, self._home.account)
            own_folder(self.log.parent, self._home.account)
            self.trim_log()
            offset = self._log_size()
            running = process.spawn(
                [binaries / "postgres", "-D", self._data],
                pid_file=self._pid_file,
                log=self.log,
                account=self._home.account,
                cwd=self._data,
                env=cluster.environment(),
            )
        self._wait(running, admin, offset)

    def _wait(self, postmaster: psutil.Process, admin: "Admin", offset: int) -> None:
        deadline = time.monotonic() + _START_PATIENCE
        while True:
            if self.process() != postmaster:
                raise EngineError(f"PostgreSQL did not start: {self._last_words(offset)}")
            status = self._status(postmaster)
            if status == "ready" and admin.answered():
                return
            if status is None and time.monotonic() > deadline:
                raise EngineError(
                    f"PostgreSQL did not answer in {_START_PATIENCE:.0f} s: {self._last_words(offset)}"
                )
            time.sleep(_POLL)

    def _status(self, postmaster: psutil.Process) -> str | None:
        """What postmaster.pid says of itself: starting, ready, stopping; None before it does."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            return lines[7].strip() if int(lines[0]) == postmaster.pid else None
        except (OSError, IndexError, ValueError):
            return None

    def _last_words(self, offset: int) -> str:
        """The telling lines that the engine wrote since `offset`."""
        with contextlib.suppress(OSError), self.log.open("rb") as log:
            log.seek(offset)
            lines = log.read(_LOG_KEPT).decode(errors="replace").splitlines()
            found = [match[2] or match[3] for line in lines if (match := _TELLING.search(line))]
            if found:
                return "\n".join(found[-8:])
        return process.last_words(self.log)

    def _end_orphans(self) -> None:
        """End backends that outlived a killed postmaster: they hold on to its shared memory."""
        if not (self._data / "postmaster.pid").exists():
            return
        orphans = [each for each in psutil.process_iter() if self._is_ours(each)]
        for orphan in orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                orphan.kill()
        psutil.wait_procs(orphans, timeout=10)

    def stop(self) -> None:
        """Fast shutdown: sessions are ended, a checkpoint is written; immediate when that hangs."""
        if not (running := self.process()):
            return
        deadline = time.monotonic() + _STOP_PATIENCE
        with contextlib.suppress(psutil.NoSuchProcess):
            running.send_signal(signal.SIGINT)
        while self.process():
            if time.monotonic() > deadline:
                process.stop(running, signal.SIGQUIT, 30)
                return
            time.sleep(_POLL)

    def _log_size(self) -> int:
        try:
            return self.log.stat().st_size
        except FileNotFoundError:
            return 0

    def trim_log(self) -> None:
        """Keep the log from filling the volume: past 32 MiB, its last 4 MiB are put aside."""
        size = self._log_size()
        if size > _LOG_LIMIT:
            with self.log.open("rb") as log, self.log.with_suffix(".1.log").open("wb") as kept:
                log.seek(size - _LOG_KEPT)
                shutil.copyfileobj(log, kept)
            os.truncate(self.log, 0)
