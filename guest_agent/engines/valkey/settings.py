"""Valkey's configuration: what Coffret owns, how it is written, what the engine thinks of it."""

import re
from collections.abc import Mapping
from pathlib import Path

from guest_agent.engines import programs
from guest_agent.engines.base import Account, EngineError

_OWNED = re.compile(
    r"aclfile|always-show-logo|appenddirname|appendfilename|appendonly|bind|bind-source-addr|"
    r"cluster-.*|crash-.*|daemonize|dbfilename|dir|disable-thp|enable-.*|extended-redis-compat.*|"
    r"hash-seed|ignore-warnings|import-mode|io-threads-do-reads|jemalloc-.*|locale-collate|"
    r"logfile|masterauth|masteruser|oom-score-adj.*|pidfile|port|primaryauth|primaryuser|"
    r"proc-title-template|protected-mode|mptcp|rdma-.*|rdb-del-sync-files|replica-announce.*|"
    r"replicaof|repl-mptcp|requirepass|set-proc-title|shutdown-.*|slot-migration-.*|"
    r"socket-mark-id|supervised|syslog-.*|tls-.*|unixsocket.*|.*cpulist|acl-pubsub-default|"
    r"availability-zone"
)

# Older names that CONFIG GET still lists beside the newer ones.
_ALIASES = {
    "lua-time-limit": "busy-reply-threshold",
    "slowlog-log-slower-than": "commandlog-execution-slower-than",
    "slowlog-max-len": "commandlog-slow-execution-max-len",
}
_RENAMED = {"slave": "replica", "ziplist": "listpack", "master": "primary", "_": "-"}
_UNITS = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1 << 10,
    "m": 10**6,
    "mb": 1 << 20,
    "g": 10**9,
    "gb": 1 << 30,
}
_BOOLEANS = {"on": "yes", "true": "yes", "1": "yes", "off": "no", "false": "no", "0": "no"}
_CASED = {"notify-keyspace-events"}
"""Where `E` and `e` are two things."""
_END = "coffret-ends-here"


def owned(name: str) -> bool:
    """Whether Coffret sets this one, or nobody may while it runs under Coffret."""
    return bool(_OWNED.fullmatch(name))


def immutable(said: str) -> bool:
    """Whether CONFIG SET was refused because only a start reads this parameter."""
    return "immutable config" in said or "protected config" in said


def alias(name: str, names: Mapping[str, str]) -> str | None:
    """The newer name of an older one, where this engine has both."""
    newer = _ALIASES.get(name, name)
    for old, new in _RENAMED.items():
        newer = newer.replace(old, new)
    return newer if newer != name and newer in names else None


def line(name: str, value: str) -> str:
    """One line of a configuration file, whatever the value holds."""
    escaped = "".join(
        c if c.isprintable() and c not in '"\\' else "".join(f"\\x{b:02x}" for b in c.encode())
        for c in value
    )
    return f'{name} "{escaped}"\n'


def notation(value: str, default: str) -> str:
    """`on`, `true` and `1` as Valkey has them, where the default shows a boolean."""
    if default in ("yes", "no"):
        return _BOOLEANS.get(value.lower(), value)
    return value


def same(name: str, running: str, wanted: str) -> bool:
    """Whether two notations mean one value: `64mb` is `67108864`, `YES` is `yes`."""
    if name in _CASED:
        return running == wanted
    return _plain(running) == _plain(wanted)


def _plain(value: str) -> str | int:
    value = value.lower()
    if number := re.fullmatch(r"([+-]?\d+)([kmg]?b?)", value):
        return int(number[1]) * _UNITS[number[2]]
    return value


def refused(server: Path, account: Account | None, parameters: Mapping[str, str]) -> dict[str, str]:
    """The parameters this engine would not start with, each with its reason.

    The engine reads its configuration first, to the first line it dislikes: a last line that it
    surely dislikes keeps it from going on to serve.
    """
    left, reasons = dict(parameters), dict[str, str]()
    while left:
        text = "".join(line(name, value) for name, value in left.items()) + f"{_END} 1\n"
        said = programs.run([server, "-"], account, text=text, timeout=10).stdout
        found = re.search(r"at line (\d+)\n>>> .*\n(.*)", said)
        if not found or int(found[1]) > len(left) + 1:
            raise EngineError(f"{server.name} could not check its configuration: {said.strip()}")
        if int(found[1]) == len(left) + 1:
            break
        name = list(left)[int(found[1]) - 1]
        reasons[name] = found[2]
        del left[name]
    return reasons
