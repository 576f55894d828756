"""Work over RabbitMQ: ids of instances go through one quorum queue to whichever `coffret worker` is free.

A message says "look at this instance now", and no more. What there is to do, when, and who is at it stands
in the database. So a message may be lost or doubled, and one that comes late finds that nothing is due.
"""

import logging
import random
import ssl
from collections.abc import Callable
from typing import Any

import amqp
import celery.worker.consumer
import kombu.transport
import kombu.transport.pyamqp
from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import KombuError
from kombu.messaging import Producer

from control_plane import work
from control_plane.settings import Settings

TASK = "coffret.reconcile"
PATIENCE = 3.0
"""Seconds for each step of handing over one message, the broker's word that it has it included."""
_HEARTBEAT = 20
"""Seconds. A worker whose connection was cut unseen gets no message for about so long."""
_NOT_TAKEN = (OSError, KombuError, amqp.AMQPError, amqp.exceptions.MessageNacked)

log = logging.getLogger(__name__)


class Consumer(celery.worker.consumer.Consumer):  # type: ignore[misc]
    """Celery's own, without the 28 queues it would make for delays: those are in the database."""

    class Blueprint(celery.worker.consumer.Consumer.Blueprint):  # type: ignore[misc]
        default_steps = [  # noqa: RUF012 - as in the base class
            step
            for step in celery.worker.consumer.Consumer.Blueprint.default_steps
            if not step.endswith(":DelayedDelivery")
        ]


class SecureTransport(kombu.transport.pyamqp.SSLTransport):
    """Knows each broker by its own name: kombu would look for the first one's in all certificates."""

    def establish_connection(self) -> Any:
        own: Any = self.client
        own.ssl = {**own.ssl, "server_hostname": None}  # where kombu puts the one of the URL
        return super().establish_connection()  # type: ignore[no-untyped-call]


kombu.transport.TRANSPORT_ALIASES["amqps"] = f"{__name__}:{SecureTransport.__name__}"


def open_celery(settings: Settings) -> Celery:
    """Celery's application; nothing is connected yet."""
    app = Celery("coffret", broker=settings.broker_url, set_as_current=False)
    if settings.broker_url.startswith("amqps:"):
        app.conf.broker_use_ssl = {"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": settings.broker_ca}
    app.conf.update(
        task_default_queue=f"{settings.deployment}.work",
        task_default_queue_type="quorum",
        task_ignore_result=True,
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_consumer=f"{__name__}:Consumer",
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # leases keep a second run away
        broker_heartbeat=_HEARTBEAT,
        broker_connection_timeout=PATIENCE,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
    )
    return app


def add_task(app: Celery, run: Callable[[str], float | None], runner: work.Runner) -> None:
    """Tell a worker's application what a message means: run the instance, and ask again if it says when."""

    @app.task(name=TASK, shared=False)  # type: ignore[untyped-decorator]
    def reconcile(instance_id: str) -> None:
        if (again := run(instance_id)) is not None:
            runner.request(instance_id, again)

    app.set_default()  # for the threads of its pool


def check(settings: Settings) -> None:
    """Raises what is wrong with the broker: it is connected to anew."""
    connection = _connection(open_celery(settings), settings)
    try:
        connection.connect()  # type: ignore[no-untyped-call]
    finally:
        connection.release()  # type: ignore[no-untyped-call]


def _connection(app: Celery, settings: Settings) -> Connection:
    """One that waits for nothing longer than PATIENCE, and tries each of the brokers once."""
    connection: Connection = app.connection_for_write(
        transport_options={
            "confirm_publish": True,
            "read_timeout": PATIENCE,
            "write_timeout": PATIENCE,
            "max_retries": len(settings.broker_url.split(";")),
            "interval_start": 0,
            "interval_step": 0,
        }
    )
    return connection


class Broker:
    """Hands instances over to the queue. For one thread, that of a runner."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._celery = open_celery(settings)
        self._connection: Connection | None = None
        self._producer: Producer | None = None
        self._away = False

    def hand_over(self, instance_id: str) -> float | None:
        """What a runner runs. Returns the seconds after which to try again if it was not taken."""
        try:
            self._publish(instance_id)
        except _NOT_TAKEN as error:
            if not self._away:
                log.warning("the broker takes nothing; what is asked for waits: %s", _words(error))
            self._away = True
            return random.uniform(1, 2)  # noqa: S311 - jitter
        if self._away:
            log.info("the broker takes messages again")
        self._away = False
        return None

    def _publish(self, instance_id: str) -> None:
        """Over a new connection if an old one fails: it may have been cut while nobody used it."""
        old = self._producer
        try:
            self._send(old or self._connect(), instance_id)
        except _NOT_TAKEN:
            self.close()
            if old is None:
                raise
            try:
                self._send(self._connect(), instance_id)
            except _NOT_TAKEN:
                self.close()
                raise

    def _send(self, producer: Producer, instance_id: str) -> None:
        self._celery.send_task(
            TASK, (instance_id,), producer=producer, retry=False, confirm_timeout=PATIENCE
        )

    def _connect(self) -> Producer:
        self._connection = _connection(self._celery, self._settings)
        self._producer = self._celery.amqp.Producer(self._connection)
        return self._producer

    def close(self) -> None:
        """Close the connection; the next instance that is handed over opens another."""
        if self._connection is not None:
            self._connection.collect()  # type: ignore[no-untyped-call]
        self._connection = self._producer = None


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
