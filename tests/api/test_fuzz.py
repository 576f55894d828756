"""No body, however odd, breaks the server."""

import json
from typing import Any

from contract import GROUP, INSTANCE, PASSWORD, Api
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
