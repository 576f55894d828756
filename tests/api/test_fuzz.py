"""No request, however odd, breaks the server, and all answers are as the OpenAPI document says."""

import dataclasses
import json
from typing import Any

import pytest
import schemathesis
from contract import GROUP, INSTANCE, PASSWORD, Api
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from control_plane.http.rate_limits import RateLimits

KEYS = st.sampled_from(
    [
        *("name", "datastore", "version", "flavor", "volume", "size", "type", "access", "allowed_cidrs"),
        *("labels", "network", "status", "configuration_group", "parameters", "work_mem", "password"),
        *("grants", "privileges", "database", "keys", "channels", "owner", "character_set", "collation"),
        *("manager", "image_tags", "packages", "active", "instances", "ram", "value", "key", "_schema"),
    ]
)
WORDS = st.sampled_from(
    ["postgresql", "18", "db.small", "shop", "app", "ALL", "SELECT", "UTF8", "\0", "on", "1e999"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=12,
)  # fmt: skip
PATHS = {
    "/instances/orders": INSTANCE,
    "/instances/new": INSTANCE,
    "/configuration-groups/new": GROUP,
    "/instances/orders/databases/new": {},
    "/instances/orders/users/new": {"password": PASSWORD},
    "/instances/cache/users/new": {"password": PASSWORD},
    "/datastores/new": {"manager": "valkey"},
    "/datastores/postgresql/versions/new": {},
    "/quotas/project": {},
}


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    path=st.sampled_from(sorted(PATHS)),
    method=st.sampled_from(["PUT", "PUT", "PATCH"]),
    body=st.dictionaries(KEYS, JSON, max_size=4),
    onto=st.booleans(),
)
def test_no_body_breaks_the_server_and_a_refused_one_changes_nothing(
    filled: Api, path: str, method: str, body: dict[str, Any], onto: bool
) -> None:
    before = filled.everything()
    raw = json.dumps(PATHS[path] | body if onto else body).encode()
    answer = filled.admin(method, path, raw=raw)
    assert answer.status_code < 500, answer.json
    if answer.status_code >= 300:
        assert answer.content_type == "application/problem+json"
        assert filled.everything() == before


NAMES = {
    "instance": ["orders", "maria", "cache"],
    "database": ["shop", "new"],
    "user": ["app", "new"],
    "datastore": ["postgresql", "mariadb", "valkey", "new"],
    "version": ["18", "10.11", "9.1"],
    "parameter": ["work_mem", "maxmemory"],
    "flavor": ["db.small"],
    "group": ["tuned", "new"],
    "project": ["project"],
}
"""Of what is there, and of what can be made, by the parameters of the document's paths."""
AS_DOCUMENTED = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def test_every_operation_answers_as_the_document_says(filled: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    unlimited = dict.fromkeys(("rate_reads", "rate_writes", "rate_failed_logins"), "")
    changed = dataclasses.replace(filled.app.extensions["coffret_settings"], **unlimited)
    monkeypatch.setitem(filled.app.extensions, "coffret_rate_limits", RateLimits(changed))
    document = schemathesis.openapi.from_wsgi("/openapi.json", filled.app)
    statuses: set[int] = set()
    for found in document.get_all_operations():
        operation = found.ok()
        modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        cases = st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes])

        @settings(
            max_examples=10,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=cases, data=st.data())
        def ask(case: Any, data: Any) -> None:
            for name in set(case.path_parameters or ()) & set(NAMES):
                drawn = case.path_parameters[name]
                case.path_parameters[name] = data.draw(st.sampled_from([*NAMES[name], drawn]))
            if "timeout" in (case.query or ()):
                case.query["timeout"] = 0
            case.headers["Authorization"] = f"Bearer {filled.admin.token}"
            case.headers.pop("X-Auth-Token", None)
            answer = case.call()
            statuses.add(answer.status_code)
            case.validate_response(answer, checks=AS_DOCUMENTED)

        ask()
    assert statuses >= {200, 202, 204, 404, 422}
