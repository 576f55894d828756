"""The guests of the faulty cloud: agents, each beside an engine that is a few names in memory."""

import itertools
import random
import threading
import time
import uuid
from typing import Any

import requests
from faulty_cloud import Site, instance_of

from guest_agent import PROTOCOL, __version__
from guest_agent.protocol import ABILITIES, SECRET_HEADER

_PAUSE = 0.5


class Guest:
    """One agent and its engine. It asks any gateway, again and again when one does not answer."""

    def __init__(self, site: Site, instance_id: str, gateways: list[str], chance: random.Random) -> None:
        self.instance_id = instance_id
        self.engine: dict[str, dict[str, str]] = {"databases": {}, "users": {}}
        """Names, and the ids of what they were made for."""
        self.gone = False
        self.vanished = threading.Event()
        self.secret = ""
        self.directive: dict[str, Any] = {}
        self._run = uuid.uuid4().hex
        self._sequence = itertools.count(1)
        self._site = site
        self._gateways = gateways
        self._chance = chance
        self._http = requests.Session()
        self._http.trust_env = False

    def work(self, over: threading.Event) -> None:
        """Until the instance is gone or it is all over."""
        while not over.is_set() and not self.gone:
            if self.vanished.is_set():
                over.wait(_PAUSE)
                continue
            try:
                pause = self.sync() if self.secret else self.register()
            except (requests.RequestException, ValueError):
                pause = _PAUSE
            over.wait(pause)

    def register(self) -> float:
        found = self._site.find("server", self.instance_id)
        if found is None:
            return _PAUSE
        body = {"instance_id": self.instance_id, "bootstrap_token": found[1]["token"]}
        answer = self.post("/agent/v1/register", body)
        self.gone = answer.status_code == 410
        if answer.ok:
            self.secret = answer.json()["secret"]
        return 0 if answer.ok else _PAUSE

    def sync(self, wait: float = 10) -> float:
        """One sync; returns the seconds until the next."""
        answer = self.say(self.report(wait))
        if answer.status_code == 200:
            self.directive = answer.json()
            self._converge()
        elif answer.status_code == 401:
            self.secret = ""
        self.gone = answer.status_code == 410
        self.secret = answer.headers.get(SECRET_HEADER, self.secret)
        return (
            float(answer.headers.get("Retry-After", _PAUSE)) if answer.status_code in (200, 304) else _PAUSE
        )

    def say(self, report: dict[str, Any]) -> requests.Response:
        return self.post("/agent/v1/sync", report, Authorization=f"Bearer {self.instance_id}.{self.secret}")

    def post(self, path: str, body: dict[str, Any], **headers: str) -> requests.Response:
        url = self._chance.choice(self._gateways)
        return self._http.post(url + path, json=body, headers=headers, timeout=30)

    def _converge(self) -> None:
        for kind, made in self.engine.items():
            for item in self.directive[kind]:
                if item["state"] == "present":
                    made[item["name"]] = item["id"]
                else:
                    made.pop(item["name"], None)

    def report(self, wait: float) -> dict[str, Any]:
        etag = self.directive.get("etag")
        engine = self.directive.get("engine", {})
        return {
            "protocol": PROTOCOL,
            "abilities": ABILITIES,
            "run": self._run,
            "sequence": next(self._sequence),
            "agent_version": __version__,
            "etag": etag,
            "converged_etag": etag,
            "engine": {
                "state": "running" if etag else "preparing",
                "version": engine.get("version"),
                "started_at": None,
                "restarts": 0,
                "message": "",
            },
            "volume_used": 0,
            "configuration": {"in_sync": True, "pending_restart": [], "errors": {}},
            "restart_done": self.directive.get("restart"),
            "databases": self._outcomes("databases"),
            "users": self._outcomes("users"),
            "seen_databases": [
                {"name": name, "character_set": None, "collation": None, "owner": None}
                for name in self.engine["databases"]
            ],
            "seen_users": [{"name": name, "host": "%", "grants": []} for name in self.engine["users"]],
            "repairs": [],
            "wait": wait,
        }

    def _outcomes(self, kind: str) -> list[dict[str, Any]]:
        return [
            {"id": item["id"], "generation": item["generation"], "done": True, "message": ""}
            for item in self.directive.get(kind, [])
        ]


class Guests:
    """Starts a guest for each server there is; each is a thread of the test's."""

    def __init__(self, site: Site, gateways: list[str], chance: random.Random) -> None:
        self.by_instance: dict[str, Guest] = {}
        self._site = site
        self._gateways = gateways
        self._chance = chance
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._start(self._look)

    def _look(self, over: threading.Event) -> None:
        while not over.wait(0.2):
            for kind, name in self._site.objects():
                instance_id = instance_of(name)
                if kind == "server" and instance_id not in self.by_instance:
                    guest = Guest(self._site, instance_id, self._gateways, self._chance)
                    self.by_instance[instance_id] = guest
                    self._start(guest.work)

    def _start(self, work: Any) -> None:
        thread = threading.Thread(target=work, args=[self._over], daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Without waiting for syncs that are parked: their gateways end next."""
        self._over.set()


def await_all(threads: list[threading.Thread], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        assert not thread.is_alive(), f"{thread.name} did not end in time"
