"""SIGKILL of processes at random while clients create, change and delete."""

import signal
import time

import pytest
from deployment import STARTING, Deployment, deployed
from rabbitmq import RabbitMQ
from serving import eventually
from stores import MariaDB, PostgreSQL


def kill_one(one: Deployment) -> bool:
    """Kill any process that is up and start it again, as its unit would. Returns whether there was one."""
    processes = list(one.processes.values())
    one.chance.shuffle(processes)  # only those that are up, or none would ever be on a busy machine
    process = next((each for each in processes if each.is_up()), None)
    if process is None:
        return False
    process.kill()
    process.start()
    return True


@pytest.mark.parametrize(
    "server", ["postgresql", pytest.param("mariadb", marks=pytest.mark.chaos)], indirect=True
)
def test_killed_now_and_then_it_loses_and_doubles_nothing(
    server: PostgreSQL | MariaDB, broker: RabbitMQ
) -> None:
    with deployed("few", server.make("coffret_few"), broker.url) as one:
        for kind in ("api", "api", "worker", "worker", "agents", "agents"):
            one.add(kind)
        one.start()
        with one.clients_at_work(count=3, instances=20):
            for _ in range(4):
                time.sleep(one.chance.uniform(0.5, 2))
                kill_one(one)
        one.audit()


@pytest.mark.chaos
def test_killed_all_the_time_it_loses_and_doubles_nothing(postgresql: PostgreSQL, broker: RabbitMQ) -> None:
    with deployed("many", postgresql.make("coffret_many"), broker.url) as one:
        for kind in ("api", "api", "worker", "worker", "agents", "agents"):
            one.add(kind, CHAOS_SILENT="30")
        one.start()
        kills = 0
        with one.clients_at_work(count=6, instances=200) as clients:
            while any(client.is_alive() for client in clients):
                time.sleep(one.chance.uniform(3, 8))  # to come up again takes two cores a second or two
                kills += kill_one(one)
        assert kills >= 5
        one.audit()


@pytest.mark.chaos
def test_a_worker_frozen_past_its_lease_writes_nothing_when_it_wakes(
    postgresql: PostgreSQL, broker: RabbitMQ
) -> None:
    """Two have the instance in hand, one after the other; what the first one does late is refused."""
    with deployed("frozen", postgresql.make("coffret_frozen"), broker.url, ttl=5) as one:
        one.add("api")
        one.add("agents")
        workers = [one.add("worker"), one.add("worker")]
        one.start()
        hold = one.site.folder / "hold"
        hold.touch()
        one.make("orders")
        pid = int(eventually(lambda: one.site.noted("calls"), STARTING)[0][0])
        frozen = next(worker for worker in workers if worker.running and worker.running.pid == pid)
        frozen.send(signal.SIGSTOP)
        hold.unlink()
        one.audit()
        frozen.send(signal.SIGCONT)
        eventually(lambda: "the lease on instance" in frozen.log(), STARTING)
        one.audit()
