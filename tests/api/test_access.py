"""Who may do what: tokens, roles, projects and quotas."""

import time
from datetime import timedelta
from typing import Any

import pytest
from contract import GROUP, INSTANCE, Api, Caller, problem
from foreign import body, located, operations, own, refused_everywhere, seen, sent_by

from control_plane.auth import Role, tokens

ADMINS = ("/v1/datastores/", "/v1/quotas/", "/v1/tokens")
ACTS = ("PUT", "PATCH", "POST", "DELETE")


@pytest.fixture
def document(api: Api) -> Any:
    return api.app.test_client().get("/openapi.json").json


@pytest.fixture
def known(api: Api) -> tuple[dict[str, str], dict[str, str]]:
    """A project with one of everything, by the names of the paths' parameters: by name, and by id."""
    found = own(sent_by(api), "project")
    api.work()
    return found


def call(caller: Caller, method: str, template: str, names: dict[str, str]) -> Any:
    return caller(method, located(template, names).removeprefix("/v1"), body(method, template))


def test_a_reader_reads_all_and_writes_nothing(api: Api, document: Any, known: Any) -> None:
    with api.unchanged():
        for method, template in operations(document):
            answer = call(api.reader, method, template, known[0])
            if method == "GET" and not template.startswith("/v1/tokens"):
                assert answer.status_code == 200, (template, answer.json)
            else:
                problem(answer, 403, "forbidden", says="needs the role")


def test_a_member_does_not_touch_what_is_the_operators(api: Api, document: Any, known: Any) -> None:
    with api.unchanged():
        for method, template in operations(document):
            if template.startswith(ADMINS) and (method in ACTS or "tokens" in template):
                answer = call(api, method, template, known[0])
                problem(answer, 403, "forbidden", says="needs the role admin (rule 'coffret:")


def test_another_project_sees_and_touches_nothing(api: Api, document: Any, known: Any) -> None:
    names, ids = known
    before = seen(document, sent_by(api), ids)
    assert list(refused_everywhere(document, sent_by(api.stranger), names, ids)) == []
    assert seen(document, sent_by(api), ids) == before
    problem(api.stranger.get(f"/events?instance={ids['instance']}"), 404, "not_found")


def test_another_projects_names_are_free(api: Api, known: Any) -> None:
    before = api.everything()
    theirs = api.stranger.made("/instances/ledger", INSTANCE)
    assert theirs["id"] != api.get("/instances/ledger").json["id"]  # type: ignore[index]
    api.stranger.made("/configuration-groups/tuned", GROUP)
    assert api.stranger.names("/instances") == ["ledger"]
    assert api.stranger.delete("/instances/ledger").status_code == 202
    assert api.get("/instances/ledger").status_code == 200
    assert len(api.everything()["instances"]) == len(before["instances"]) + 1


def test_another_projects_group_cannot_be_attached(api: Api, known: Any) -> None:
    for key in ("tuned", api.get("/configuration-groups/tuned").json["id"]):  # type: ignore[index]
        wanted = INSTANCE | {"configuration_group": key}
        problem(api.stranger.put("/instances/mine", wanted), 422, "invalid", "/configuration_group")


def test_another_projects_names_are_not_offered(api: Api, known: Any) -> None:
    for path in ("/instances/ledge", "/configuration-groups/tune"):
        assert "Did you mean" not in problem(api.stranger.get(path), 404, "not_found")["detail"]


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer .",
        "Bearer cfrt_.",
        "Bearer nonsense",
        "Basic dXNlcjpwYXNz",
        "Token cfrt_a.b",
        "Bearer cfrt_00000000-0000-0000-0000-000000000000.secret",
        "Bearer \xe9.\xff",
        "Bearer " + "x" * 10_000 + ".y",
        "Bearer ' OR 1=1 --.x",
    ],
)
def test_without_a_valid_token_nothing_is_shown(api: Api, authorization: str) -> None:
    for path in ("/instances", "/nothing", "/tokens"):
        answer = api.get(path, Authorization=authorization)
        problem(answer, 401, "unauthenticated", says="Authorization: Bearer")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_token_of_keystone_is_refused_where_it_is_not_asked(api: Api) -> None:
    for more in ({}, {"Authorization": ""}):
        answer = api.get("/instances", X_Auth_Token="gAAAAABn", **more)
        problem(answer, 401, "unauthenticated", says="COFFRET_AUTH=tokens")


def test_a_token_works_with_its_own_secret_only(api: Api) -> None:
    for wrong in (api.token[:-1], api.token + "x", api.token.partition(".")[0] + "."):
        problem(api.get("/instances", Authorization=f"Bearer {wrong}"), 401, "unauthenticated")
    assert api.get("/instances", Authorization=f"bearer {api.token}").status_code == 200


def test_a_token_ends_when_it_expires(api: Api) -> None:
    with api.app.app_context():
        _, past = tokens.create("old", "project", Role.MEMBER, timedelta(seconds=-1))
        _, soon = tokens.create("brief", "project", Role.MEMBER, timedelta(seconds=0.5))
    problem(api.get("/instances", Authorization=f"Bearer {past}"), 401, "unauthenticated", says="expired")
    assert api.get("/instances", Authorization=f"Bearer {soon}").status_code == 200
    time.sleep(0.6)
    problem(api.get("/instances", Authorization=f"Bearer {soon}"), 401, "unauthenticated", says="expired")


def test_an_admin_makes_lists_and_revokes_tokens(api: Api) -> None:
    made = api.admin.post("/tokens", {"name": "ci", "project_id": "elsewhere", "role": "reader"})
    assert made.status_code == 201
    assert made.json is not None
    reader = Caller(api.app, made.json["token"])
    assert reader.get("/instances").status_code == 200
    problem(reader.put("/instances/x", INSTANCE), 403, "forbidden")
    listed = api.admin.get("/tokens")
    assert "ci" in [item["name"] for item in listed.json["items"]]  # type: ignore[index]
    secret = made.json["token"].partition(".")[2]
    assert secret not in listed.text
    assert secret not in str(api.everything())
    assert api.admin.delete(f"/tokens/{made.json['id']}").status_code == 204
    problem(reader.get("/instances"), 401, "unauthenticated")
    assert api.admin.delete(f"/tokens/{made.json['id']}").status_code == 204


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"role": "root"}, "/role"),
        ({"project_id": "a b"}, "/project_id"),
        ({"project_id": "x" * 65}, "/project_id"),
        ({"expires_in": 0}, "/expires_in"),
        ({"expires_in": 10**12}, "/expires_in"),
        ({"name": ""}, "/name"),
    ],
)
def test_a_wrong_token_is_not_made(api: Api, fields: dict[str, Any], pointer: str) -> None:
    with api.unchanged():
        answer = api.admin.post("/tokens", {"name": "ci", "project_id": "project"} | fields)
    problem(answer, 422, "invalid", pointer)


def test_only_an_admin_sees_another_projects_quota(api: Api) -> None:
    assert api.get("/quotas/project").status_code == 200
    problem(api.get("/quotas/elsewhere"), 403, "forbidden")
    assert api.admin.get("/quotas/elsewhere").status_code == 200


def test_quotas_are_of_projects_that_can_be(api: Api) -> None:
    with api.unchanged():
        for project in ("a%20b", "x" * 65, "%00"):
            problem(api.admin.put(f"/quotas/{project}", {}), 422, "invalid")
        problem(api.admin.put("/quotas/project", {"instances": -1}), 422, "invalid", "/instances")
        problem(api.admin.put("/quotas/project", {"disk": 1}), 422, "invalid", "/disk")


@pytest.mark.parametrize(
    ("resource", "limit", "small", "big"),
    [
        ("instances", 1, {}, None),
        ("volume_size", 15, {"volume": {"size": 10}}, {"volume": {"size": 16}}),
        ("ram", 1536, {"flavor": "db.small"}, {"flavor": "db.medium"}),
    ],
)
def test_a_quota_holds_for_new_and_for_grown_instances(
    api: Api, resource: str, limit: int, small: dict[str, Any], big: dict[str, Any] | None
) -> None:
    api.admin.put("/quotas/project", {resource: limit})
    api.instance("one", **small)
    attempts = [("two", small)] if big is None else [("two", small), ("one", big)]
    for name, fields in attempts:
        with api.unchanged():
            found = problem(api.put(f"/instances/{name}", INSTANCE | fields), 403, "quota_exceeded")
        assert (found["resource"], found["limit"]) == (resource, limit)
        assert found["used"] + found["asked"] > limit
    assert api.stranger.put("/instances/two", INSTANCE).status_code == 202
    api.admin.put("/quotas/project", {resource: limit * 3})
    for name, fields in attempts:
        assert api.put(f"/instances/{name}", INSTANCE | fields).status_code == 202


def test_a_project_over_its_quota_can_still_change_what_it_has(api: Api) -> None:
    api.instance()
    api.admin.put("/quotas/project", {"instances": 0, "volume_size": 0, "ram": 0})
    assert api.patch("/instances/orders", {"labels": {"a": "b"}}).status_code == 202
    assert api.patch("/instances/orders", {"flavor": "db.tiny"}).status_code == 202
    problem(api.patch("/instances/orders", {"flavor": "db.medium"}), 403, "quota_exceeded")


def test_a_quota_shows_what_is_used_and_what_holds(api: Api) -> None:
    api.instance(volume={"size": 7})
    assert api.admin.put("/quotas/project", {"ram": 4096}).status_code == 201
    status = api.get("/quotas/project").json["status"]  # type: ignore[index]
    assert status["usage"] == {"instances": 1, "volume_size": 7, "ram": 1024}
    assert status["limits"] == {"instances": 100, "volume_size": 10_000, "ram": 4096}
    api.admin.put("/quotas/project", {})
    assert api.get("/quotas/project").json["status"]["limits"]["ram"] == 1_048_576  # type: ignore[index]
