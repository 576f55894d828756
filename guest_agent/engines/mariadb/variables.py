"""System variables: the catalogue, what Coffret owns, and comparing notations of one value.

https://mariadb.com/kb/en/information-schema-system_variables-table/
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from guest_agent.engines.mariadb.session import Session
from guest_agent.protocol import Parameter

_OWNED = re.compile(
    r"allow_suspicious_udfs|aria_log_dir_path|basedir|bind_address|.*_dir|.*dir_path|character_sets_dir|core_file|datadir|"
    r"debug.*|default_master_connection|extra_port|ft_stopword_file|general_log_file|gtid_.*|"
    r"ignore_.*|init_.*|innodb_.*_(dir|directory|path|filename)|innodb_data_home_dir|innodb_force_.*|"
    r"innodb_page_size|innodb_read_only|innodb_undo_tablespaces|innodb_buffer_pool_(dump|load)_.*|"
    r"innodb_ft_aux_table|innodb_ft_(server|user)_stopword_table|innodb_monitor_.*|"
    r"innodb_log_checkpoint_now|innodb_tmpdir|large_pages|lc_messages_dir|local_infile|log_basename|log_bin.*|"
    r"log_error|log_slow_query_file|log_tc_size|lower_case_table_names|loose_.*|myisam_.*path|"
    r"pid_file|plugin.*|port|proxy_protocol_networks|read_only|relay_.*|replicate_.*|report_.*|"
    r"require_secure_transport|rpl_.*|secure_.*|server_id|skip_.*|slave_.*|slow_query_log_file|"
    r"socket|sql_log_bin|sql_slave_.*|ssl_.*|strict_password_validation|tls_version|tmpdir|user|"
    r"version.*|wsrep_.*|in_transaction|pseudo_.*|last_.*|rand_.*|timestamp|error_count|warning_count|"
    # options that are no variables
    r"bootstrap|chroot|console|des_key_file|external_locking|feedback.*|flashback|gdb|getopt_.*|help|innodb|"
    r"innodb_status_file|language|log_(ddl_recovery|isam|tc)|master_(info_file|retry_count)|memlock|"
    r"silent_startup|ssl|stack_trace|symbolic_links|tc_heuristic_recover|unix_socket|verbose"
)
OPTIONS: dict[str, tuple[str, str | None]] = {
    "autocommit": ("autocommit", "ON"),
    "character_set_server": ("character_set_server", None),
    "collation_server": ("collation_server", None),
    "default_storage_engine": ("default_storage_engine", "InnoDB"),
    "lc_messages": ("lc_messages", "en_US"),
    "lc_time_names": ("lc_time_names", "en_US"),
    "time_zone": ("default_time_zone", "SYSTEM"),
    "tx_isolation": ("transaction_isolation", "REPEATABLE-READ"),
    "tx_read_only": ("transaction_read_only", "OFF"),
}
"""Variables that the server takes in its option files although its list does not say so: how they
are called there, and their default, for which the list gives what the file said.
https://mariadb.com/kb/en/mariadbd-options/"""

_TRUE, _FALSE = {"on", "1", "true", "yes"}, {"off", "0", "false", "no"}
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50, "e": 60}


def owned(name: str) -> bool:
    """Whether Coffret sets this one, or nobody may on an instance of Coffret."""
    return bool(_OWNED.fullmatch(name)) or not re.fullmatch(r"[a-z][a-z0-9_]*", name)


@dataclass(frozen=True)
class Variable:
    """A row of information_schema.SYSTEM_VARIABLES; its values are texts."""

    name: str
    value: str | None
    touched: bool
    """Whether its value may come from a file or a session, and not from the engine itself."""
    default: str | None
    kind: Literal["integer", "number", "boolean", "enum", "set", "flags", "string"]
    description: str
    minimum: float | None
    maximum: float | None
    block: int
    values: list[str]
    dynamic: bool
    settable: bool

    @property
    def alias(self) -> str | None:
        """The other name of this variable, where it has two."""
        found = re.match(r"Alias for (\w+)", self.description)
        return found[1].lower() if found else None

    def refusal(self, value: str) -> str | None:
        """Why this value cannot be, or None."""
        if self.kind in ("integer", "number"):
            count = number(value)
            if count is None or (self.kind == "integer" and not isinstance(count, int)):
                return f"{value!r} is no {self.kind}"
            low, high = self.minimum, self.maximum
            if low is not None and high is not None and not low <= count <= high:
                return f"must be between {low:.15g} and {high:.15g}"
        elif self.kind == "boolean" and value.lower() not in _TRUE | _FALSE:
            return "must be ON or OFF"
        elif self.kind == "enum" and self._choice(value) is None:
            return f"must be one of {', '.join(self.values)}"
        return None

    def same(self, one: str | None, other: str | None) -> bool:
        """Whether two notations mean one value."""
        return one == other or (
            one is not None and other is not None and self._plain(one) == self._plain(other)
        )

    def holds(self, wanted: str) -> bool:
        """Whether the running value is the wanted one."""
        if self.kind == "flags" and self.value is not None:  # only those named are wanted
            return _parts(wanted) <= _parts(self.value)
        return self.same(self.value, wanted)

    def literal(self, value: str) -> object:
        """The value as SET GLOBAL takes it."""
        if self.kind in ("integer", "number"):
            return number(value)
        if self.kind == "boolean":
            return "ON" if value.lower() in _TRUE else "OFF"
        return self._choice(value) if self.kind == "enum" else value

    def _plain(self, value: str) -> object:
        if self.kind == "integer" and (count := number(value)) is not None:
            return int(count) // self.block * self.block
        if self.kind == "number":
            return number(value)
        if self.kind == "boolean":
            return value.lower() in _TRUE
        if self.kind == "enum":
            return self._choice(value)
        if self.kind in ("set", "flags"):
            return _parts(value)
        return value

    def _choice(self, value: str) -> str | None:
        """The one of `values` that this text or number stands for."""
        if value.isascii() and value.isdecimal() and value not in self.values:
            return self.values[int(value)] if int(value) < len(self.values) else None
        return next((one for one in self.values if one.lower() == value.lower()), None)


def _parts(value: str) -> frozenset[str]:
    return frozenset(part.strip().lower() for part in value.split(",") if part.strip())


def number(value: str) -> int | float | None:
    """A number in the notation of an option file, which takes no more than this."""
    if whole := re.fullmatch(r"([+-]?[0-9]{1,40})([kmgtpe]?)", value, re.ASCII | re.IGNORECASE):
        return int(whole[1]) << _UNITS[whole[2].lower()]
    if re.fullmatch(r"[+-]?[0-9]*\.?[0-9]+(e[+-]?[0-9]+)?", value, re.ASCII | re.IGNORECASE):
        return float(value)
    return None


def option(name: str) -> str:
    """What a variable is called in an option file."""
    return OPTIONS.get(name, (name, None))[0]


def options(said: str) -> dict[str, str]:
    """Options by name, each with its value, of what `mariadbd --verbose --help` says at its end."""
    rows = re.findall(r"^([a-z][a-z0-9-]*) +(.*)$", said.partition("\nVariables (")[2], re.MULTILINE)
    return {name.replace("-", "_"): value for name, value in rows}


def read(server: Session) -> dict[str, Variable]:
    """All variables that have a global value."""
    rows = server.rows(
        "SELECT * FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_SCOPE <> 'SESSION ONLY'"
    )
    return {(variable := _variable(row)).name: variable for row in rows}


def value(server: Session, name: str) -> str | None:
    """The global value of one variable, as `read` tells it."""
    rows = server.rows(
        "SELECT GLOBAL_VALUE FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_NAME = %s",
        name,
    )
    found: str | None = rows[0]["GLOBAL_VALUE"]
    return found


def collation(server: Session, character_set: str) -> str | None:
    """The collation that a character set brings along."""
    rows = server.rows(
        "SELECT DEFAULT_COLLATE_NAME AS name FROM information_schema.CHARACTER_SETS "
        "WHERE CHARACTER_SET_NAME = %s",
        character_set,
    )
    return str(rows[0]["name"]) if rows else None


def _variable(row: dict[str, str | None]) -> Variable:
    name = str(row["VARIABLE_NAME"]).lower()
    low, high = row["NUMERIC_MIN_VALUE"], row["NUMERIC_MAX_VALUE"]
    _, default = OPTIONS.get(name, (name, None))
    values = [value for value in str(row["ENUM_VALUE_LIST"] or "").split(",") if value]
    return Variable(
        name=name,
        value=row["GLOBAL_VALUE"],
        touched=default is not None or row["GLOBAL_VALUE_ORIGIN"] in ("SQL", "CONFIG"),
        default=default or row["DEFAULT_VALUE"],
        kind=_kind(str(row["VARIABLE_TYPE"]), values),
        description=str(row["VARIABLE_COMMENT"] or ""),
        minimum=None if low is None else float(low),
        maximum=None if high is None else float(high),
        block=int(row["NUMERIC_BLOCK_SIZE"] or 1) or 1,
        values=values,
        dynamic=row["READ_ONLY"] == "NO",
        settable=(row["COMMAND_LINE_ARGUMENT"] is not None or name in OPTIONS) and not owned(name),
    )


def _kind(
    words: str, values: list[str]
) -> Literal["integer", "number", "boolean", "enum", "set", "flags", "string"]:
    if "INT" in words:
        return "integer"
    match words:
        case "DOUBLE":
            return "number"
        case "BOOLEAN":
            return "boolean"
        case "ENUM" if values:  # character sets and the like do not list theirs
            return "enum"
        case "SET":
            return "set"
        case "FLAGSET":
            return "flags"
        case _:
            return "string"


def parameter(variable: Variable, derived: Collection[str]) -> Parameter:
    """The catalogue's entry; the flavor gives the variables in `derived` their default."""
    kind = "string" if variable.kind in ("set", "flags") else variable.kind
    description = variable.description
    if variable.kind == "set":
        description += f" Several of, with commas: {', '.join(variable.values)}."
    return {
        "name": variable.name,
        "type": kind,  # type: ignore[typeddict-item]
        "description": description,
        "default": variable.default if variable.settable and variable.name not in derived else None,
        "unit": None,
        "minimum": variable.minimum,
        "maximum": variable.maximum,
        "values": variable.values if variable.kind == "enum" else None,
        "restart_required": not variable.dynamic,
        "settable": variable.settable,
    }
