"""RabbitMQ, the database and the network go away and come back; the cloud fails."""

import time

import pytest
from deployment import Deployment, deployed
from rabbitmq import RabbitMQ
from sqlalchemy import make_url
from stores import PostgreSQL
from wire import Wire

AWAY = 5
"""Seconds. Longer than anyone waits for one answer of the broker's."""


def populate(one: Deployment) -> None:
    for kind in ("api", "api", "worker", "worker", "agents"):
        one.add(kind)
    one.start()


@pytest.mark.chaos
def test_without_rabbitmq_and_the_database_for_a_while(postgresql: PostgreSQL, broker: RabbitMQ) -> None:
    with deployed("outages", postgresql.make("coffret_outages"), broker.url) as one:
        populate(one)
        with one.clients_at_work(count=4, instances=40):
            for away in ([broker], [postgresql], [broker, postgresql]):
                time.sleep(one.chance.uniform(2, 4))
                for server in away:
                    server.stop()
                time.sleep(AWAY)
                for server in away:
                    server.start()
        one.audit()


@pytest.mark.chaos
def test_cut_off_from_rabbitmq_and_the_database_again_and_again(
    postgresql: PostgreSQL, broker: RabbitMQ
) -> None:
    broker_port = broker.address.rpartition(":")[2]
    database, queue = Wire(postgresql.port), Wire(int(broker_port))
    database_url = make_url(postgresql.make("coffret_cuts")).set(port=database.port)
    broker_url = broker.url.replace(f":{broker_port}", f":{queue.port}")
    with deployed("cuts", database_url.render_as_string(hide_password=False), broker_url) as one:
        populate(one)
        with one.clients_at_work(count=4, instances=40):
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
