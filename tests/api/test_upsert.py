"""PUT as an idempotent upsert, merge-patch, preconditions, deletes: the same for every resource."""

from typing import Any

import pytest
from contract import GROUP, INSTANCE, PASSWORD, Api, Caller, problem
from sqlalchemy import select

from control_plane.database import db
from control_plane.users.models import User

USER = {"password": PASSWORD, "grants": [{"database": "shop", "privileges": ["SELECT"]}]}
RESOURCES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "datastore": (
        "/datastores/cockroach",
        {"manager": "postgresql"},
        {"manager": "postgresql", "description": "Another"},
    ),
    "version": ("/datastores/postgresql/versions/18.1", {"packages": ["a"]}, {"packages": ["b"]}),
    "group": ("/configuration-groups/tuned", GROUP, GROUP | {"description": "Tuned"}),
    "instance": ("/instances/billing", INSTANCE, INSTANCE | {"flavor": "db.medium"}),
    "database": ("/instances/orders/databases/sales", {}, {"owner": "app"}),
    "user": (
        "/instances/orders/users/clerk",
        USER,
        USER | {"grants": [{"database": "shop", "privileges": ["ALL"]}]},
    ),
    "quota": ("/quotas/project", {"instances": 5}, {"instances": 6}),
}
LATER = {"instance", "database", "user"}


@pytest.fixture
def api(filled: Api) -> Api:
    """With the instance `orders`, its database `shop` and its user `app`, among others."""
    return filled


@pytest.fixture
def caller(api: Api) -> Caller:
    """An admin of that project."""
    return api.admin


every = pytest.mark.parametrize("kind", RESOURCES)
deletable = pytest.mark.parametrize("kind", [kind for kind in RESOURCES if kind != "quota"])


@every
def test_a_put_makes_what_is_not_there(caller: Caller, kind: str) -> None:
    path, body, _ = RESOURCES[kind]
    made = caller.put(path, body)
    assert made.status_code == (202 if kind in LATER else 201), made.json
    assert made.headers["Location"] == f"/v1{path}"
    shown = caller.get(path)
    assert shown.status_code == 200
    assert shown.headers["ETag"] == made.headers["ETag"]


@every
def test_the_same_put_again_changes_nothing(api: Api, caller: Caller, kind: str) -> None:
    path, body, _ = RESOURCES[kind]
    made = caller.put(path, body)
    with api.unchanged():
        again = caller.put(path, body)
    assert again.status_code == 200
    assert again.headers["ETag"] == made.headers["ETag"]
    assert again.json == made.json
    assert "Location" not in again.headers


@every
def test_a_put_of_something_else_changes_it_and_its_etag(caller: Caller, kind: str) -> None:
    path, body, other = RESOURCES[kind]
    made = caller.put(path, body)
    changed = caller.put(path, other)
    assert changed.status_code == (202 if kind in LATER else 200), changed.json
    assert changed.headers["ETag"] != made.headers["ETag"]
    if kind != "quota":
        assert changed.json["id"] == made.json["id"]
        assert changed.json["generation"] == made.json["generation"] + 1


@every
def test_if_none_match_makes_a_put_create_only(api: Api, caller: Caller, kind: str) -> None:
    path, body, other = RESOURCES[kind]
    made = caller.put(path, body, If_None_Match="*")
    assert made.status_code in (201, 202)
    with api.unchanged():
        refused = caller.put(path, other, If_None_Match="*")
    found = problem(refused, 412, "precondition_failed")
    if kind != "quota":
        assert found["id"] == made.json["id"]


@every
def test_if_match_guards_a_put(api: Api, caller: Caller, kind: str) -> None:
    path, body, other = RESOURCES[kind]
    with api.unchanged():
        problem(caller.put(path, body, If_Match="*"), 412, "precondition_failed")
    first = caller.put(path, body).headers["ETag"]
    second = caller.put(path, other, If_Match=first)
    assert second.status_code in (200, 202), second.json
    with api.unchanged():
        refused = problem(caller.put(path, body, If_Match=first), 412, "precondition_failed")
    assert refused["etag"] == second.headers["ETag"]
    assert caller.put(path, body, If_Match=f'"other", {refused["etag"]}').status_code in (200, 202)


@deletable
def test_if_match_guards_a_delete(api: Api, caller: Caller, kind: str) -> None:
    path, body, _ = RESOURCES[kind]
    etag = caller.put(path, body).headers["ETag"]
    with api.unchanged():
        problem(caller.delete(path, If_Match='"other"'), 412, "precondition_failed")
    assert caller.delete(path, If_Match=etag).status_code in (202, 204)


@deletable
def test_a_delete_is_repeatable_until_nothing_is_left(api: Api, caller: Caller, kind: str) -> None:
    path, body, _ = RESOURCES[kind]
    caller.made(path, body)
    api.work()
    first = caller.delete(path)
    assert first.status_code == (202 if kind in LATER else 204)
    if kind in LATER:
        assert first.json is not None
        assert first.json["status"]["phase"] == "SHUTDOWN"
        assert not first.json["status"]["ready"]
        with api.unchanged():
            assert caller.delete(path).status_code == 202
        api.work()
    problem(caller.get(path), 404, "not_found")
    with api.unchanged():
        assert caller.delete(path).status_code == 204


@pytest.mark.parametrize("kind", sorted(LATER))
def test_a_name_that_is_being_deleted_is_not_free_yet(api: Api, caller: Caller, kind: str) -> None:
    path, body, other = RESOURCES[kind]
    old = caller.made(path, body)
    api.work()
    caller.delete(path)
    for wanted in (body, other):
        with api.unchanged():
            refused = caller.put(path, wanted)
        problem(refused, 409, "conflict", says="being deleted")
        assert int(refused.headers["Retry-After"]) > 0
    api.work()
    new = caller.put(path, body)
    assert new.status_code == 202
    assert new.json is not None
    assert new.json["id"] != old["id"]
    assert new.json["generation"] == 1


def test_an_instance_that_goes_can_be_followed_by_a_smaller_one(api: Api, caller: Caller) -> None:
    caller.delete("/instances/orders")
    smaller = INSTANCE | {"volume": {"size": 1}, "datastore": "valkey"}
    refused = caller.put("/instances/orders", smaller)
    problem(refused, 409, "conflict")
    assert refused.headers["Retry-After"]
    api.work()
    assert caller.put("/instances/orders", smaller).status_code == 202


def test_a_user_that_goes_can_be_followed_by_one_of_other_grants(api: Api, caller: Caller) -> None:
    caller.delete("/instances/orders/users/app")
    caller.delete("/instances/orders/databases/shop")
    problem(caller.put("/instances/orders/users/app", {"grants": []}), 409, "conflict")


@deletable
def test_an_id_is_accepted_wherever_a_name_is(api: Api, caller: Caller, kind: str) -> None:
    path, body, other = RESOURCES[kind]
    made = caller.made(path, body)
    by_id = f"{path.rpartition('/')[0]}/{made['id']}"
    with api.unchanged():
        assert caller.put(by_id, body).status_code == 200
        assert caller.get(by_id).json == caller.get(path).json
    changed = caller.put(by_id, other)
    assert changed.status_code in (200, 202), changed.json
    assert changed.json is not None
    assert changed.json["name"] == made["name"]
    assert caller.patch(by_id, {}).status_code == 200
    assert caller.delete(by_id).status_code in (202, 204)


def test_what_is_inside_an_instance_is_found_by_the_instances_id(api: Api, caller: Caller) -> None:
    instance_id = caller.get("/instances/orders").json["id"]  # type: ignore[index]
    for path in ("databases/shop", "users/app", "actions"):
        found = caller.get(f"/instances/{instance_id}/{path}")
        assert found.json == caller.get(f"/instances/orders/{path}").json
    assert caller.put(f"/instances/{instance_id}/databases/more", {}).status_code == 202


@deletable
def test_a_name_must_be_one(api: Api, caller: Caller, kind: str) -> None:
    path, body, _ = RESOURCES[kind]
    parent = path.rpartition("/")[0]
    with api.unchanged():
        for name in ("0f8fad5b-d9cd-469f-a165-70867728950e", "0F8FAD5B-D9CD-469F-A165-70867728950E"):
            problem(caller.put(f"{parent}/{name}", body), 422, "invalid", "/name", "UUID")
        for name in ("a%0Ab", "a%00b", "%C3%A9" * 300, "%20"):
            problem(caller.put(f"{parent}/{name}", body), 422, "invalid", "/name")


@pytest.mark.parametrize("kind", ["datastore", "version", "group", "instance"])
def test_resources_have_plain_names(api: Api, caller: Caller, kind: str) -> None:
    path, body, _ = RESOURCES[kind]
    parent = path.rpartition("/")[0]
    with api.unchanged():
        for name in ("a b", "-a", ".a", "a" * 256, "\u00e4", "a\\b", "a'b"):
            problem(caller.put(f"{parent}/{name}", body), 422, "invalid", "/name")
            problem(caller.put(path, body | {"name": name}), 422, "invalid", "/name")


@deletable
def test_the_body_may_repeat_the_name_but_not_name_another(api: Api, caller: Caller, kind: str) -> None:
    path, body, _ = RESOURCES[kind]
    with api.unchanged():
        problem(caller.put(path, body | {"name": "different"}), 422, "invalid", "/name")
    assert caller.put(path, body | {"name": path.rpartition("/")[2]}).status_code in (201, 202)


@pytest.mark.parametrize("kind", ["datastore", "version", "database", "user"])
def test_some_keep_their_name(api: Api, caller: Caller, kind: str) -> None:
    path, body, _ = RESOURCES[kind]
    caller.made(path, body)
    with api.unchanged():
        problem(caller.put(path, body | {"name": "different"}), 422, "invalid", "/name", "keeps its name")
        problem(caller.patch(path, {"name": "different"}), 422, "invalid", "/name", "keeps its name")


@pytest.mark.parametrize("kind", ["instance", "group"])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_instances_and_groups_can_be_renamed(caller: Caller, kind: str, method: str) -> None:
    path, body, _ = RESOURCES[kind]
    made = caller.made(path, body)
    parent = path.rpartition("/")[0]
    renamed = caller(method, path, (body if method == "PUT" else {}) | {"name": "renamed"})
    assert renamed.status_code in (200, 202), renamed.json
    assert renamed.json is not None
    assert renamed.json["id"] == made["id"]
    problem(caller.get(path), 404, "not_found")
    assert caller.get(f"{parent}/renamed").json["id"] == made["id"]  # type: ignore[index]
    caller.made(path, body)
    problem(caller.patch(path, {"name": "renamed"}), 422, "invalid", "/name", "renamed")


def test_an_instance_shows_the_new_name_of_its_group(caller: Caller) -> None:
    caller.made("/configuration-groups/tuned", GROUP)
    caller.patch("/instances/orders", {"configuration_group": "tuned"})
    assert caller.get("/instances/orders").json["configuration_group"] == "tuned"  # type: ignore[index]
    caller.patch("/configuration-groups/tuned", {"name": "retuned"})
    for shown in (
        caller.get("/instances/orders").json,
        caller.get("/instances?name=orders").json["items"][0],
    ):  # type: ignore[index]
        assert shown is not None
        assert shown["configuration_group"] == "retuned"


@deletable
def test_an_empty_patch_changes_nothing(api: Api, caller: Caller, kind: str) -> None:
    path, body, _ = RESOURCES[kind]
    made = caller.made(path, body)
    with api.unchanged():
        same = caller.patch(path, {}, Content_Type="application/merge-patch+json")
    assert same.status_code == 200
    assert same.json is not None
    assert same.json["generation"] == made["generation"]


@deletable
def test_what_is_not_there_cannot_be_patched(api: Api, caller: Caller, kind: str) -> None:
    with api.unchanged():
        problem(caller.patch(RESOURCES[kind][0], {}), 404, "not_found")


@deletable
def test_if_match_guards_a_patch(api: Api, caller: Caller, kind: str) -> None:
    path, body, _ = RESOURCES[kind]
    caller.made(path, body)
    with api.unchanged():
        problem(caller.patch(path, {}, If_Match='"other"'), 412, "precondition_failed")


def test_null_in_a_patch_brings_back_the_default(caller: Caller) -> None:
    full = INSTANCE | {
        "restart_policy": "automatic",
        "deletion_protection": True,
        "labels": {"team": "a", "tier": "b"},
        "access": {"is_public": True, "allowed_cidrs": ["10.0.0.0/8"]},
    }
    caller.made("/instances/billing", full)
    nulls = {"restart_policy": None, "deletion_protection": None, "access": None, "labels": None}
    shown = caller.patch("/instances/billing", nulls).json
    assert shown is not None
    assert shown["restart_policy"] == "manual"
    assert shown["deletion_protection"] is False
    assert shown["labels"] == {}
    assert shown["access"] == {"is_public": False, "allowed_cidrs": None}


def test_a_patch_goes_into_objects_and_replaces_arrays(caller: Caller) -> None:
    access = {"is_public": True, "allowed_cidrs": ["10.0.0.0/8", "192.0.2.0/24"]}
    caller.made("/instances/billing", INSTANCE | {"labels": {"team": "a", "tier": "b"}, "access": access})
    shown = caller.patch(
        "/instances/billing",
        {
            "labels": {"team": None, "env": "test"},
            "access": {"allowed_cidrs": ["198.51.100.0/24"]},
            "volume": {"size": 20},
        },
    ).json
    assert shown is not None
    assert shown["labels"] == {"tier": "b", "env": "test"}
    assert shown["access"] == {"is_public": True, "allowed_cidrs": ["198.51.100.0/24"]}
    assert shown["volume"] == {"size": 20, "type": None}
    assert shown["flavor"] == INSTANCE["flavor"]


def test_a_patch_that_takes_away_what_is_needed_is_refused(api: Api, caller: Caller) -> None:
    with api.unchanged():
        problem(caller.patch("/instances/orders", {"flavor": None}), 422, "invalid", "/flavor")
        problem(
            caller.patch("/instances/orders", {"volume": {"size": None}}), 422, "invalid", "/volume/size"
        )


def test_a_patch_of_a_groups_parameters_keeps_the_others(caller: Caller) -> None:
    path = "/configuration-groups/tuned"
    caller.made(path, GROUP | {"parameters": {"work_mem": "8MB", "max_connections": 50}})
    shown = caller.patch(path, {"parameters": {"work_mem": None, "jit": False}}).json
    assert shown is not None
    assert shown["parameters"] == {"max_connections": 50, "jit": False}


def test_a_patch_of_a_user_keeps_its_password(api: Api, caller: Caller) -> None:
    before = _verifier(api)
    assert caller.patch("/instances/orders/users/app", {"grants": []}).status_code == 202
    assert caller.patch("/instances/orders/users/app", {"password": None}).status_code == 200
    assert _verifier(api) == before
    changed = caller.patch("/instances/orders/users/app", {"password": "another password"})
    assert changed.status_code == 202
    assert _verifier(api) != before


def _verifier(api: Api) -> str:
    with api.app.app_context():
        return db.session.scalars(select(User.verifier).filter_by(name="app")).one()


@pytest.mark.parametrize("datastore", ["postgresql", "mariadb", "valkey"])
def test_a_password_that_fits_is_no_change(api: Api, datastore: str) -> None:
    api.instance("new", datastore=datastore)
    path = "/instances/new/users/app"
    made = api.made(path, {"password": PASSWORD})
    with api.unchanged():
        assert api.put(path, {"password": PASSWORD}).status_code == 200
        assert api.put(path, {}).status_code == 200
        assert api.patch(path, {"password": PASSWORD}).status_code == 200
    changed = api.put(path, {"password": PASSWORD + "!"})
    assert changed.status_code == 202
    assert changed.json is not None
    assert changed.json["generation"] == made["generation"] + 1
    assert PASSWORD not in str(api.everything())
    assert "password" not in changed.json


def test_a_new_password_version_alone_is_a_change(caller: Caller) -> None:
    changed = caller.patch("/instances/orders/users/app", {"password_version": 2})
    assert changed.status_code == 202
    assert changed.json is not None
    assert changed.json["password_version"] == 2


@pytest.mark.parametrize(
    ("kind", "body", "same"),
    [
        ("instance", {"network": None}, {"network": {}}),
        (
            "instance",
            {"access": {"allowed_cidrs": ["10.0.0.0/8", "192.0.2.0/24"]}},
            {"access": {"allowed_cidrs": ["192.0.2.0/24", "10.0.0.0/8", "10.0.0.0/8"]}},
        ),
        ("instance", {"labels": {"a": "1", "b": "2"}}, {"labels": {"b": "2", "a": "1"}}),
        ("instance", {"access": {"is_public": False}}, {}),
        ("instance", {"volume": {"size": 10, "type": None}}, {}),
        (
            "user",
            {
                "grants": [
                    {"database": "shop", "privileges": ["SELECT", "INSERT"]},
                    {"database": "sales", "privileges": ["ALL"]},
                ]
            },
            {
                "grants": [
                    {"database": "sales", "privileges": ["all"], "keys": []},
                    {"database": "shop", "privileges": ["insert", "SELECT", "insert"]},
                ]
            },
        ),
    ],
)
def test_another_notation_is_no_change(
    api: Api, caller: Caller, kind: str, body: dict[str, Any], same: dict[str, Any]
) -> None:
    caller.made("/instances/orders/databases/sales", {})
    path, base, _ = RESOURCES[kind]
    caller.made(path, base | body)
    with api.unchanged():
        again = caller.put(path, base | same)
    assert again.status_code == 200, again.json


def test_the_order_of_acl_grants_is_no_change(api: Api) -> None:
    one = {"privileges": ["+get"], "channels": ["a"]}
    other = {"privileges": ["+@read", "+set"], "channels": ["b"]}
    api.made("/instances/cache/users/app", {"password": PASSWORD, "grants": [one, other]})
    with api.unchanged():
        again = api.put("/instances/cache/users/app", {"grants": [other, one]})
    assert again.status_code == 200


def test_a_user_of_any_host_has_two_spellings(api: Api) -> None:
    api.made("/instances/maria/users/app", {"password": PASSWORD})
    with api.unchanged():
        assert api.put("/instances/maria/users/app@%25", {"name": "app"}).status_code == 200
        assert api.put("/instances/maria/users/app", {"name": "app@%"}).status_code == 200
    assert api.put("/instances/maria/users/app@10.0.0.%25", {"password": PASSWORD}).status_code == 202
    assert api.names("/instances/maria/users") == ["app", "app@10.0.0.%"]


def test_a_value_in_another_notation_does_not_disturb_the_engines(api: Api, caller: Caller) -> None:
    caller.made("/configuration-groups/tuned", GROUP | {"parameters": {"work_mem": "1GB", "jit": True}})
    caller.patch("/instances/orders", {"configuration_group": "tuned"})
    api.work()
    before = api.everything()["instances"]
    changed = caller.patch(
        "/configuration-groups/tuned", {"parameters": {"work_mem": "1024MB", "jit": "on"}}
    )
    assert changed.json is not None
    assert changed.json["parameters"] == {"work_mem": "1024MB", "jit": "on"}
    assert api.everything()["instances"] == before
    caller.patch("/configuration-groups/tuned", {"parameters": {"jit": "off"}})
    assert api.everything()["instances"] != before


def test_a_protected_instance_is_not_deleted(api: Api, caller: Caller) -> None:
    caller.patch("/instances/orders", {"deletion_protection": True})
    with api.unchanged():
        problem(caller.delete("/instances/orders"), 409, "deletion_protected", says="deletion_protection")
    caller.patch("/instances/orders", {"deletion_protection": False})
    assert caller.delete("/instances/orders").status_code == 202


def test_what_is_in_use_is_not_deleted(api: Api, caller: Caller) -> None:
    caller.made("/configuration-groups/tuned", GROUP)
    caller.patch("/instances/orders", {"configuration_group": "tuned"})
    caller.made("/instances/orders/databases/sales", {"owner": "app"})
    with api.unchanged():
        for path, user in (
            ("/configuration-groups/tuned", "orders"),
            ("/datastores/postgresql", "18"),
            ("/datastores/postgresql/versions/18", "orders"),
            ("/instances/orders/users/app", "sales"),
        ):
            problem(caller.delete(path), 409, "in_use", says=user)
    caller.patch("/instances/orders", {"configuration_group": None})
    assert caller.delete("/configuration-groups/tuned").status_code == 204


def test_a_datastore_may_name_a_default_version_that_comes_later(api: Api) -> None:
    body = {"manager": "postgresql", "default_version": "17"}
    api.admin.made("/datastores/pg", body)
    with api.unchanged():
        assert api.admin.put("/datastores/pg", body).status_code == 200
        wrong = body | {"default_version": "71"}
        problem(api.admin.put("/datastores/pg", wrong), 422, "invalid", "/default_version")
    api.admin.made("/datastores/pg/versions/17", {})
    before = api.get("/datastores/pg").headers["ETag"]
    assert api.admin.delete("/datastores/pg/versions/17").status_code == 204
    after = api.get("/datastores/pg")
    assert after.json is not None
    assert after.json["default_version"] is None
    assert after.headers["ETag"] != before


def test_a_grant_takes_the_id_of_a_database_for_its_name(api: Api) -> None:
    path = "/instances/orders/users/clerk"
    shop = api.get("/instances/orders/databases/shop").json
    by_id = {"password": PASSWORD, "grants": [{"database": shop["id"], "privileges": ["SELECT"]}]}
    assert [grant["database"] for grant in api.made(path, by_id)["grants"]] == ["shop"]
    with api.unchanged():
        assert api.put(path, USER).status_code == 200, "by its name it is the same"
    both = {"password": PASSWORD, "grants": by_id["grants"] + USER["grants"]}
    problem(api.put(path, both), 422, "invalid", "/grants/1", "same place")


def test_a_users_uris_are_its_own(api: Api) -> None:
    app = api.get("/instances/orders/users/app").json
    assert {database: uri.partition("@")[0] for database, uri in app["status"]["uris"].items()} == {
        "shop": "postgresql://app"
    }
