"""RabbitMQ over TLS: known by its CA and by its name, or nothing is said to it."""

from pathlib import Path
from typing import Any

import pytest
from certificates import certify
from control_plane_fixtures import ControlPlane, control_plane, eventually
from rabbitmq import RabbitMQ

from control_plane.settings import Settings, SettingsError, Work
from control_plane.work.broker import check

__all__ = ["control_plane"]

OTHER = "127.1"
"""The same address by a name that is not in the certificate."""


def url(broker: RabbitMQ, *hosts: str) -> str:
    return ";".join(f"amqps://guest:guest@{host}:{broker.tls_port}//" for host in hosts)


def settings(folder: Path, broker_url: str, ca: Path | None) -> Settings:
    return Settings(data_dir=folder, work=Work.CELERY, broker_url=broker_url, broker_ca=ca)


@pytest.fixture
def over(rabbitmq: RabbitMQ, certified: Path, tmp_path: Path) -> dict[str, Any]:
    urls = url(rabbitmq, OTHER, "127.0.0.1")  # the first one is not known, and the next one is asked
    return {
        "work": Work.CELERY,
        "broker_url": urls,
        "broker_ca": certified / "ca.pem",
        "deployment": tmp_path.name,
    }


def test_work_goes_over_tls(control_plane: ControlPlane) -> None:
    control_plane.put_instance()
    control_plane.start()
    eventually(lambda: control_plane.instance()["status"]["ready"])


def test_a_broker_by_another_ca_is_refused(rabbitmq: RabbitMQ, certified: Path, tmp_path: Path) -> None:
    certify(tmp_path, "127.0.0.1")
    check(settings(tmp_path, url(rabbitmq, "127.0.0.1"), certified / "ca.pem"))
    for ca in (tmp_path / "ca.pem", None):
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            check(settings(tmp_path, url(rabbitmq, "127.0.0.1"), ca))


def test_a_broker_by_another_name_is_refused(rabbitmq: RabbitMQ, certified: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Hostname mismatch"):
        check(settings(tmp_path, url(rabbitmq, OTHER), certified / "ca.pem"))


def test_a_ca_that_is_not_there_is_said_at_the_start(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"COFFRET_BROKER_CA=.*none\.pem cannot be read"):
        settings(tmp_path, rabbitmq.url, tmp_path / "none.pem").check_celery()
