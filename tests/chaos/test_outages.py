"""RabbitMQ, the database and the network go away and come back; the cloud fails."""

import time

import pytest
from deployment import Deployment, deployed
from rabbitmq import RabbitMQ
from sqlalchemy import make_url
from stores import MariaDB, PostgreSQL
from wire import Wire

INSTANCES = {"postgresql": 40, "mariadb": 20}
AWAY = 5
"""Seconds. Longer than anyone waits for one answer of the broker's."""


def populate(one: Deployment) -> None:
    for kind in ("api", "api", "worker", "worker", "agents"):
        one.add(kind)
    one.start()


@pytest.mark.chaos
def test_without_rabbitmq_and_the_database_for_a_while(
    server: PostgreSQL | MariaDB, broker: RabbitMQ
) -> None:
    with deployed("outages", server.make("coffret_outages"), broker.url) as one:
        populate(one)
        with one.clients_at_work(count=4, instances=INSTANCES[server.name]):
            for away in ([broker], [server], [broker, server]):
                time.sleep(one.chance.uniform(2, 4))
                for each in away:
                    each.stop()
                time.sleep(AWAY)
                for each in away:
                    each.start()
        one.audit()


@pytest.mark.chaos
def test_cut_off_from_rabbitmq_and_the_database_again_and_again(
    server: PostgreSQL | MariaDB, broker: RabbitMQ
) -> None:
    broker_port = broker.address.rpartition(":")[2]
    database, queue = Wire(server.port), Wire(int(broker_port))
    database_url = make_url(server.make("coffret_cuts")).set(port=database.port)
    broker_url = broker.url.replace(f":{broker_port}", f":{queue.port}")
    with deployed("cuts", database_url.render_as_string(hide_password=False), broker_url) as one:
        populate(one)
        with one.clients_at_work(count=4, instances=INSTANCES[server.name]):
            for _ in range(6):
                time.sleep(one.chance.uniform(1, 3))
                wires = one.chance.choice(([database], [queue], [database, queue]))
                for wire in wires:
                    wire.cut()
                time.sleep(one.chance.uniform(0.1, 3))
                for wire in wires:
                    wire.restore()
        one.audit()
    database.cut()
    queue.cut()


@pytest.mark.chaos
def test_a_cloud_that_fails_every_fifth_call_gets_everything_once() -> None:
    with deployed("faults") as one:
        one.add("all")
        (one.site.folder / "faults").write_text("0.2")
        one.start()
        with one.clients_at_work(count=4, instances=20):
            pass
        one.audit()
        assert "(tried again)" in one.log()
