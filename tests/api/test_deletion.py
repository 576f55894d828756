"""What goes with what, what keeps what, and in which order."""

import itertools
from typing import Any

import pytest
from contract import GROUP, INSTANCE, PASSWORD, Api, problem

ORDERS = "/instances/orders"
SHOP = f"{ORDERS}/databases/shop"
APP = f"{ORDERS}/users/app"


def test_the_databases_of_a_protected_instance_are_protected(filled: Api) -> None:
    filled.patch(ORDERS, {"deletion_protection": True})
    filled.work()
    for suffix in ("?dry_run=true", ""):
        with filled.unchanged():
            problem(filled.delete(f"{SHOP}{suffix}"), 409, "deletion_protected", says="databases")
    assert filled.patch(SHOP, {"deletion_policy": "drop"}).status_code == 202
    assert filled.delete(SHOP).status_code == 202


def test_a_database_may_be_kept_for_itself(filled: Api) -> None:
    filled.patch(SHOP, {"deletion_policy": "refuse"})
    for path in (SHOP, ORDERS):
        with filled.unchanged():
            problem(filled.delete(path), 409, "deletion_protected", says="shop")
    filled.patch(SHOP, {"deletion_policy": None})
    assert filled.delete(ORDERS).status_code == 202


@pytest.mark.parametrize(("path", "kind"), [(SHOP, "databases"), (APP, "users")])
def test_what_is_abandoned_stays_in_the_engine(filled: Api, path: str, kind: str) -> None:
    filled.patch(path, {"deletion_policy": "abandon"})
    filled.work()
    tried = filled.delete(f"{path}?dry_run=true")
    assert tried.json["name"] == path.rpartition("/")[2]
    assert [item["effect"] for item in tried.json["impact"]] == ["none"]
    seen = {"name": "app", "host": "%", "grants": [], "owns": ["shop"]} if kind == "users" else {
        "name": "shop", "character_set": None, "collation": None, "owner": None
    }  # fmt: skip
    filled.report("orders", **{f"seen_{kind}": [seen]})
    answer = filled.delete(path)
    assert (answer.status_code, answer.data) == (204, b"")
    (left,) = filled.get(f"{ORDERS}/{kind}").json["items"]
    assert (left["name"], left["status"]["managed"]) == (seen["name"], False)
    assert filled.delete(path).status_code == 204
    assert filled.put(path, {"password": PASSWORD} if kind == "users" else {}).status_code == 202


def test_who_owns_a_database_goes_when_that_goes(filled: Api) -> None:
    filled.put(SHOP, {"owner": "app"})
    filled.work()
    refused = filled.delete(APP)
    problem(refused, 409, "in_use", says="owns shop")
    assert refused.headers["Retry-After"] == "2"
    filled.delete(SHOP)
    assert filled.delete(APP).status_code == 202
    filled.work()
    assert filled.get(APP).status_code == filled.get(SHOP).status_code == 404


def test_an_owner_goes_with_the_instance(filled: Api) -> None:
    filled.put(SHOP, {"owner": "app"})
    filled.delete(ORDERS)
    assert filled.delete(APP).status_code == 202
    assert filled.delete(SHOP).status_code == 202


def test_a_group_need_not_wait_for_instances_that_go(filled: Api) -> None:
    filled.made("/configuration-groups/tuned", GROUP)
    filled.put(ORDERS, INSTANCE | {"configuration_group": "tuned"})
    filled.instance("billing", configuration_group="tuned")
    filled.delete(ORDERS)
    problem(filled.delete("/configuration-groups/tuned"), 409, "in_use", says="billing;")
    filled.delete("/instances/billing")
    assert filled.delete("/configuration-groups/tuned").status_code == 204
    filled.work()
    assert filled.names("/instances") == ["cache", "maria"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_all_goes_in_any_order(filled: Api, order: tuple[int, ...]) -> None:
    """What is refused is refused until something else has gone, and says when to ask again."""
    filled.made("/configuration-groups/tuned", GROUP)
    filled.put(ORDERS, INSTANCE | {"configuration_group": "tuned"})
    filled.put(SHOP, {"owner": "app"})
    filled.work()
    paths = ["/configuration-groups/tuned", ORDERS, SHOP, APP]
    left = [paths[index] for index in order]
    for _ in range(3):
        for path in list(left):
            answer = filled.delete(path)
            if answer.status_code == 409:
                problem(answer, 409, "in_use")
                assert answer.headers["Retry-After"]
            else:
                assert answer.status_code in (202, 204, 404), answer.json
                left.remove(path)
    assert left == []
    filled.work()
    assert all(filled.get(path).status_code == 404 for path in paths)


def test_a_user_that_expires_is_kept_by_nothing(filled: Api) -> None:
    body = {"password": PASSWORD, "expires_at": "2100-01-01T00:00:00Z"}
    for policy in ("refuse", "abandon"):
        answer = filled.put(f"{ORDERS}/users/brief", body | {"deletion_policy": policy})
        problem(answer, 422, "invalid", "/deletion_policy")


def impact(api: Api, path: str) -> Any:
    (found,) = api.delete(f"{path}?dry_run=true").json["impact"]
    return found


def test_a_dry_run_tells_what_is_owned_and_granted(filled: Api) -> None:
    seen = {"name": "app", "host": "%", "grants": [], "owns": ["shop"]}
    filled.report("orders", seen_users=[seen])
    assert "in shop goes to the owner" in impact(filled, APP)["sentence"]
    filled.patch(APP, {"deletion_policy": "refuse"})
    filled.work()
    filled.report("orders", seen_users=[seen])
    found = impact(filled, APP)
    assert (found["effect"], "in shop" in found["sentence"]) == ("none", True)
    assert "of app are in vain" in impact(filled, SHOP)["sentence"]
    filled.made("/instances/maria/users/app", {"password": PASSWORD})
    assert "DEFINER" in impact(filled, "/instances/maria/users/app")["sentence"]
