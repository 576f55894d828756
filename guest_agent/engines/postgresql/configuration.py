"""Configuration files: what they hold, and making a running engine follow them."""

import re
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from guest_agent.engines.base import EngineError, Home, unwritable
from guest_agent.engines.postgresql import cluster, files
from guest_agent.engines.postgresql.ownership import OWNED
from guest_agent.protocol import DesiredEngine, PendingParameter, SeenConfiguration

if TYPE_CHECKING:
    from guest_agent.engines.postgresql.admin import Connection

_NOTE = "# Written by Coffret's agent; changes made here by hand are undone.\n"
_MAIN = _NOTE + "include 'coffret.conf'\ninclude 'parameters.conf'\n"
_FILES = (
    "postgresql.conf",
    "postgresql.auto.conf",
    "pg_hba.conf",
    "pg_ident.conf",
    "coffret.conf",
    "parameters.conf",
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*")
_BLAMED = re.compile(r'parameter "([^"]+)"')
CHOSEN = {
    "timezone": "UTC",
    "log_timezone": "UTC",
    "default_text_search_config": "pg_catalog.english",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}
"""Where Coffret's default is not the engine's."""

FROM_FLAVOR = frozenset(
    {
        "shared_buffers",
        "effective_cache_size",
        "work_mem",
        "maintenance_work_mem",
        "max_worker_processes",
        "max_parallel_workers",
        "max_parallel_workers_per_gather",
        "max_parallel_maintenance_workers",
        "max_wal_size",
    }
)
"""What `flavor_settings` sets."""

_RELOAD_PATIENCE = 10.0
"""Seconds; the postmaster reloads within milliseconds unless the machine is stuck."""


def flavor_settings(engine: DesiredEngine) -> dict[str, str]:
    """Settings that follow from the flavor. Sources: the manual's chapter 19.4 and PGTune."""
    ram, vcpus = engine["ram"], engine["vcpus"]
    helpers = min(4, vcpus // 2)
    return {
        "shared_buffers": f"{max(16, ram // 4)}MB",
        "effective_cache_size": f"{max(16, ram * 3 // 4)}MB",
        "work_mem": f"{max(4, ram // 300)}MB",
        "maintenance_work_mem": f"{min(2048, max(16, ram // 16))}MB",
        "max_worker_processes": str(max(8, vcpus)),
        "max_parallel_workers": str(vcpus),
        "max_parallel_workers_per_gather": str(helpers),
        "max_parallel_maintenance_workers": str(helpers),
        "max_wal_size": f"{min(8192, max(128, engine['volume_size'] * 1024 // 8))}MB",
    }


def settings(home: Home, engine: DesiredEngine) -> dict[str, str]:
    """All that coffret.conf holds."""
    return {
        **flavor_settings(engine),
        **CHOSEN,
        "listen_addresses": ",".join(engine["listen"]),
        "port": str(engine["port"]),
        "unix_socket_directories": f'"{home.run}"',
        "unix_socket_permissions": "0700",
        "password_encryption": "scram-sha-256",
        "lc_messages": "C",
        "logging_collector": "off",
        "log_destination": "stderr",
    }


def render(values: Mapping[str, str]) -> str:
    """An include file. https://www.postgresql.org/docs/current/config-setting.html"""
    lines = [_NOTE]
    for name, value in sorted(values.items()):
        escaped = value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n")
        lines.append(f"{name} = '{escaped}'\n")
    return "".join(lines)


class Configuration:
    """The configuration files of one home."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._data = cluster.data_directory(home)
        self._judged: tuple[dict[str, str], dict[str, str]] | None = None

    def write(self, engine: DesiredEngine, parameters: Mapping[str, str], binaries: Path) -> dict[str, str]:
        """Write all files, leaving out refused parameters; returns the reasons by name."""
        account = self._home.account
        for name, text in {
            "postgresql.conf": _MAIN,
            "postgresql.auto.conf": _NOTE,  # ALTER SYSTEM by hand would win over everything
            "pg_hba.conf": cluster.HBA,
            "pg_ident.conf": cluster.ident(account),
            "coffret.conf": render(settings(self._home, engine)),
        }.items():
            files.write(self._data / name, text, account)
        refused = self._refused(parameters, binaries)
        taken = {name: value for name, value in parameters.items() if name not in refused}
        files.write(self._data / "parameters.conf", render(taken), account)
        return refused

    def _refused(self, parameters: Mapping[str, str], binaries: Path) -> dict[str, str]:
        """Ask the engine's own parser, apart from the files in use; the answer is kept."""
        if self._judged and self._judged[0] == parameters:
            return self._judged[1]
        refused = {name: reason for name in parameters if (reason := _not_for_users(name, parameters))}
        trial = self._data / "trial.conf"
        try:
            while True:
                taken = {name: value for name, value in parameters.items() if name not in refused}
                if not taken:
                    break
                files.write(trial, render(taken), self._home.account)
                found = self._read_by_engine(trial, binaries)
                known = {name: found[name.lower()] for name in taken if name.lower() in found}
                if found and not known:
                    raise EngineError("\n".join(found.values()))
                if not known:
                    break
                refused |= known
        finally:
            trial.unlink(missing_ok=True)
        self._judged = dict(parameters), refused
        return refused

    def _read_by_engine(self, file: Path, binaries: Path) -> dict[str, str]:
        """What `postgres -C` says of a file: lower-case name -> reason for refusing."""
        try:
            cluster.run_as_account(
                self._home,
                [
                    binaries / "postgres",
                    "-D",
                    self._data,
                    "-C",
                    "port",
                    "-c",
                    f"config_file={file}",
                ],
            )
        except EngineError as error:
            return _blame(str(error))
        return {}

    def apply(
        self,
        connection: "Connection",
        postmaster: psutil.Process,
        parameters: Mapping[str, str],
        engine: DesiredEngine,
        refused: Mapping[str, str],
    ) -> SeenConfiguration:
        """Make the running engine read the files, and compare."""
        changed = self._reload(connection, postmaster)
        errors = dict(refused)
        for name, reason in connection.execute(
            "SELECT name, error FROM pg_file_settings"
            " WHERE error IS NOT NULL AND name IS NOT NULL"
            " AND error <> 'setting could not be applied'"
        ).fetchall():
            errors.setdefault(name, reason)
        wanted = settings(self._home, engine) | {
            name.lower(): value for name, value in parameters.items() if name not in refused
        }
        users_spelling = {name.lower(): name for name in parameters}
        pending = [
            PendingParameter(
                name=users_spelling.get(name.lower()) or name,
                running=running,
                desired=wanted.get(name.lower()),
            )
            for name, running in connection.execute(
                # what has left the files counts as pending for PostgreSQL even if it has its default
                "SELECT name, current_setting(name) FROM pg_settings WHERE pending_restart"
                " AND NOT (lower(name) <> ALL(%s) AND setting = boot_val) ORDER BY name",
                [list(wanted)],
            ).fetchall()
        ]
        return SeenConfiguration(
            in_sync=not pending and not errors,
            pending_restart=pending,
            errors=errors,
            changed=changed,
        )

    def _reload(self, connection: "Connection", postmaster: psutil.Process) -> list[str]:
        """Have the newest files read; a killed agent may have written without asking for it.

        Returns the names of the parameters that run with another value now.
        """
        newest = max((self._data / name).stat().st_mtime for name in _FILES)
        if _loaded_since(connection, newest):
            return []
        before = _running(connection)
        postmaster.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + _RELOAD_PATIENCE
        while not _loaded_since(connection, newest):
            if time.monotonic() > deadline:
                words = connection.execute(
                    "SELECT string_agg(concat_ws(': ', name, error), '; ') FROM pg_file_settings"
                    " WHERE error IS NOT NULL"
                ).fetchone()
                raise EngineError(f"PostgreSQL did not reload its configuration: {words and words[0]}")
            time.sleep(0.005)
        return sorted(name for name, value in _running(connection) - before)


def _loaded_since(connection: "Connection", moment: float) -> bool:
    row = connection.execute(
        "SELECT extract(epoch FROM pg_conf_load_time())::float8 >= %s", [moment]
    ).fetchone()
    return bool(row and row[0])


def _running(connection: "Connection") -> set[tuple[str, str]]:
    """Configured values in use; `setting` would be what this session has set for itself."""
    return set(connection.execute("SELECT name, reset_val FROM pg_settings").fetchall())


def _not_for_users(name: str, parameters: Mapping[str, str]) -> str | None:
    if not _NAME.fullmatch(name):
        return f'"{name}" is no parameter name'
    if name.lower() in OWNED:
        return f"{name} is set by Coffret itself"
    if reason := unwritable(parameters[name]):
        return f"{name}: {reason}"
    return None


def _blame(words: str) -> dict[str, str]:
    """The lines of an error output by the parameter they name; unnamed ones go under ''."""
    found: dict[str, str] = {}
    last = ""
    for line in words.splitlines():
        text = re.sub(r"^.*?\b(LOG|FATAL|ERROR|WARNING|DETAIL|HINT):\s+", "", line).strip()
        if name := _BLAMED.search(text):
            last = name[1].lower()  # the engine writes TimeZone for timezone
            found[last] = re.sub(r' in file ".*$', "", text)
        elif last and re.search(r"\b(DETAIL|HINT):", line):
            found[last] += f". {text}"
    return found or {"": words}
