"""What happens once however often, or at how many places at once, it is asked for."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from contract import GROUP, INSTANCE, Api, problem
from sqlalchemy import update
from werkzeug.test import TestResponse

from control_plane.database import transaction
from control_plane.http.idempotency import IdempotencyKey
from control_plane.work.clock import moment

RESTART = {"type": "restart"}
PATH = "/instances/orders/actions"
MANY = 50
FEW = 10


@pytest.fixture
def orders(api: Api) -> Api:
    api.instance()
    return api


def test_a_repeated_key_gets_the_first_answer(orders: Api) -> None:
    first = orders.post(PATH, RESTART, Idempotency_Key="k1")
    assert first.status_code == 202
    assert "Idempotent-Replayed" not in first.headers
    with orders.unchanged():
        again = orders.post(PATH, RESTART, Idempotency_Key="k1")
    assert (again.status_code, again.json) == (first.status_code, first.json)
    assert again.headers["Idempotent-Replayed"] == "true"
    orders.work()
    with orders.unchanged():
        assert orders.post(PATH, RESTART, Idempotency_Key="k1").json == first.json
    assert orders.post(PATH, RESTART, Idempotency_Key="k2").status_code == 202


def test_a_key_belongs_to_one_request(orders: Api) -> None:
    orders.instance("other")
    orders.post(PATH, RESTART, Idempotency_Key="k1")
    with orders.unchanged():
        elsewhere = orders.post("/instances/other/actions", RESTART, Idempotency_Key="k1")
        problem(elsewhere, 422, "idempotency_key_reused", says="new key")
        written_anew = orders("POST", PATH, raw=b'{"type":  "restart"}', Idempotency_Key="k1")
        problem(written_anew, 422, "idempotency_key_reused")


def test_a_key_is_the_projects_own(orders: Api) -> None:
    orders.post(PATH, RESTART, Idempotency_Key="k1")
    orders.stranger.made("/instances/orders", INSTANCE)
    theirs = orders.stranger.post(PATH, RESTART, Idempotency_Key="k1")
    assert theirs.status_code == 202
    assert "Idempotent-Replayed" not in theirs.headers


def test_a_request_that_failed_is_not_kept(orders: Api) -> None:
    orders.post(PATH, RESTART)
    with orders.unchanged():
        problem(orders.post(PATH, RESTART, Idempotency_Key="k1"), 409, "conflict")
        problem(orders.post(PATH, {"type": "stop"}, Idempotency_Key="k1"), 422, "invalid")
    orders.work()
    assert orders.post(PATH, RESTART, Idempotency_Key="k1").status_code == 202


def test_a_key_has_a_length(orders: Api) -> None:
    with orders.unchanged():
        for key in ("", "k" * 256):
            problem(orders.post(PATH, RESTART, Idempotency_Key=key), 422, "invalid", "Idempotency-Key")


def test_a_key_is_forgotten_after_a_day(orders: Api) -> None:
    orders.post(PATH, RESTART, Idempotency_Key="k1")
    orders.work()
    with orders.app.app_context(), transaction() as session:
        session.execute(update(IdempotencyKey).values(created_at=moment(-25 * 3600)))
    again = orders.post(PATH, RESTART, Idempotency_Key="k1")
    assert again.status_code == 202
    assert "Idempotent-Replayed" not in again.headers


def together(call: Callable[[int], TestResponse], many: int = MANY) -> list[TestResponse]:
    """The answers to many calls that are made at the same time."""
    gate = threading.Barrier(many)
    answers: list[Any] = [None] * many

    def one(number: int) -> None:
        gate.wait()
        answers[number] = call(number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


@pytest.mark.parametrize(
    ("path", "body", "many"),
    [
        ("/instances/new", INSTANCE, MANY),
        ("/configuration-groups/new", GROUP, FEW),
        ("/instances/orders/databases/new", {}, FEW),
        ("/instances/orders/users/new", {"password": "correct horse"}, FEW),
    ],
)
def test_many_puts_at_once_make_one(orders: Api, path: str, body: dict[str, Any], many: int) -> None:
    answers = together(lambda _: orders.put(path, body), many)
    codes = [answer.status_code for answer in answers]
    assert sorted(set(codes)) in ([200, 201], [200, 202]), codes
    assert codes.count(200) == many - 1
    made = [answer.json for answer in answers]
    assert {item["id"] for item in made} == {orders.get(path).json["id"]}  # type: ignore[index]
    assert {item["generation"] for item in made} == {1}
    events = orders.get("/events?kind=created&limit=1000").json["items"]  # type: ignore[index]
    assert [event["resource_name"] for event in events].count("new") == 1


def test_many_patches_at_once_are_all_kept(orders: Api) -> None:
    answers = together(lambda n: orders.patch("/instances/orders", {"labels": {f"l{n}": str(n)}}))
    assert {answer.status_code for answer in answers} == {202}
    shown = orders.get("/instances/orders").json
    assert shown is not None
    assert shown["labels"] == {f"l{n}": str(n) for n in range(MANY)}
    assert shown["generation"] == 1 + MANY
    assert {answer.json["generation"] for answer in answers} == set(range(2, 2 + MANY))


def test_many_creates_at_once_keep_to_the_quota(orders: Api) -> None:
    orders.admin.put("/quotas/project", {"instances": 4})
    answers = together(lambda n: orders.put(f"/instances/i{n}", INSTANCE), FEW)
    codes = [answer.status_code for answer in answers]
    assert codes.count(202) == 3
    assert codes.count(403) == FEW - 3


def test_one_of_many_guarded_patches_wins(orders: Api) -> None:
    etag = orders.get("/instances/orders").headers["ETag"]
    answers = together(
        lambda n: orders.patch("/instances/orders", {"labels": {"n": str(n)}}, If_Match=etag), FEW
    )
    codes = [answer.status_code for answer in answers]
    assert codes.count(202) == 1
    assert codes.count(412) == FEW - 1


def test_one_of_many_restarts_is_done(orders: Api) -> None:
    answers = together(lambda n: orders.post(PATH, RESTART, Idempotency_Key="same"), FEW)
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json["id"] for answer in answers}) == 1  # type: ignore[index]
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == FEW - 1


def test_many_deletes_at_once_all_come_about(orders: Api) -> None:
    """In no order, of what depends on each other: what is in use is asked for again."""
    orders.made("/configuration-groups/tuned", GROUP)
    orders.put("/instances/orders", INSTANCE | {"configuration_group": "tuned"})
    paths = ["/configuration-groups/tuned", "/instances/orders"]
    for number in range(MANY // 2 - 1):
        user, database = (f"/instances/orders/{kind}/n{number}" for kind in ("users", "databases"))
        orders.made(user, {"password": "correct horse"})
        orders.made(database, {"owner": f"n{number}"})
        paths += [user, database]
    orders.work()

    def delete(number: int) -> TestResponse:
        for _ in range(100 * MANY):
            if (answer := orders.delete(paths[number])).status_code != 409:
                break
            problem(answer, 409, "in_use")
        return answer

    answers = together(delete, len(paths))
    assert len(paths) == MANY
    assert {answer.status_code for answer in answers} <= {202, 204}
    orders.work()
    assert all(orders.get(path).status_code == 404 for path in paths)
