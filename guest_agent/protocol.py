"""What agent and control plane say to each other, as JSON.

`POST /agent/v1/register`  {instance_id, bootstrap_token} -> 200 {secret}
    The bootstrap token works once and for 30 minutes; 401 otherwise.
`POST /agent/v1/sync`      Report -> 200 Directive, or 304 when `etag` is still current.
    `Authorization: Bearer <instance id>.<secret>`. Both answers carry `Retry-After`: the seconds to
    wait before the next sync. The server parks a sync up to `wait` seconds while nothing changes.
    An agent with the ability `new_secrets` may get another secret in the header `Coffret-Agent-Secret`. It
    keeps it and uses it from then on; both are valid until the new one is used first.
    401: the secret is not (or no longer) valid. 410: the instance is gone; stop the engine and exit.
"""

from typing import Any, Literal, NotRequired, TypedDict

SECRET_HEADER = "Coffret-Agent-Secret"  # noqa: S105 - a name
ObjectState = Literal["present", "absent"]
DeletionPolicy = Literal["reassign", "refuse"]
"""What becomes of what a dropped user owns: its database's owner gets it, or the user stays."""

ABILITIES = ["deletion_policy", "new_secrets"]
"""What agents have learnt since protocol 1 began: nothing of this is asked of one that does not say so."""


class Grant(TypedDict):
    """What a user may do. SQL engines read `database`; Valkey reads `keys` and `channels`."""

    privileges: list[str]
    database: NotRequired[str | None]
    keys: NotRequired[list[str]]
    channels: NotRequired[list[str]]


class DesiredDatabase(TypedDict):
    id: str
    """Tells two incarnations of a name apart."""
    name: str
    generation: int
    state: ObjectState
    character_set: str | None
    collation: str | None
    owner: str | None


class DesiredUser(TypedDict):
    id: str
    name: str
    host: str
    """`%` or a host pattern on MariaDB; always `%` elsewhere."""
    generation: int
    state: ObjectState
    verifier: str
    """What the engine stores for the password: a SCRAM-SHA-256 string, an ed25519 public key in
    base64, or a SHA-256 in hex."""
    grants: list[Grant]
    deletion_policy: NotRequired[DeletionPolicy]
    """Of an absent one. Agents without this ability reassign; `refuse` is not sent to them."""


class DesiredEngine(TypedDict):
    manager: str
    version: str
    listen: list[str]
    port: int
    ram: int
    """MiB, from the flavor; the engine's memory settings follow from it."""
    vcpus: int
    volume_size: int
    """GiB."""


def restarting(before: DesiredEngine, wanted: DesiredEngine) -> list[str]:
    """What has changed of an engine's start and so takes another. A volume grows under a running one."""
    old, new = dict(before), dict(wanted)
    return [name for name in new if name != "volume_size" and name in old and old[name] != new[name]]


class Directive(TypedDict):
    """The desired document. `etag` is its digest; the agent sends it back once it has it."""

    etag: str
    instance_id: str
    generation: int
    request_id: NotRequired[str | None]
    """Of the client that wants it, for the log; the newest if several do. None: nobody asked, or it was
    worked through before. No other etag comes of it."""
    engine: DesiredEngine
    parameters: dict[str, str]
    """The whole configuration wanted, by the engine's names and in the engine's notation. What is
    not named has the engine's (or the flavor's) default."""
    restart_policy: Literal["manual", "automatic"]
    restart: str | None
    """Id of the newest restart action; done once for an id."""
    databases: list[DesiredDatabase]
    users: list[DesiredUser]


class SeenDatabase(TypedDict):
    name: str
    character_set: str | None
    collation: str | None
    owner: str | None


class SeenUser(TypedDict):
    name: str
    host: str
    grants: list[Grant]
    owns: NotRequired[list[str]]
    """Databases that are its own, or in which objects are (PostgreSQL)."""


class Outcome(TypedDict):
    """How far one wanted database or user is."""

    id: str
    generation: int
    """The generation this speaks of."""
    done: bool
    message: str
    """The engine's words and what would help. Empty when done, but for a drop: what it did."""


EngineState = Literal["preparing", "starting", "running", "stopped", "failed"]


class SeenEngine(TypedDict):
    state: EngineState
    version: str | None
    """The engine's own words, such as `18.6`."""
    started_at: str | None
    """RFC 3339."""
    restarts: int
    """How often this agent has started the engine."""
    message: str
    """Empty, or the engine's last words."""


class PendingParameter(TypedDict):
    name: str
    running: str | None
    desired: str | None
    """None: the default."""


class SeenConfiguration(TypedDict):
    in_sync: bool
    pending_restart: list[PendingParameter]
    errors: dict[str, str]
    """Parameter name -> the engine's reason for refusing it."""
    changed: NotRequired[list[str]]
    """Parameters whose running value this call has changed. Between plugin and agent only: it tells
    the agent of drift, which is reported in `repairs`."""


class Report(TypedDict):
    protocol: int
    abilities: NotRequired[list[str]]
    agent_version: str
    run: str
    """Another one for each run of the agent."""
    sequence: int
    """Counts the reports of a run. While one sync is parked, the agent sends news in a second one
    (`wait` 0); a report with a lower sequence than the last of its run came late, and only its
    `repairs` are news."""
    etag: str | None
    """Of the newest directive the agent holds; None at the start."""
    converged_etag: str | None
    """Of the newest directive worked through to its end; failures of single objects are in
    `databases` and `users`."""
    engine: SeenEngine
    volume_used: int
    """Bytes under the data directory."""
    configuration: SeenConfiguration
    restart_done: str | None
    """Id of the newest restart action carried out."""
    databases: list[Outcome]
    users: list[Outcome]
    seen_databases: list[SeenDatabase]
    seen_users: list[SeenUser]
    repairs: list[str]
    """Sentences: drift put right since the last report that got through."""
    wait: float
    """Seconds the agent is willing to be parked."""


class Parameter(TypedDict):
    """One entry of a parameter catalogue, read from the engine itself."""

    name: str
    type: Literal["string", "integer", "number", "boolean", "enum"]
    description: str
    default: str | None
    """In the engine's notation; None where the engine has none or derives it."""
    unit: str | None
    """`8kB`, `ms`, …: what a bare number counts."""
    minimum: float | None
    maximum: float | None
    values: list[str] | None
    restart_required: bool
    settable: bool
    """False for what Coffret owns (ports, directories, …) or the engine fixes."""


class Catalogue(TypedDict):
    """A datastore version as data; the files in control_plane/datastores/shipped/."""

    datastore: str
    manager: str
    version: str
    engine_version: str
    """The exact engine it was read from."""
    description: str
    parameters: list[Parameter]
    character_sets: dict[str, list[str]]
    """Character set -> its collations."""
    image_tags: NotRequired[list[str]]
    """Of the image that the catalogue was read in."""


Json = dict[str, Any]
