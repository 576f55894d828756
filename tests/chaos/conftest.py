from collections.abc import Iterator

import pytest
from rabbitmq import SERVER, RabbitMQ, running
from stores import SERVERS, MariaDB, PostgreSQL, or_skip, started


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL | MariaDB]:
    """A server that is stopped and started; each test has a database of its own."""
    yield from _started("postgresql")


@pytest.fixture(scope="session")
def mariadb() -> Iterator[PostgreSQL | MariaDB]:
    """Likewise."""
    yield from _started("mariadb")


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> PostgreSQL | MariaDB:
    """Each of them."""
    one: PostgreSQL | MariaDB = request.getfixturevalue(request.param)
    return one


def _started(name: str) -> Iterator[PostgreSQL | MariaDB]:
    with or_skip(started(SERVERS[name]), f"survival over {name}") as one:
        yield one


@pytest.fixture(scope="session")
def broker() -> Iterator[RabbitMQ]:
    """A RabbitMQ of these tests' own, which they stop."""
    if not SERVER.exists():
        pytest.skip("survival over RabbitMQ is not tested: apt-get install rabbitmq-server")
    with running() as one:
        yield one
