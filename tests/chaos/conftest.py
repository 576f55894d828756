from collections.abc import Iterator

import pytest
from rabbitmq import SERVER, RabbitMQ, running
from stores import PostgreSQL, started


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A server that is stopped and started; each test has a database of its own."""
    try:
        PostgreSQL.binaries()
    except LookupError as missing:
        pytest.skip(f"survival over a database server is not tested: {missing}")
    with started(PostgreSQL) as server:
        assert isinstance(server, PostgreSQL)
        yield server


@pytest.fixture(scope="session")
def broker() -> Iterator[RabbitMQ]:
    """A RabbitMQ of these tests' own, which they stop."""
    if not SERVER.exists():
        pytest.skip("survival over RabbitMQ is not tested: apt-get install rabbitmq-server")
    with running() as one:
        yield one
