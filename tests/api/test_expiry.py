"""Users that expire: what may be asked for, and what the sweep does once it is time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from contract import PASSWORD, Api, problem
from sqlalchemy import update

from control_plane.database import now, transaction
from control_plane.users.models import User
from control_plane.users.service import drop_expired

GUEST = "/instances/orders/users/guest"
SHOP = "/instances/orders/databases/shop"


@pytest.fixture
def api(filled: Api) -> Api:
    return filled


def sweep(api: Api) -> int:
    with api.app.app_context():
        return drop_expired()


def expiring(seconds: float = 3600) -> dict[str, Any]:
    return {"password": PASSWORD, "expires_at": (now() + timedelta(seconds=seconds)).isoformat()}


def expire(api: Api, name: str) -> None:
    """Let the user's time be over, without waiting for it."""
    with api.app.app_context(), transaction() as session:
        over = now() - timedelta(seconds=1)
        session.execute(update(User).where(User.name == name).values(expires_at=over))


def said(api: Api) -> list[str]:
    events = api.get("/events?instance=orders&limit=1000").json
    return [f"{item['actor']}: {item['message']}" for item in events["items"] if item["kind"] == "deleting"]


def test_a_user_lives_for_ever_unless_it_is_said_otherwise(api: Api) -> None:
    api.made(GUEST, {"password": PASSWORD})
    assert api.get(GUEST).json["expires_at"] is None
    assert sweep(api) == 0


def test_an_expired_user_is_dropped_and_nobody_else(api: Api) -> None:
    api.made(GUEST, expiring())
    api.made("/instances/orders/users/later", expiring(7200))
    assert sweep(api) == 0
    expire(api, "guest")
    assert sweep(api) == 1
    assert sweep(api) == 0
    assert api.get(GUEST).json["status"]["phase"] == "SHUTDOWN"
    api.work()
    assert api.get(GUEST).status_code == 404
    assert set(api.names("/instances/orders/users")) == {"app", "later"}
    assert said(api) == ["coffret: User 'guest' has expired and is to be dropped."]


def test_a_user_that_is_renewed_stays(api: Api) -> None:
    api.made(GUEST, expiring())
    expire(api, "guest")
    assert api.patch(GUEST, {"expires_at": expiring()["expires_at"]}).status_code == 202
    assert sweep(api) == 0
    assert api.patch(GUEST, {"expires_at": None}).json["expires_at"] is None


def test_what_goes_with_its_instance_is_left_to_that(api: Api) -> None:
    api.made(GUEST, expiring())
    expire(api, "guest")
    assert api.delete("/instances/orders").status_code == 202
    assert sweep(api) == 0


def test_an_expiry_is_the_same_in_any_offset(api: Api) -> None:
    made = api.made(GUEST, {"password": PASSWORD, "expires_at": "2222-01-01T12:00:00+02:00"})
    assert datetime.fromisoformat(made["expires_at"]) == datetime(2222, 1, 1, 10, tzinfo=UTC)
    with api.unchanged():
        again = api.put(GUEST, {"password": PASSWORD, "expires_at": "2222-01-01T10:00:00Z"})
    assert again.status_code == 200


def test_the_put_of_a_user_that_has_expired_changes_nothing(api: Api) -> None:
    api.made(GUEST, {"password": PASSWORD, "expires_at": "2222-01-01T10:00:00Z"})
    expire(api, "guest")
    shown = api.get(GUEST).json
    with api.unchanged():
        assert api.put(GUEST, {"expires_at": shown["expires_at"]}).status_code == 200


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("2020-01-01T00:00:00Z", "It is over already"),
        ("2222-01-01T00:00:00", "Say its offset"),
        ("9999-12-31T23:59:59-12:00", "a time with its offset"),
        ("tomorrow", "a time with its offset"),
        (3600, "a time with its offset"),
    ],
)
def test_an_expiry_that_cannot_be_is_refused(api: Api, wanted: Any, says: str) -> None:
    with api.unchanged():
        answer = api.put(GUEST, {"password": PASSWORD, "expires_at": wanted})
    problem(answer, 422, "invalid", "/expires_at", says)


def test_who_owns_a_database_does_not_expire(api: Api) -> None:
    api.made(GUEST, expiring())
    problem(api.put(SHOP, {"owner": "guest"}), 422, "invalid", "/owner", "'guest' expires")
    assert api.put(SHOP, {"owner": "app"}).status_code == 202
    answer = api.patch("/instances/orders/users/app", {"expires_at": expiring()["expires_at"]})
    problem(answer, 422, "invalid", "/expires_at", "owns shop")


def test_a_dry_run_tells_that_an_expiry_touches_nothing(api: Api) -> None:
    api.made(GUEST, {"password": PASSWORD})
    answer = api.put(f"{GUEST}?dry_run=true", {"expires_at": "2222-01-01T00:00:00Z"})
    assert [(item["path"], item["effect"]) for item in answer.json["impact"]] == [("/expires_at", "none")]
