"""The state on several nodes of Galera: all written to, and one behind a proxy that fails."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from deployment import deployed
from galera import Node, cluster
from rabbitmq import RabbitMQ
from sqlalchemy import make_url
from stores import or_skip
from wire import Wire

pytestmark = pytest.mark.chaos


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    with or_skip(cluster(), "survival over Galera") as found:
        yield found


def test_nodes_that_are_all_written_to_come_to_one_state(nodes: list[Node], broker: RabbitMQ) -> None:
    url = make_url(nodes[0].make("coffret_all"))
    at = [url.set(port=node.port).render_as_string(hide_password=False) for node in nodes]
    with deployed("all-nodes", at[0], broker.url) as one:
        one.add("api")
        for kind, node in (("api", 1), ("worker", 1), ("worker", 2), ("agents", 0), ("agents", 2)):
            one.add(kind, COFFRET_DATABASE_URL=at[node])
        one.start()
        with one.clients_at_work(count=4, instances=20):
            pass
        one.audit()
        one.make("seen")
        here, there = (f"{process.url}/v1/instances/seen/databases/new" for process in one.of("api"))
        login = {"Authorization": f"Bearer {one.token}"}
        with ThreadPoolExecutor(1) as another, nodes[1].late():
            assert requests.put(here, json={}, headers=login).status_code == 202
            answer = another.submit(requests.get, there, headers=login)
            time.sleep(1)
        assert answer.result().status_code == 200, "it was written at another node before"
    assert sum(node.refused for node in nodes), "no two nodes met, so this has tested nothing"


def test_a_node_that_is_killed_takes_nothing_with_it(nodes: list[Node], broker: RabbitMQ) -> None:
    """Behind a proxy, as docs/operators/state-database.md has it: one node for all, others as backups."""
    proxy = Wire(nodes[0].port)
    url = make_url(nodes[0].make("coffret_proxied")).set(port=proxy.port)
    with deployed("node-killed", url.render_as_string(hide_password=False), broker.url) as one:
        for kind in ("api", "api", "worker", "worker", "agents"):
            one.add(kind)
        one.start()
        with one.clients_at_work(count=4, instances=20):
            time.sleep(one.chance.uniform(2, 4))
            nodes[0].kill()
            proxy.cut()
            proxy.lead_to(nodes[1].port)
            proxy.restore()
        one.audit()
    proxy.cut()
