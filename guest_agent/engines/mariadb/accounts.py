"""Accounts, `name@host`, that come in with ed25519.

https://mariadb.com/kb/en/authentication-plugin-ed25519/
"""

import contextlib
import json
import re
from typing import Any

from guest_agent.engines.base import EngineError
from guest_agent.engines.mariadb import grants
from guest_agent.engines.mariadb.session import Session, administrator
from guest_agent.protocol import DeletionPolicy, DesiredUser, SeenUser

_LONGEST = 80  # characters of a user name
_VERIFIER = re.compile(r"[A-Za-z0-9+/]{43}")
_NAMED = 20
"""Objects that are named; of more only the number is said."""
_DEFINED = """
SELECT 'view' AS kind, TABLE_SCHEMA AS place, TABLE_NAME AS name FROM information_schema.VIEWS
    WHERE DEFINER = %s AND SECURITY_TYPE = 'DEFINER'
UNION ALL SELECT ROUTINE_TYPE, ROUTINE_SCHEMA, ROUTINE_NAME FROM information_schema.ROUTINES
    WHERE DEFINER = %s AND SECURITY_TYPE = 'DEFINER'
UNION ALL SELECT 'trigger', TRIGGER_SCHEMA, TRIGGER_NAME FROM information_schema.TRIGGERS WHERE DEFINER = %s
UNION ALL SELECT 'event', EVENT_SCHEMA, EVENT_NAME FROM information_schema.EVENTS WHERE DEFINER = %s
"""
# In mysql.global_priv beside how one comes in: what GRANT and the engine keep there themselves.
_NOT_OURS = {"access", "version_id", "password_last_changed", "default_role"}


def _own() -> set[str]:
    return {"root", "mysql", "mariadb.sys", "PUBLIC", administrator()}


def users(server: Session) -> list[SeenUser]:
    """All accounts but the engine's own and the agent's; no roles."""
    databases, everywhere = grants.on_databases(server), grants.on_everything(server)
    return [
        {"name": name, "host": host, "grants": grants.seen(name, host, databases, everywhere)}
        for name, host, definition in _accounts(server)
        if name not in _own() and not definition.get("is_role")
    ]


def ensure(server: Session, user: DesiredUser) -> str | None:
    """Create the account, or put right how it comes in: verifier, lock, limits, demand of TLS."""
    name, host = _checked(user["name"]), user["host"]
    if not _VERIFIER.fullmatch(user["verifier"]):
        raise EngineError("the verifier of a MariaDB user is an ed25519 public key in base64")
    wanted = {"plugin": "ed25519", "authentication_string": user["verifier"]}
    definition = _definition(server, name, host)
    if definition is None:
        server.run("CREATE USER %s@%s IDENTIFIED VIA ed25519 USING %s", name, host, user["verifier"])
        return f"user {name}@{host} created"
    if definition.get("is_role"):
        raise EngineError(f"{name} is a role here, not a user")
    if _login(definition) == wanted:
        return None
    server.run(
        "ALTER USER %s@%s IDENTIFIED VIA ed25519 USING %s REQUIRE NONE WITH "
        "MAX_QUERIES_PER_HOUR 0 MAX_UPDATES_PER_HOUR 0 MAX_CONNECTIONS_PER_HOUR 0 "
        "MAX_USER_CONNECTIONS 0 MAX_STATEMENT_TIME 0 PASSWORD EXPIRE DEFAULT ACCOUNT UNLOCK",
        name,
        host,
        user["verifier"],
    )
    return f"user {name}@{host}: password, lock and limits put right"


def ensure_grants(server: Session, user: DesiredUser) -> str | None:
    name, host = _checked(user["name"]), user["host"]
    done = grants.ensure(server, name, host, user["grants"])
    return f"user {name}@{host}: {', '.join(done)}" if done else None


def drop(server: Session, name: str, host: str, policy: DeletionPolicy) -> str | None:
    if _definition(server, _checked(name), host) is None:
        return None
    defined = _defined_by(server, name, host)
    if defined and policy == "refuse":
        raise EngineError(
            f"User {name}@{host} is the DEFINER of {defined}. Its deletion_policy is refuse: define these"
            " anew as another user, drop them, or change the policy to reassign. That leaves them as they"
            " are, and they fail when they are used."
        )
    server.run("DROP USER IF EXISTS %s@%s", name, host)
    if not any(other == name for other, _, _ in _accounts(server)):  # else whose they are is unsure
        for row in server.rows("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = %s", name):
            with contextlib.suppress(EngineError):  # it may end by itself meanwhile
                server.run("KILL CONNECTION %s", row["ID"])
    left = f"; it is still the DEFINER of {defined}, which fail when they are used" if defined else ""
    return f"user {name}@{host} dropped{left}"


def _defined_by(server: Session, name: str, host: str) -> str:
    """In words what is run as this account, whoever uses it."""
    rows = server.rows(_DEFINED, *4 * [f"{name}@{host}"])
    names = [f"{row['kind'].lower()} {row['place']}.{row['name']}" for row in rows]
    more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])


def _checked(name: str) -> str:
    if name in _own() or not name or len(name) > _LONGEST or "\0" in name:
        own = ", ".join(sorted(_own()))
        raise EngineError(f"user {name!r}: 1 to {_LONGEST} characters, none of {own}")
    return name


def _accounts(server: Session) -> list[tuple[str, str, dict[str, Any]]]:
    rows = server.rows("SELECT User, Host, Priv FROM mysql.global_priv ORDER BY User, Host")
    return [(row["User"], row["Host"], json.loads(row["Priv"])) for row in rows]


def _definition(server: Session, name: str, host: str) -> dict[str, Any] | None:
    rows = server.rows("SELECT Priv FROM mysql.global_priv WHERE User = %s AND Host = %s", name, host)
    return dict(json.loads(rows[0]["Priv"])) if rows else None


def _login(definition: dict[str, Any]) -> dict[str, Any]:
    """How the account comes in, without what is off. An expired password counts as its own."""
    login = {key: value for key, value in definition.items() if key not in _NOT_OURS and value}
    if definition.get("password_lifetime") == -1:  # as everywhere
        del login["password_lifetime"]
    if definition.get("password_last_changed") == 0:
        login["expired"] = True
    return login
