"""The test bed's processes. Each has a mark in its environment, by which it is found again and ended."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from config import LOGS, RUN, STATE

MARK = "TESTBED_PROCESS"
ENVIRONMENT = {
    "PATH": f"{STATE}/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": str(STATE),
    "LANG": "C.UTF-8",
    "CEPH_CONF": f"{STATE}/etc/ceph/ceph.conf",
    "SPT_NOENV": "1",  # setproctitle, which Neutron calls, would overwrite the environment and so the mark
}
RUNNING = "running"  # the name of what run() runs
STOP_SECONDS = 20

Check = Callable[[int], bool]


class Failed(Exception):
    """Something did not come up or did not work; says what, and where to look."""


def start(name: str, *command: str | Path, **environment: str) -> None:
    """Start `command` in a session of its own, its output in logs/`name`.log, unless it runs already."""
    if alive(name):
        return
    end(started(only={name}))  # children that a killed parent left, holding its port
    with (LOGS / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            env=ENVIRONMENT | environment | {MARK: f"{STATE}:{name}"},
            cwd=STATE,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    pid_file(name).write_text(str(process.pid))


def alive(name: str) -> bool:
    try:
        pid = int(pid_file(name).read_text())
    except (FileNotFoundError, ValueError):
        return False
    for _ in range(5):
        if name_of(pid) == name:
            return True
        time.sleep(0.01)  # its environment cannot be read in the moment in which it executes itself anew
    return False


def run(log: str, *command: str | Path, **environment: str) -> str:
    """Run `command` to its end and return what it printed; logs/`log`.log gets it too."""
    done = subprocess.run(
        command,
        env=ENVIRONMENT | environment | {MARK: f"{STATE}:{RUNNING}"},
        cwd=STATE,
        capture_output=True,
        text=True,
        check=False,
    )
    with (LOGS / f"{log}.log").open("a") as file:
        file.write(done.stdout + done.stderr)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-1500:]
        raise Failed(f"{' '.join(map(str, command))} ended with {done.returncode}: {said}")
    return done.stdout


def wait_for(what: str, ready: Callable[[], bool], name: str, seconds: float = 300) -> None:
    """Wait until `ready`, as long as the process `name` lives."""
    deadline = time.monotonic() + seconds
    while not ready():
        log = LOGS / f"{name}.log"
        if not alive(name):
            raise Failed(f"{name} ended while it was to bring {what}; {log} ends with:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise Failed(f"{what} did not come in {seconds:.0f} s; {log} ends with:\n{tail(log)}")
        time.sleep(0.2)


def tail(log: Path) -> str:
    return log.read_text(errors="replace")[-1500:]


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def started(*, only: Collection[str] = (), but: Collection[str] = ()) -> Check:
    """A check for this test bed's processes, children too, by the names they were started under."""

    def check(pid: int) -> bool:
        name = name_of(pid)
        return bool(name) and name not in but and (not only or name in only)

    return check


def name_of(pid: int) -> str:
    """The name under which this process or its parent was started here; empty for any other process."""
    found = re.search(
        rb"(?:^|\0)" + re.escape(f"{MARK}={STATE}:".encode()) + rb"([^\0]*)", read(pid, "environ")
    )
    return found[1].decode() if found else ""


def guest(pid: int) -> bool:
    """Whether it is QEMU with an instance of this test bed; libvirt gives it an environment of its own."""
    command = read(pid, "cmdline")
    return b"qemu-system" in command.split(b"\0")[0] and f"{STATE}/nova/instances/".encode() in command


def end(check: Check) -> None:
    """End all processes that `check` holds for: asked first, killed after 20 s."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        send(check, number)
        deadline = time.monotonic() + STOP_SECONDS
        while left := list(filter(check, pids())):
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
    if left:
        raise Failed(f"these processes do not end: {left}")


def send(check: Check, number: signal.Signals) -> None:
    for pid in filter(check, pids()):
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if check(pid):  # again: the descriptor stays with this process, the number does not
                signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)


def pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def read(pid: int, file: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{file}").read_bytes()
    except OSError:  # it has ended, or is not for us to read
        return b""


def pid_file(name: str) -> Path:
    return RUN / f"{name}.pid"
