"""A walk over every operation of the API's document with another project's token."""

import functools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from contract import GROUP, INSTANCE, PASSWORD, Caller

METHODS = ("get", "put", "post", "patch", "delete")
MARK = "this-is-only-for-its-own-project"
BODIES: dict[str, Any] = {
    "/v1/datastores/{datastore}": {"manager": "postgresql"},
    "/v1/datastores/{datastore}/versions/{version}": {},
    "/v1/configuration-groups/{group}": GROUP,
    "/v1/instances/{instance}": INSTANCE,
    "/v1/instances/{instance}/databases/{database}": {},
    "/v1/instances/{instance}/users/{user}": {"password": PASSWORD},
    "/v1/instances/{instance}/actions": {"type": "restart"},
    "/v1/quotas/{project}": {},
    "/v1/tokens": {"name": "more", "project_id": "project"},
}

Send = Callable[[str, str, Any], tuple[int, str]]
"""Sends method, path (with /v1) and body as someone; returns status and text of the answer."""


def sent_by(caller: Caller) -> Send:
    def send(method: str, path: str, body: Any) -> tuple[int, str]:
        answer = caller(method, path.removeprefix("/v1"), body)
        return answer.status_code, answer.text

    return send


def operations(document: Any) -> list[tuple[str, str]]:
    return [
        (method.upper(), template)
        for template, item in document["paths"].items()
        for method in item
        if method in METHODS
    ]


def located(template: str, names: dict[str, str]) -> str:
    return re.sub(r"{(\w+)}", lambda found: names[found[1]], template)


def body(method: str, template: str) -> Any:
    return BODIES.get(template, {}) if method in ("PUT", "POST", "PATCH") else None


def own(send: Send, project_id: str) -> tuple[dict[str, str], dict[str, str]]:
    """Make one of everything that a project can have.

    Returns what the parameters of the document's paths are to reach them: by name, and by id.
    """

    def made(method: str, path: str, wanted: Any) -> Any:
        status, text = send(method, path, wanted)
        assert status in (200, 201, 202), text
        return json.loads(text)

    group = made("PUT", "/v1/configuration-groups/tuned", GROUP | {"description": MARK})
    wanted = INSTANCE | {"configuration_group": "tuned", "labels": {"mark": MARK}}
    instance = made("PUT", "/v1/instances/ledger", wanted)
    made("PUT", "/v1/instances/ledger/databases/accounts", {})
    made("PUT", "/v1/instances/ledger/users/treasurer", {"password": PASSWORD})
    action = made("POST", "/v1/instances/ledger/actions", {"type": "restart"})
    names = {
        "datastore": "postgresql",
        "version": "18",
        "parameter": "work_mem",
        "flavor": "db.small",
        "group": "tuned",
        "instance": "ledger",
        "database": "accounts",
        "user": "treasurer",
        "action": action["id"],
        "project": project_id,
        "token": instance["id"],
    }
    return names, names | {"group": group["id"], "instance": instance["id"]}


def seen(document: Any, send: Send, names: dict[str, str]) -> dict[str, str]:
    """All that a project sees of its own."""
    answers = {}
    for method, template in operations(document):
        if method == "GET" and not template.startswith("/v1/tokens"):
            where = located(template, names)
            status, answers[where] = send("GET", where, None)
            assert status == 200, answers[where]
    return answers


def refused_everywhere(
    document: Any, send: Send, names: dict[str, str], ids: dict[str, str]
) -> Iterator[str]:
    """Send everything as a stranger who is no admin; yields a sentence for all that is shown to them."""
    secrets = [MARK, "accounts", "treasurer", *(ids[kind] for kind in ("instance", "group", "action"))]
    sent: set[str] = set()
    for known in (names, ids):
        for method, template in operations(document):
            where = located(template, known)
            sent.add(where)
            status, text = send(method, where, body(method, template))
            if template == "/v1/events":  # tell the stranger what the stranger was refused
                text = functools.reduce(lambda left, own: left.replace(own, ""), sorted(sent)[::-1], text)
            assert status < 500, (method, where, text)
            for secret in secrets:
                if secret in text and secret not in where:
                    yield f"{method} {where}: {status} shows {secret}: {text}"
            theirs = "{instance}" in template or "{group}" in template
            if known is ids and theirs and status < 400 and (method, status) != ("DELETE", 204):
                yield f"{method} {where}: {status}"
            if "{project}" in template and status != 403:
                yield f"{method} {where}: {status}"
