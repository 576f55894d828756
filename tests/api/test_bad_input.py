"""Whatever is wrong with a request is said, with its place and what would be right, and changes nothing."""

import json
from typing import Any

import pytest
from contract import GROUP, INSTANCE, PASSWORD, Api, problem

ORDERS = "/instances/orders"
GRANT = {"database": "shop", "privileges": ["SELECT"]}


def instance(**fields: Any) -> dict[str, Any]:
    return INSTANCE | fields


def user(*grants: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"password": PASSWORD, "grants": list(grants)} | fields


BAD_VALUES: list[tuple[str, Any, str, str]] = [
    # unknown and missing fields
    ("/instances/new", instance(flavour="db.small"), "/flavour", "'flavor'"),
    ("/instances/new", instance(volume={"size": 1, "tpye": "ssd"}), "/volume/tpye", "'type'"),
    ("/instances/new", instance(value=1), "/value", "There is no field"),
    ("/instances/new", {"datastore": "postgresql", "flavor": "db.small"}, "/volume", "required"),
    ("/instances/new", {}, "/flavor", "required"),
    ("/instances/new", instance(**{"a/b~c": 1}), "/a~1b~0c", "There is no field"),
    # what is the server's own
    ("/instances/new", instance(id="x"), "/id", "belongs to the server"),
    ("/instances/new", instance(status={}), "/status", "belongs to the server"),
    ("/instances/new", instance(generation=1), "/generation", "belongs to the server"),
    # types and ranges
    ("/instances/new", instance(flavor=1), "/flavor", "string"),
    ("/instances/new", instance(flavor=None), "/flavor", "null"),
    ("/instances/new", instance(volume="10"), "/volume", "object"),
    ("/instances/new", instance(volume=[]), "/volume", "object"),
    ("/instances/new", instance(volume={"size": "10"}), "/volume/size", "integer"),
    ("/instances/new", instance(volume={"size": True}), "/volume/size", "integer"),
    ("/instances/new", instance(volume={"size": 1.5}), "/volume/size", "integer"),
    ("/instances/new", instance(volume={"size": 0}), "/volume/size", "1"),
    ("/instances/new", instance(volume={"size": -1}), "/volume/size", "1"),
    ("/instances/new", instance(volume={"size": 10**30}), "/volume/size", "65536"),
    ("/instances/new", instance(deletion_protection="true"), "/deletion_protection", "boolean"),
    ("/instances/new", instance(deletion_protection=1), "/deletion_protection", "boolean"),
    ("/instances/new", instance(labels=[]), "/labels", "mapping"),
    ("/instances/new", instance(labels={"a": 1}), "/labels/a", "string"),
    ("/instances/new", instance(labels={"value": 1}), "/labels/value", "string"),
    ("/instances/new", instance(labels={"": "x"}), "/labels/", "1 to 63"),
    ("/instances/new", instance(labels={"a": "x\0"}), "/labels/a", "Control"),
    ("/instances/new", instance(labels={"a": "x" * 256}), "/labels/a", "255"),
    ("/instances/new", instance(labels={f"l{n}": "" for n in range(65)}), "/labels", "64"),
    ("/instances/new", instance(restart_policy="Automatic"), "/restart_policy", "automatic"),
    ("/instances/new", instance(name=5), "/name", "string"),
    ("/instances/new", instance(flavor="x" * 5000), "/flavor", "1024"),
    # what must be there
    ("/instances/new", instance(datastore="postgres"), "/datastore", "'postgresql'"),
    ("/instances/new", instance(version="17"), "/version", "18"),
    ("/instances/new", instance(version=""), "/version", "1 and 255"),
    ("/instances/new", instance(flavor="db.smal"), "/flavor", "'db.small'"),
    ("/instances/new", instance(configuration_group="none"), "/configuration_group", "none"),
    # networks
    (
        "/instances/new",
        instance(access={"allowed_cidrs": ["10.0.0.1/8"]}),
        "/access/allowed_cidrs/0",
        "10.0.0.0/8",
    ),
    (
        "/instances/new",
        instance(access={"allowed_cidrs": ["10.0.0.0"]}),
        "/access/allowed_cidrs/0",
        "10.0.0.0/32",
    ),
    (
        "/instances/new",
        instance(access={"allowed_cidrs": ["10.0.0.0/8", "2001:db8::1/32"]}),
        "/access/allowed_cidrs/1",
        "2001:db8::/32",
    ),
    (
        "/instances/new",
        instance(access={"allowed_cidrs": ["2001:DB8::/32"]}),
        "/access/allowed_cidrs/0",
        "2001:db8::/32",
    ),
    (
        "/instances/new",
        instance(access={"allowed_cidrs": ["10.0.0.0/33"]}),
        "/access/allowed_cidrs/0",
        "192.0.2.0/24",
    ),
    ("/instances/new", instance(access={"allowed_cidrs": [5]}), "/access/allowed_cidrs/0", "string"),
    ("/instances/new", instance(access={"allowed_cidrs": "10.0.0.0/8"}), "/access/allowed_cidrs", "list"),
    ("/instances/new", instance(access=None), "/access", "null"),
    ("/instances/new", instance(network={"ip_address": "10.0.0"}), "/network/ip_address", "10.0.0"),
    # databases
    (f"{ORDERS}/databases/new", {"character_set": "utf8"}, "/character_set", "'UTF8'"),
    (f"{ORDERS}/databases/new", {"collation": "C.UTF8"}, "/collation", "'C.UTF-8'"),
    (f"{ORDERS}/databases/new", {"owner": "ap"}, "/owner", "'app'"),
    (f"{ORDERS}/databases/new", {"owner": 1}, "/owner", "string"),
    (f"{ORDERS}/databases/shop", {"character_set": "LATIN1"}, "/character_set", "make another"),
    (f"{ORDERS}/databases/postgres", {}, "/name", "belongs to postgresql"),
    (f"{ORDERS}/databases/Template1", {}, "/name", "belongs to postgresql"),
    (f"{ORDERS}/databases/{'x' * 64}", {}, "/name", "63 bytes"),
    (f"{ORDERS}/databases/{'%C3%A9' * 32}", {}, "/name", "63 bytes"),
    ("/instances/maria/databases/mysql", {}, "/name", "belongs to mariadb"),
    ("/instances/maria/databases/new", {"owner": "app"}, "/owner", "no owner"),
    (
        "/instances/maria/databases/new",
        {"character_set": "utf8mb4", "collation": "latin1_bin"},
        "/collation",
        "'utf8mb4'",
    ),
    ("/instances/cache/databases/new", {}, "/name", "no named databases"),
    # users
    (f"{ORDERS}/users/new", {}, "/password", "needs a password"),
    (f"{ORDERS}/users/new", {"password": "short"}, "/password", "8 to 128"),
    (f"{ORDERS}/users/new", {"password": "x" * 129}, "/password", "8 to 128"),
    (f"{ORDERS}/users/new", {"password": "with\ttabulator"}, "/password", "printable"),
    (f"{ORDERS}/users/new", user(password=12345678), "/password", "string"),
    (f"{ORDERS}/users/new", user(password_version="1"), "/password_version", "integer"),
    (f"{ORDERS}/users/new", user(password_version=2**31), "/password_version", "2147483647"),
    (f"{ORDERS}/users/pg_me", user(), "/name", "belongs to postgresql"),
    (f"{ORDERS}/users/postgres", user(), "/name", "belongs to postgresql"),
    (f"{ORDERS}/users/app@10.0.0.1", user(), "/name", "no host"),
    ("/instances/maria/users/root", user(), "/name", "belongs to mariadb"),
    ("/instances/maria/users/app@here there", user(), "/name", "not a host"),
    ("/instances/cache/users/default", user(), "/name", "belongs to valkey"),
    ("/instances/cache/users/a b", user(), "/name", "no space"),
    # grants
    (
        f"{ORDERS}/users/new",
        user(GRANT | {"privileges": ["SELECT", "SELCT"]}),
        "/grants/0/privileges",
        "'SELECT'",
    ),
    (
        f"{ORDERS}/users/new",
        user(GRANT | {"privileges": ["ALL", "SELECT"]}),
        "/grants/0/privileges",
        "alone",
    ),
    (f"{ORDERS}/users/new", user(GRANT | {"privileges": []}), "/grants/0/privileges", "Length"),
    (f"{ORDERS}/users/new", user(GRANT | {"privileges": "SELECT"}), "/grants/0/privileges", "list"),
    (f"{ORDERS}/users/new", user(GRANT | {"privileges": [None]}), "/grants/0/privileges/0", "null"),
    (f"{ORDERS}/users/new", user(GRANT, GRANT), "/grants/1", "same place"),
    (f"{ORDERS}/users/new", user(GRANT, GRANT | {"database": "shpo"}), "/grants/1/database", "'shop'"),
    (f"{ORDERS}/users/new", user({"privileges": ["SELECT"]}), "/grants/0/database", "names a database"),
    (f"{ORDERS}/users/new", user(GRANT | {"keys": ["*"]}), "/grants/0/keys", "no keys"),
    (f"{ORDERS}/users/new", user({"databse": "shop"}), "/grants/0/databse", "'database'"),
    (f"{ORDERS}/users/new", {"password": PASSWORD, "grants": {"a": 1}}, "/grants", "list"),
    (
        "/instances/maria/users/new",
        user(GRANT | {"privileges": ["CONNECT"]}),
        "/grants/0/privileges",
        "not a privilege",
    ),
    ("/instances/cache/users/new", user(GRANT), "/grants/0/database", "keys instead"),
    ("/instances/cache/users/new", user({"privileges": ["+get"]}), "/grants/0/keys", "`*`"),
    (
        "/instances/cache/users/new",
        user({"privileges": ["+get", "resetpass"], "keys": ["*"]}),
        "/grants/0/privileges",
        "'resetpass'",
    ),
    (
        "/instances/cache/users/new",
        user({"privileges": ["+get"], "keys": ["a b"]}),
        "/grants/0/keys",
        "space",
    ),
    # configuration groups
    ("/configuration-groups/new", {"datastore": "postgresql", "parameters": []}, "/parameters", "mapping"),
    ("/configuration-groups/new", {"datastore": "oracle"}, "/datastore", "oracle"),
]


@pytest.mark.parametrize(("path", "body", "pointer", "says"), BAD_VALUES)
def test_a_bad_value_is_pointed_at(shared: Api, path: str, body: Any, pointer: str, says: str) -> None:
    with shared.unchanged():
        answer = shared.put(path, body)
    problem(answer, 422, "invalid", pointer, says)


BAD_PARAMETERS: list[tuple[str, str, Any, str]] = [
    ("postgresql", "max_connection", 10, "'max_connections'"),
    ("postgresql", "max_connections", 0, "from 1 to"),
    ("postgresql", "max_connections", "many", "number"),
    ("postgresql", "max_connections", 1.5, "whole number"),
    ("postgresql", "max_connections", "\uff11\uff16", "is a number"),
    ("postgresql", "max_connections", "1e999", "number"),
    ("postgresql", "max_connections", int("9" * 4000), "max_connections"),
    ("postgresql", "work_mem", "8 parsecs", "64MB"),
    ("postgresql", "work_mem", "8mb", "64MB"),
    ("postgresql", "statement_timeout", "5kB", "5s"),
    ("postgresql", "jit", "maybe", "on or off"),
    ("postgresql", "jit", None, "null"),
    ("postgresql", "jit", [True], "string, a number or a boolean"),
    ("postgresql", "wal_level", "logicl", "'logical'"),
    ("postgresql", "port", 5433, "can't be set"),
    ("postgresql", "listen_addresses", "*", "can't be set"),
    ("postgresql", "search_path", "a\nport = 1", "one line"),
    ("postgresql", "search_path", "x" * 5000, "4096"),
    ("mariadb", "max_connections", "lots", "K, M or G"),
    ("mariadb", "max_connection", 5, "'max_connections'"),
    ("valkey", "maxmemory-policy", "lru", "one of"),
    ("valkey", "maxmemory-policies", "lru", "'maxmemory-policy'"),
]


@pytest.mark.parametrize(("datastore", "name", "value", "says"), BAD_PARAMETERS)
def test_a_bad_parameter_is_pointed_at(
    shared: Api, datastore: str, name: str, value: Any, says: str
) -> None:
    with shared.unchanged():
        answer = shared.put(
            "/configuration-groups/new", {"datastore": datastore, "parameters": {name: value}}
        )
    problem(answer, 422, "invalid", f"/parameters/{name}", says)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/instances/new", INSTANCE),
        ("PATCH", ORDERS, {"labels": {"a": "b"}}),
        ("DELETE", ORDERS, None),
        ("POST", f"{ORDERS}/actions", {"type": "restart"}),
    ],
)
def test_a_write_with_a_query_that_it_does_not_know_is_refused(
    shared: Api, method: str, path: str, body: Any
) -> None:
    with shared.unchanged():
        answer = shared(method, f"{path}?dry=true", body)
    problem(answer, 422, "invalid", "?dry", "no query parameter")


def test_every_bad_field_is_named_at_once(shared: Api) -> None:
    wrong = {"jit": "maybe", "max_connection": 1, "a/b": 1, "work_mem": "8MB"}
    found = problem(shared.put("/configuration-groups/new", GROUP | {"parameters": wrong}), 422, "invalid")
    assert [item["pointer"] for item in found["errors"]] == [
        "/parameters/jit", "/parameters/max_connection", "/parameters/a~1b",
    ]  # fmt: skip
    found = problem(shared.put("/instances/new", {"flavor": 1, "volume": {"size": "x"}}), 422, "invalid")
    assert {item["pointer"] for item in found["errors"]} == {"/flavor", "/datastore", "/volume/size"}


BAD_BODIES: list[tuple[bytes, str]] = [
    (b"", "not valid JSON"),
    (b"{", "not valid JSON"),
    (b"{'a': 1}", "not valid JSON"),
    (b'{"a": 1}}', "not valid JSON"),
    (b"\xef\xbb\xbf{}", "not valid JSON"),
    (b'{"flavor": "\xff"}', "not valid JSON"),
    (b'{"flavor": "\\ud800"}', "not valid JSON"),
    (b'{"\\ud800": 1}', "not valid JSON"),
    (b'{"flavor": "a\nb"}', "not valid JSON"),
    (b'{"volume": {"size": NaN}}', "NaN"),
    (b'{"volume": {"size": -Infinity}}', "Infinity"),
    (b'{"volume": {"size": 1e999}}', "out of range"),
    (b'{"volume": {"size": ' + b"9" * 5000 + b"}}", "not valid JSON"),
    (b'{"flavor": "a", "flavor": "b"}', "'flavor' stands twice"),
    (b'{"labels": {"a": "1", "\\u0061": "2"}}', "'a' stands twice"),
    (b"[" * 100_000, "nested"),
    (b'{"a":' * 100_000, "nested"),
    (b'{"labels": ' + b'{"a":' * 500 + b"1" + b"}" * 501, "nested"),
    (b'{"labels": ' + b"[" * 60 + b"]" * 60 + b"}", "nested"),
    (b"[]", "must be a JSON object"),
    (b"null", "must be a JSON object"),
    (b'"text"', "must be a JSON object"),
    (b"1", "must be a JSON object"),
]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_what_is_no_json_object_is_refused(shared: Api, method: str) -> None:
    with shared.unchanged():
        for raw, says in BAD_BODIES:
            problem(shared(method, ORDERS, raw=raw), 400, "bad_request", says=says)
            problem(shared("POST", f"{ORDERS}/actions", raw=raw), 400, "bad_request", says=says)


def test_a_body_of_ten_megabytes_is_refused(shared: Api) -> None:
    raw = b'{"flavor": "' + b"x" * 10_000_000 + b'"}'
    with shared.unchanged():
        for method in ("PUT", "PATCH"):
            problem(shared(method, ORDERS, raw=raw), 413, "body_too_large")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
def test_another_content_type_is_refused(shared: Api, kind: str) -> None:
    with shared.unchanged():
        for method in ("PUT", "PATCH"):
            answer = shared(method, ORDERS, raw=b"{}", Content_Type=kind)
            problem(answer, 415, "unsupported_media_type", says="application/json")


def test_a_body_with_many_thousand_unknown_fields_is_answered_quickly(shared: Api) -> None:
    raw = json.dumps({f"f{number}": 1 for number in range(40_000)}).encode()
    answer = shared("PUT", ORDERS, raw=raw)
    problem(answer, 422, "invalid")
    assert len(answer.data) < 100_000
    wrong = {f"parameter_{number}": 1 for number in range(1000)}
    answer = shared.put("/configuration-groups/new", GROUP | {"parameters": wrong})
    problem(answer, 422, "invalid", "/parameters/parameter_0")
    assert len(answer.data) < 100_000


BAD_QUERIES = [
    ("/instances?limt=5", "?limt", "'limit'"),
    ("/instances?limit=0", "?limit", "1 to 1000"),
    ("/instances?limit=1001", "?limit", "1 to 1000"),
    ("/instances?limit=-1", "?limit", "1 to 1000"),
    ("/instances?limit=ten", "?limit", "1 to 1000"),
    ("/instances?limit=%D9%A3", "?limit", "1 to 1000"),
    ("/instances?limit=00000000100000000000", "?limit", "1 to 1000"),
    ("/instances?limit=", "?limit", "1 to 1000"),
    ("/instances?label=team", "?label", "name=value"),
    ("/instances?label=a%22b=c", "?label", "1 to 63"),
    ("/instances?label=%00=c", "?label", "1 to 63"),
    ("/instances?label==c", "?label", "1 to 63"),
    ("/instances/orders?wait_for=done", "?wait_for", "`ready`"),
    ("/instances/orders?wait_for=ready&timeout=soon", "?timeout", "0 to 60"),
    ("/instances/orders?wait_for=ready&timeout=61", "?timeout", "0 to 60"),
    ("/instances/orders?wait_for=ready&timeout=-1", "?timeout", "0 to 60"),
    ("/instances/orders?wait_for=ready&timeout=nan", "?timeout", "0 to 60"),
    ("/instances/orders?include=backups", "?include", "databases, users"),
    ("/instances/orders/databases/shop?include=users", "?include", "wait_for"),
    ("/events?marker=newest", "?marker", "event's id"),
    ("/events?marker=99999999999999999999999", "?marker", "event's id"),
    ("/flavors?min_ram=much", "?min_ram", "whole number"),
    ("/flavors?min_ram=-1", "?min_ram", "whole number"),
    ("/datastores/postgresql/versions/18/parameters?settable=maybe", "?settable", "true nor false"),
    ("/datastores/postgresql?limit=1", "?limit", "None is known"),
]


def test_a_bad_query_is_pointed_at(shared: Api) -> None:
    for path, pointer, says in BAD_QUERIES:
        problem(shared.get(path), 422, "invalid", pointer, says)


@pytest.mark.parametrize(
    "path",
    [
        "/instances?label=a.b/c-d_e=%00",
        "/instances?marker=%00",
        "/instances?marker=%ED%A0%80",
        "/instances?name=%FF&status=%00&datastore='",
        "/instances/orders/databases?marker=%F0%9F%92%A9",
        "/configuration-groups?marker=%00&name=%27%22",
        "/events?instance=orders&kind=%00",
    ],
)
def test_odd_filters_find_nothing(shared: Api, path: str) -> None:
    answer = shared.get(path)
    assert answer.status_code == 200, answer.json


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/instances/", 404, "not_found"),
        ("GET", "//instances", 404, "not_found"),
        ("GET", "/instances//orders", 404, "not_found"),
        ("GET", "/instances/a%2Fb", 404, "not_found"),
        ("GET", "/instances/a%00b", 404, "not_found"),
        ("GET", "/instances/%FF", 404, "not_found"),
        ("GET", "/instances/" + "x" * 20_000, 404, "not_found"),
        ("GET", "/instances/none/databases", 404, "not_found"),
        ("PUT", "/instances/none/databases/a", 404, "not_found"),
        ("DELETE", "/instances/none/users/a", 404, "not_found"),
        ("GET", "/instances/orders/databases/none", 404, "not_found"),
        ("GET", "/instances/orders/users/none", 404, "not_found"),
        ("GET", "/instances/orders/actions/none", 404, "not_found"),
        ("GET", "/configuration-groups/none", 404, "not_found"),
        ("GET", "/datastores/none", 404, "not_found"),
        ("GET", "/datastores/none/versions", 404, "not_found"),
        ("GET", "/datastores/postgresql/versions/none", 404, "not_found"),
        ("GET", "/datastores/postgresql/versions/18/parameters/none", 404, "not_found"),
        ("GET", "/flavors/none", 404, "not_found"),
        ("DELETE", "/instances", 405, "method_not_allowed"),
        ("PUT", "/flavors/db.small", 405, "method_not_allowed"),
        ("BREW", "/instances", 405, "method_not_allowed"),
    ],
)
def test_what_there_is_not_is_a_problem(
    shared: Api, method: str, path: str, status: int, code: str
) -> None:
    with shared.unchanged():
        answer = shared(method, path, {})
    problem(answer, status, code)
    assert ("Allow" in answer.headers) == (status == 405)


def test_the_nearest_name_is_offered(shared: Api) -> None:
    for path, near in (
        ("/instances/order", "'orders'"),
        ("/instances/orders/databases/sho", "'shop'"),
        ("/instances/orders/users/apps", "'app'"),
        ("/datastores/postgres", "'postgresql'"),
        ("/datastores/postgresql/versions/18/parameters/work_men", "'work_mem'"),
        ("/flavors/db.smal", "'db.small'"),
    ):
        problem(shared.get(path), 404, "not_found", says=near)


def test_a_request_keeps_its_id_unless_it_is_odd(shared: Api) -> None:
    assert shared.get("/instances", X_Request_Id="mine-1").headers["X-Request-Id"] == "mine-1"
    assert (
        problem(shared.get("/nothing", X_Request_Id="mine-2"), 404, "not_found")["request_id"] == "mine-2"
    )
    assert shared.get("/instances", X_Request_Id="x" * 65).headers["X-Request-Id"].startswith("req-")
