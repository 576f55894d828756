"""Clients that create, change and delete, and the ledger of what they were told is so."""

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import requests

PASSWORD = "correct horse battery"
_DONE = (200, 201, 202, 204)


@dataclass
class Ledger:
    """What was acknowledged, by path, such as `/instances/a` and `/instances/a/databases/b`."""

    wanted: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    """The body of the newest PUT; None: it is to be gone."""
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many events of each kind, by path, come of it: one for each write."""

    def inside(self, instance: str, kind: str) -> set[str]:
        """Names of the databases or users that the instance is to have."""
        prefix = f"{instance}/{kind}/"
        return {
            path.removeprefix(prefix)
            for path, body in self.wanted.items()
            if path.startswith(prefix) and body is not None
        }

    def is_deleted(self, path: str) -> bool:
        return path in self.wanted and self.wanted[path] is None

    @property
    def instances(self) -> dict[str, dict[str, Any] | None]:
        return {path: body for path, body in self.wanted.items() if path.count("/") == 2}


class Client:
    """Writes one thing after the other, each again and again until it is acknowledged."""

    def __init__(
        self, urls: Sequence[str], token: str, ledger: Ledger, chance: random.Random, patience: float = 300
    ) -> None:
        self._urls = urls
        self._ledger = ledger
        self._chance = chance
        self._patience = patience
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.headers["Authorization"] = f"Bearer {token}"
        self.failure: BaseException | None = None

    def live(self, names: Sequence[str]) -> threading.Thread:
        """Make these instances, change some and delete some, in a thread."""
        thread = threading.Thread(target=self._live, args=[names], daemon=True)
        thread.start()
        return thread

    def _live(self, names: Sequence[str]) -> None:
        try:
            for name in names:
                self.make(name)
            for name in names:
                self._change(name)
        except BaseException as failure:  # for the test to raise
            self.failure = failure

    def make(self, name: str) -> None:
        path = f"/instances/{name}"
        self.put(path, instance())
        for database in ("shop", "old"):
            self.put(f"{path}/databases/{database}", {})
        grants = [{"database": "shop", "privileges": ["ALL"]}]
        self.put(f"{path}/users/app", {"password": PASSWORD, "grants": grants})

    def _change(self, name: str) -> None:
        path = f"/instances/{name}"
        self.put(path, instance(labels={"step": "1"}, volume={"size": 2}))
        self.delete(f"{path}/databases/old")
        if self._chance.random() < 0.4:
            self.delete(path)

    def put(self, path: str, body: dict[str, Any]) -> None:
        self._send("PUT", path, body)
        kind = "created" if path not in self._ledger.wanted else "changed"
        self._ledger.wanted[path] = body
        self._ledger.events[path, kind] += 1

    def delete(self, path: str) -> None:
        self._send("DELETE", path)
        for each in list(self._ledger.wanted):
            if each == path or each.startswith(f"{path}/"):
                self._ledger.wanted[each] = None
        self._ledger.events[path, "deleting"] += 1
        self._ledger.events[path, "deleted"] += 1

    def _send(self, method: str, path: str, body: Any = None) -> None:
        """Raises AssertionError for an answer that is not to be expected, and when none comes at all."""
        deadline = time.monotonic() + self._patience
        last: object = None
        while time.monotonic() < deadline:
            url = f"{self._chance.choice(self._urls)}/v1{path}"
            try:
                answer = self._http.request(method, url, json=body, timeout=30)
            except requests.RequestException as error:
                last = error
            else:
                if answer.status_code in _DONE:
                    return
                last = answer.text
                assert answer.status_code == 503, f"{method} {path}: {last}"
            time.sleep(self._chance.uniform(0.1, 0.5))
        raise AssertionError(f"{method} {path} was not acknowledged: {last}")


def instance(**more: Any) -> dict[str, Any]:
    return {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}} | more
