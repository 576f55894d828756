"""The survey and the loss of what was on the cloud, on the noop cloud."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from control_plane_fixtures import ControlPlane, control_plane, eventually

from control_plane.clouds import CloudObject, Volume
from control_plane.clouds.noop.drivers import Inventory
from control_plane.work import survey

__all__ = ["control_plane"]


@pytest.fixture
def instance_id(control_plane: ControlPlane) -> str:
    """At rest: a reconcile that is still to come would mend what a test breaks."""
    instance_id = control_plane.put_instance()
    control_plane.start()
    eventually(lambda: "orders: nothing to do, it is as wanted" in told(control_plane))
    return instance_id


def told(control_plane: ControlPlane) -> list[str]:
    return [event["message"] for event in control_plane.call("GET", "/events").json["items"]]


def taken(control_plane: ControlPlane) -> survey.Survey:
    with control_plane.app.app_context():
        return survey.take(control_plane.app.extensions["coffret_cloud"])


def look_after(control_plane: ControlPlane, found: survey.Survey) -> None:
    with control_plane.app.app_context():
        survey.look_after(found)


def test_all_is_claimed_and_there(control_plane: ControlPlane, instance_id: str) -> None:
    assert taken(control_plane) == survey.Survey([], [])


def test_what_no_instance_claims_is_an_orphan(control_plane: ControlPlane, instance_id: str) -> None:
    control_plane.books.volumes["nobody"] = Volume("volume-nobody", 1)
    found = taken(control_plane)
    assert [(item.kind, item.instance_id) for item in found.orphans] == [("volume", "nobody")]
    assert "volume-nobody" in found.sentences[0]
    assert not found.missing


def test_an_instance_made_while_the_cloud_is_listed_has_no_orphans(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row is there before its objects are."""
    control_plane.start()
    objects = Inventory.objects

    def slow(inventory: Inventory) -> Sequence[CloudObject]:
        instance_id = control_plane.put_instance()
        eventually(lambda: instance_id in control_plane.books.servers)
        return objects(inventory)

    monkeypatch.setattr(Inventory, "objects", slow)
    assert taken(control_plane) == survey.Survey([], [])


def test_an_instance_deleted_while_the_cloud_is_listed_misses_nothing(
    control_plane: ControlPlane, instance_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(inventory: Inventory) -> Sequence[CloudObject]:
        control_plane.call("DELETE", "/instances/orders")
        eventually(lambda: control_plane.call("GET", "/instances/orders").status_code == 404)
        return []

    monkeypatch.setattr(Inventory, "objects", late)
    assert taken(control_plane) == survey.Survey([], [])


def test_an_instance_deleted_after_the_cloud_was_listed_has_no_orphans(
    control_plane: ControlPlane, instance_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = Inventory.objects

    def delete() -> None:
        control_plane.call("DELETE", "/instances/orders")
        eventually(lambda: control_plane.call("GET", "/instances/orders").status_code == 404)

    def early(inventory: Inventory) -> Sequence[CloudObject]:
        listed = objects(inventory)
        with ThreadPoolExecutor() as another:  # in this one the request would share the survey's session
            another.submit(delete).result()
        return listed

    monkeypatch.setattr(Inventory, "objects", early)
    assert taken(control_plane) == survey.Survey([], [])


def test_a_server_that_vanished_is_found_and_made_anew(
    control_plane: ControlPlane, instance_id: str
) -> None:
    del control_plane.books.servers[instance_id]
    found = taken(control_plane)
    assert [(item.kind, item.instance) for item in found.missing] == [("server", "orders")]
    look_after(control_plane, found)
    eventually(lambda: instance_id in control_plane.books.servers)
    eventually(lambda: control_plane.instance()["status"]["ready"])
    sentence = f"The server server-{instance_id} is gone; another is made around the kept volume."
    assert sentence in told(control_plane)


def test_by_policy_a_server_that_vanished_waits_for_a_rebuild(
    control_plane: ControlPlane, instance_id: str
) -> None:
    control_plane.put_instance(rebuild_policy="manual")
    del control_plane.books.servers[instance_id]
    look_after(control_plane, taken(control_plane))
    eventually(lambda: control_plane.instance()["status"]["phase"] == "ERROR")
    assert "rebuild action" in control_plane.instance()["status"]["message"]
    assert instance_id not in control_plane.books.servers
    action = control_plane.call("POST", "/instances/orders/actions", {"type": "rebuild"}).json
    eventually(lambda: control_plane.instance()["status"]["ready"])
    assert instance_id in control_plane.books.servers
    assert control_plane.call("GET", f"/instances/orders/actions/{action['id']}").json["phase"] == "DONE"


def test_a_rebuild_is_done_once(control_plane: ControlPlane, instance_id: str) -> None:
    action = control_plane.call("POST", "/instances/orders/actions", {"type": "rebuild"}).json
    path = f"/instances/orders/actions/{action['id']}"
    eventually(lambda: control_plane.call("GET", path).json["phase"] == "DONE")
    eventually(lambda: control_plane.instance()["status"]["ready"])
    assert control_plane.books.servers[instance_id].rebuild == action["id"]
    assert told(control_plane).count("The server of 'orders' was made anew.") == 1
