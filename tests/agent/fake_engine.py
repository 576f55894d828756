"""An engine that keeps its databases and users in a file, and runs as a process that only sleeps.

Run as a program, it is `coffret-agent` with this engine on offer.
"""

import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from guest_agent import __main__, engines, process
from guest_agent.engines.base import Engine, EngineError
from guest_agent.protocol import (
    Catalogue,
    DeletionPolicy,
    DesiredDatabase,
    DesiredEngine,
    DesiredUser,
    PendingParameter,
    SeenConfiguration,
    SeenDatabase,
    SeenUser,
)

EMPTY: dict[str, Any] = {"databases": {}, "users": {}, "running": {}, "starts": [], "files": {}}


class FakeEngine(Engine):
    """Parameters called `static_…` need a restart; with `crash` set it does not come up; databases
    called `refused…` cannot be made, and those called `buggy…` hit a bug; users called `maker…` own
    things."""

    manager: ClassVar[str] = "fake"

    @property
    def pid_file(self) -> Path:
        return self.home.run / "fake.pid"

    @property
    def pid(self) -> int | None:
        found = process.find(self.pid_file)
        return found.pid if found else None

    @property
    def contents(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.home.data / "contents.json").read_text())
        except FileNotFoundError:
            return json.loads(json.dumps(EMPTY))
        return found

    def write(self, **changes: Any) -> None:
        new = self.home.data / "contents.new"
        new.write_text(json.dumps(self.contents | changes))
        new.replace(self.home.data / "contents.json")

    def prepare(self, engine: DesiredEngine, parameters: Mapping[str, str]) -> None:
        self.write(files={**parameters, "ram": str(engine["ram"])})

    def start(self, engine: DesiredEngine) -> None:
        contents = self.contents
        if "crash" in contents["files"]:
            raise EngineError("FATAL: crash is set")
        process.spawn(
            ["sleep", "600"],
            pid_file=self.pid_file,
            log=self.home.data / "log",
            account=self.home.account,
        )
        self.write(running=contents["files"], starts=[*contents["starts"], engine["ram"]])

    def stop(self) -> None:
        if found := process.find(self.pid_file):
            process.stop(found, signal.SIGTERM, 5)

    def running(self) -> bool:
        return process.find(self.pid_file) is not None

    def health(self) -> None:
        if not self.running():
            raise EngineError("it does not answer")

    def version(self) -> str:
        return "1.2"

    def catalogue(self) -> Catalogue:
        return {
            "datastore": "fake",
            "manager": "fake",
            "version": "1",
            "engine_version": self.version(),
            "description": "Fake",
            "parameters": [],
            "character_sets": {"utf8": ["ä"] if self.running() else []},
        }

    def apply_configuration(
        self, engine: DesiredEngine, parameters: Mapping[str, str]
    ) -> SeenConfiguration:
        running, changed, pending = self.contents["running"], [], []
        wanted = {**parameters, "ram": str(engine["ram"])}
        for name in sorted(running.keys() | wanted.keys()):
            if running.get(name) == wanted.get(name):
                continue
            if name.startswith("static_"):
                pending.append(
                    PendingParameter(name=name, running=running.get(name), desired=wanted.get(name))
                )
            else:
                changed.append(name)
                running.pop(name, None)
                running |= {name: wanted[name]} if name in wanted else {}
        self.write(running=running)
        return {
            "in_sync": not pending,
            "pending_restart": pending,
            "errors": {},
            "changed": changed,
        }

    def databases(self) -> list[SeenDatabase]:
        return [
            {"name": name, "character_set": None, "collation": None, "owner": owner}
            for name, owner in self.contents["databases"].items()
        ]

    def ensure_database(self, database: DesiredDatabase) -> str | None:
        name, owner, contents = database["name"], database["owner"], self.contents
        if name.startswith("refused"):
            raise EngineError(f"{name} is refused; take another name.")
        if name.startswith("buggy"):
            raise KeyError(name)
        if owner is not None and f"{owner}@%" not in contents["users"]:
            raise EngineError(f"there is no user {owner}")
        if name in contents["databases"]:
            return None
        self.write(databases={**contents["databases"], name: owner})
        return f"Created database {name}."

    def drop_database(self, name: str) -> str | None:
        databases = self.contents["databases"]
        if name not in databases:
            return None
        del databases[name]
        self.write(databases=databases)
        return f"Dropped database {name}."

    def users(self) -> list[SeenUser]:
        return [
            {"name": key.split("@")[0], "host": key.split("@")[1], "grants": user["grants"]}
            for key, user in self.contents["users"].items()
        ]

    def ensure_user(self, user: DesiredUser) -> str | None:
        key, users = f"{user['name']}@{user['host']}", self.contents["users"]
        if user["name"].startswith("refused"):
            raise EngineError(f"syntax error near {user['verifier']}")
        seen = users.setdefault(key, {"verifier": None, "grants": []})
        if seen["verifier"] == user["verifier"]:
            return None
        seen["verifier"] = user["verifier"]
        self.write(users=users)
        return f"Set the password of {key}."

    def ensure_grants(self, user: DesiredUser) -> str | None:
        key, contents = f"{user['name']}@{user['host']}", self.contents
        missing = {g.get("database") for g in user["grants"]} - contents["databases"].keys()
        if missing:
            raise EngineError(f"there is no database {', '.join(map(str, missing))}")
        if contents["users"][key]["grants"] == user["grants"]:
            return None
        contents["users"][key]["grants"] = user["grants"]
        self.write(users=contents["users"])
        return f"Set the grants of {key}."

    def drop_user(self, name: str, host: str, policy: DeletionPolicy = "reassign") -> str | None:
        users = self.contents["users"]
        if policy == "refuse" and name.startswith("maker"):
            raise EngineError(f"{name} owns things")
        if f"{name}@{host}" in self.contents["databases"].values():
            raise EngineError(f"{name} still owns a database")
        if users.pop(f"{name}@{host}", None) is None:
            return None
        self.write(users=users)
        return f"Dropped user {name}@{host}."


def directive(etag: str, **changes: Any) -> dict[str, Any]:
    """A directive for the fake engine; `engine` adds to its engine part."""
    engine = {
        "manager": "fake",
        "version": "1",
        "listen": ["127.0.0.1"],
        "port": 4444,
        "ram": 512,
        "vcpus": 1,
        "volume_size": 1,
    } | changes.pop("engine", {})
    return {
        "etag": etag,
        "instance_id": "i-1",
        "generation": 1,
        "engine": engine,
        "parameters": {},
        "restart_policy": "manual",
        "restart": None,
        "databases": [],
        "users": [],
    } | changes


def database(name: str, **changes: Any) -> dict[str, Any]:
    plain = {"id": name, "name": name, "generation": 1, "state": "present", "owner": None}
    return plain | {"character_set": None, "collation": None} | changes


def user(name: str, **changes: Any) -> dict[str, Any]:
    plain = {"id": name, "name": name, "host": "%", "generation": 1, "state": "present"}
    return plain | {"verifier": f"verifier-of-{name}", "grants": []} | changes


if __name__ == "__main__":
    engines.PLUGINS["fake"] = "fake_engine.FakeEngine"
    sys.exit(__main__.main())
