"""Every setting, typed, from COFFRET_* variables over a file of NAME=value lines (COFFRET_CONFIG)."""

import enum
import importlib.util
import math
import os
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from sqlalchemy import URL

from control_plane import stores
from control_plane.errors import CoffretError, nearest

PREFIX = "COFFRET_"


class LogLevel(enum.StrEnum):
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class LogFormat(enum.StrEnum):
    PLAIN = "plain"
    JSON = "json"


class Switch(enum.StrEnum):
    ON = "on"
    OFF = "off"


class Auth(enum.StrEnum):
    TOKENS = "tokens"
    KEYSTONE = "keystone"


class Work(enum.StrEnum):
    INLINE = "inline"
    CELERY = "celery"


class SettingsError(CoffretError):
    """A setting cannot be used; says which and what would be right."""

    code = "settings"
    title = "A setting is wrong"


def _setting(default: Any, doc: str, *, least: float | None = None, secret: bool = False) -> Any:
    return field(default=default, repr=not secret, metadata={"doc": doc, "least": least})


@dataclass(frozen=True)
class Settings:
    """The settings; docs/operators/settings.md lists them and a test holds the two together."""

    data_dir: Path = _setting(
        Path(".coffret"), "Folder for the state database and, on the local cloud, the instances."
    )
    database_url: str = _setting(
        "",
        "URL of the state database, such as `postgresql://coffret:…@host/coffret` or `mariadb://…`"
        " ([more](state-database.md)). Empty: SQLite in `data_dir`.",
        secret=True,
    )
    database_connections: int | None = _setting(
        None,
        "Most connections of a process to the state database. Unset: one for each of its threads.",
        least=1,
    )
    secrets_keys: Path | None = _setting(
        None,
        "File with the keys that secrets in the state database are encrypted with, one a line, newest"
        " first. Unset: `secrets.keys` in `data_dir`, made at the first start. With a `database_url`,"
        " which other hosts may share, it must be set.",
    )
    bind: str = _setting(
        "127.0.0.1:8779",
        "Address and port to listen on. Port 8779 is Trove's (the type `database`).",
    )
    workers: int = _setting(1, "gunicorn worker processes.", least=1)
    threads: int = _setting(40, "Threads per worker process.", least=1)
    parked_limit: int | None = _setting(
        None,
        "How many requests of each kind (agents' syncs, clients' `wait_for`) may be parked at once"
        " in one worker process; past it they are answered at once. Each takes a thread, and one must be"
        " left: at most 19 of 40 `threads`, 39 with the role `api`, which parks clients alone. Unset: a"
        " third of `threads`.",
        least=0,
    )
    agents_parked_limit: int = _setting(
        5000,
        "How many agents' syncs may be parked at once in one worker process of the role `agents`; past it"
        " agents are asked to come again later.",
        least=0,
    )
    work: Work = _setting(
        Work.INLINE,
        "Where instances are reconciled: `inline` (in `coffret serve`), or `celery` (in any number of"
        " `coffret worker`, on any number of hosts, that RabbitMQ tells of them).",
    )
    broker_url: str = _setting(
        "",
        "With `celery`: URL of RabbitMQ, such as `amqp://coffret:password@mq1/coffret`, or `amqps:` for"
        " TLS; of a cluster's nodes with `;` between them.",
        secret=True,
    )
    broker_ca: Path | None = _setting(
        None,
        "PEM file with the CA by which RabbitMQ is known over TLS. Unset: those of the system.",
    )
    metrics_bind: str = _setting(
        "",
        "Address and port at which `coffret worker` shows `/metrics`, `/healthz` and `/readyz`. Empty:"
        " nowhere. `coffret serve` has them at `bind`.",
    )
    runner_threads: int = _setting(4, "How many instances are reconciled at once in a process.", least=1)
    sweep_seconds: float = _setting(
        5.0,
        "Seconds between two sweeps for instances that are due, however many processes there are.",
        least=0.1,
    )
    drain_seconds: float = _setting(
        0.0,
        "Seconds for which `coffret serve` goes on once it was told to end, with `/readyz` at 503, so that"
        " a proxy sends it nothing more.",
        least=0,
    )
    tls_certificate: Path | None = _setting(
        None, "PEM file with the certificate to serve with, its chain included. Unset: plain HTTP."
    )
    tls_key: Path | None = _setting(None, "PEM file with the certificate's key.")
    provider_dir: Path | None = _setting(
        None,
        "Folder with releases of the Terraform provider to serve to `terraform init`. Unset: those that the"
        " wheel was built with. Read at the start.",
    )
    auth: Auth = _setting(
        Auth.TOKENS,
        "How callers are known: `tokens` (this control plane's own), or `keystone` (those too, and"
        " Keystone's; the cloud that `OS_CLOUD` names in clouds.yaml).",
    )
    policy_file: Path | None = _setting(
        None,
        "Policy file, YAML or JSON, whose rules go before those in code; `coffret policy` prints them."
        " Read at the start.",
    )
    cloud: str = _setting(
        "local",
        "Where instances run: `local`, `openstack` (the cloud that `OS_CLOUD` names in clouds.yaml), or"
        " `noop` (keeps books, runs nothing).",
    )
    deployment: str = _setting(
        "coffret",
        "Name that objects on the cloud carry to tell whose they are. Two control planes that share an"
        " OpenStack project need two.",
    )
    agent_url: str = _setting(
        "", "URL at which agents reach this control plane. Empty: `bind`, with https if it serves TLS."
    )
    agent_ca: Path | None = _setting(
        None,
        "PEM file with the CA by which agents know this control plane. Unset: those of their system.",
    )
    agent_secret_days: float = _setting(
        30.0, "Days after which an agent gets another secret. 0: it keeps the one that it has.", least=0
    )
    openstack_management_network: str = _setting(
        "",
        "Name or id of the network over which agents reach this control plane. Empty: the user's own.",
    )
    openstack_external_network: str = _setting(
        "", "Name or id of the network of public addresses. Empty: the only external one."
    )
    openstack_volume_type: str = _setting(
        "", "Cinder volume type of instances that name none. Empty: Cinder's default."
    )
    openstack_availability_zone: str = _setting(
        "", "Nova availability zone of instances that name none. Empty: Nova's choice."
    )
    local_account: str = _setting(
        "nobody", "Account that engines of the local cloud run as when Coffret runs as root."
    )
    local_flavors: Path | None = _setting(
        None, "JSON file with the local cloud's flavors. Unset: a built-in list."
    )
    request_seconds: float = _setting(
        10.0, "Seconds in which a request must have come whole; then its connection is closed.", least=1
    )
    max_body_bytes: int = _setting(1 << 20, "Largest request body, in bytes.", least=1024)
    rate_reads: str = _setting(
        "30000/minute",
        "Reads (GET) that a project may send to one process; past it the answer is 429 with"
        " Retry-After. Empty: no limit.",
    )
    rate_writes: str = _setting("6000/minute", "Writes that a project may send, likewise.")
    rate_failed_logins: str = _setting(
        "100/minute", "Requests of one address that may be answered with 401, likewise."
    )
    rate_storage: str = _setting(
        "memory://",
        "Where requests are counted: `memory://`, each process for itself, or a storage that processes"
        " share, such as `valkey://host:6379` (https://limits.readthedocs.io/en/stable/storage.html).",
        secret=True,
    )
    proxies: int = _setting(
        0,
        "How many reverse proxies stand before this server, each of which appends the client's"
        " address to `X-Forwarded-For`. 0: nobody is believed.",
        least=0,
    )
    events_days: int = _setting(365, "Days that events are kept. 0: for ever.", least=0)
    quota_instances: int = _setting(
        100, "Instances a project may have unless its quota says else.", least=0
    )
    quota_volume_size: int = _setting(10_000, "GiB of volumes a project may have, likewise.", least=0)
    quota_ram: int = _setting(1_048_576, "MiB of memory a project's instances may have, likewise.", least=0)
    log_level: LogLevel = _setting(LogLevel.INFO, "Level of the log on standard error.")
    log_format: LogFormat = _setting(
        LogFormat.PLAIN,
        "Lines of the log, and of the agents' logs: `plain` for people, or `json`, one object each"
        " ([more](logs.md)).",
    )
    log_requests: Switch = _setting(
        Switch.ON, "Whether each request is a line in the log, at INFO: `on` or `off`."
    )

    @property
    def sqlalchemy_url(self) -> URL:
        """Raises SettingsError, which does not repeat the password, for what is no such URL."""
        try:
            return stores.url_of(self.database_url or f"sqlite:///{self._file.absolute()}")
        except ValueError as error:
            raise SettingsError(
                f"COFFRET_DATABASE_URL cannot be used: {error}. Write it as"
                " postgresql://user:password@host/database or mariadb://user:password@host/database."
            ) from None

    @property
    def parked_of_a_kind(self) -> int:
        """How many requests of a kind may be parked at once where threads serve them."""
        return self.threads // 3 if self.parked_limit is None else self.parked_limit

    @property
    def _file(self) -> Path:
        return self.data_dir / "coffret.db"

    def check_parking(self, kinds: int) -> None:
        """Raises SettingsError when parked requests, of so many kinds, could take all threads."""
        most = (self.threads - 1) // kinds
        if self.parked_of_a_kind > most:
            raise SettingsError(
                f"COFFRET_PARKED_LIMIT={self.parked_limit} would let parked requests take every one of"
                f" {self.threads} threads: set it to {most} at most, or COFFRET_THREADS to"
                f" {kinds * self.parked_of_a_kind + 1} at least."
            )

    def check_celery(self) -> None:
        """Raises SettingsError when something is missing for work over Celery."""
        if self.work is not Work.CELERY:
            raise SettingsError(
                "This is for COFFRET_WORK=celery; with `inline`, `coffret serve` does the work."
            )
        if importlib.util.find_spec("celery") is None:
            raise SettingsError("COFFRET_WORK=celery needs Celery: pip install 'coffret[celery]'.")
        if not self.broker_url:
            raise SettingsError("COFFRET_WORK=celery needs COFFRET_BROKER_URL, the URL of RabbitMQ.")
        if self.broker_ca is not None and not os.access(self.broker_ca, os.R_OK):
            raise SettingsError(f"COFFRET_BROKER_CA={self.broker_ca} cannot be read.")

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> "Settings":
        """Read the file that COFFRET_CONFIG names, then COFFRET_* variables, then `overrides`.

        Raises SettingsError for an unknown COFFRET_* name or a value of the wrong type.
        """
        environ = os.environ if environ is None else environ
        given: dict[str, str] = {}
        if path := environ.get(f"{PREFIX}CONFIG"):
            given |= _read_file(Path(path))
        given |= {
            key: value
            for key, value in environ.items()
            if key.startswith(PREFIX) and key not in _NOT_SETTINGS
        }
        hints = get_type_hints(cls)
        known = {f"{PREFIX}{item.name.upper()}": item for item in fields(cls)}
        values: dict[str, Any] = {}
        for key, text in given.items():
            if key not in known:
                raise SettingsError(
                    f"{key} is not a setting.{nearest(key, known)} The settings are {', '.join(known)}."
                )
            item = known[key]
            values[item.name] = _parse(key, text, hints[item.name], item.metadata["least"])
        return cls(**(values | overrides))


_NOT_SETTINGS = {f"{PREFIX}{name}" for name in ("CONFIG", "TOKEN", "ENDPOINT")}
"""CONFIG names the file; TOKEN and ENDPOINT are the clients'."""


def _read_file(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"COFFRET_CONFIG names {path}, which cannot be read: {error}.") from error
    pairs = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise SettingsError(f"{path}:{number}: expected NAME=value, found {line.strip()!r}.")
        pairs[key.strip()] = value.strip()
    return pairs


def _parse(key: str, text: str, kind: Any, least: float | None) -> Any:
    if get_origin(kind) is types.UnionType:
        if not text:
            return None
        kind = next(part for part in get_args(kind) if part is not type(None))
    try:
        value = kind(text)
    except ValueError:
        value = None
    if issubclass(kind, enum.Enum) and value is None:
        raise SettingsError(f"{key}={text!r} is not one of {', '.join(kind)}.")
    if value is None or (least is not None and not least <= value < math.inf):
        what = "whole number" if kind is int else "number"
        raise SettingsError(f"{key}={text!r} is not a {what} from {least} up.")
    return value
