"""A process whose clock is wrong: what processes decide between them goes by the database's."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self

import pytest
from contract import PASSWORD, Api, Caller, problem
from control_plane_fixtures import with_guests
from test_agents import NEW_SECRETS, Guest, age_secret, guest, ready

from control_plane import database
from control_plane.database import now
from control_plane.events.service import forget

__all__ = ["guest", "ready", "with_guests"]

FAR = timedelta(days=31)
HOUR = timedelta(hours=1)


@contextmanager
def clock(ahead: timedelta) -> Iterator[None]:
    """Meanwhile this process's clock is so much ahead."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + ahead

    with pytest.MonkeyPatch.context() as meanwhile:
        meanwhile.setattr(database, "datetime", Wrong)
        assert abs(now() - ahead - datetime.now(UTC)) < timedelta(minutes=1)
        yield


@pytest.fixture(params=[FAR, -FAR], ids=["ahead", "behind"])
def wrong(request: pytest.FixtureRequest) -> timedelta:
    ahead: timedelta = request.param
    return ahead


def in_an_hour() -> datetime:
    return datetime.now(UTC) + HOUR


def test_a_token_lives_as_long_as_was_asked_for(api: Api, wrong: timedelta) -> None:
    wanted = {"name": "brief", "project_id": "project", "role": "reader", "expires_in": 3600}
    right = api.admin.post("/tokens", wanted)
    with clock(wrong):
        made = api.admin.post("/tokens", wanted)
        assert Caller(api.app, right.json["token"]).get("/instances").status_code == 200  # type: ignore[index]
    assert Caller(api.app, made.json["token"]).get("/instances").status_code == 200  # type: ignore[index]
    expires = datetime.fromisoformat(made.json["expires_at"])  # type: ignore[index]
    assert abs(expires - in_an_hour()) < timedelta(minutes=1)


def test_a_key_is_known_for_a_day(api: Api, wrong: timedelta) -> None:
    restart = ("/instances/orders/actions", {"type": "restart"})
    api.instance()
    api.post(*restart, Idempotency_Key="right")
    api.work()
    with clock(wrong):
        assert api.post(*restart, Idempotency_Key="right").headers["Idempotent-Replayed"] == "true"
        assert "Idempotent-Replayed" not in api.post(*restart, Idempotency_Key="wrong").headers
    api.work()
    assert api.post(*restart, Idempotency_Key="wrong").headers["Idempotent-Replayed"] == "true"


def test_a_user_may_expire_when_it_is_not_over(filled: Api, wrong: timedelta) -> None:
    path = "/instances/orders/users/brief"
    with clock(wrong):
        over = {"password": PASSWORD, "expires_at": (in_an_hour() - 2 * HOUR).isoformat()}
        problem(filled.put(path, over), 422, "invalid", "/expires_at", "It is over already")
        filled.made(path, {"password": PASSWORD, "expires_at": in_an_hour().isoformat()})


def test_an_agent_gets_a_new_secret_when_its_own_is_old_and_not_before(
    ready: Guest, wrong: timedelta
) -> None:
    with clock(wrong):
        ready.sync(**NEW_SECRETS)
        assert ready.offered is None
        age_secret(ready)
        ready.sync(**NEW_SECRETS)
        assert ready.offered is not None
        ready.secret = ready.offered
        ready.sync(**NEW_SECRETS)
    ready.sync(**NEW_SECRETS)
    assert ready.offered is None


def test_events_are_kept_as_long_as_was_asked_for(filled: Api, wrong: timedelta) -> None:
    with clock(wrong), filled.app.app_context():
        assert forget(days=30) == 0
