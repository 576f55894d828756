"""Which process holds a lease, and whether it has ended: said for certain, or not at all."""

import functools
import os
from pathlib import Path

_PROC = Path("/proc")
_ENDED = "ZX"
"""States in proc(5) of a process that runs no more: a zombie, and one that is being removed."""


def me() -> str:
    """The name of this process."""
    return _my_name(os.getpid())  # which a fork changes


@functools.cache
def _my_name(pid: int) -> str:
    return name(pid)


def name(pid: int) -> str:
    """The name of a process here: unlike a pid it is never another's, on whatever machine."""
    return f"{machine()}/{pid}/{_started(pid)}"


@functools.cache
def machine() -> str:
    """The name of this machine since its boot, as far as pids mean the same: containers have their own."""
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{(_PROC / 'self/ns/pid').stat().st_ino}"


def has_ended(name: str) -> bool:
    """Whether a process has ended; False for one of another machine, of which nothing is known here."""
    where, pid, started = name.rsplit("/", 2)
    return where == machine() and _started(int(pid)) != started


def _started(pid: int) -> str:
    """Clock ticks from boot to the start of the process; empty if there is none any more."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    fields = stat.rpartition(")")[2].split()  # a command may contain spaces and parentheses
    return "" if fields[0] in _ENDED else fields[19]
