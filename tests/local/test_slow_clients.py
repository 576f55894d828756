"""Clients that stop in the middle of a request: they are cut off, and others are answered meanwhile."""

import http.client
import json
import socket
from collections.abc import Iterator

import pytest
import requests
from serving import Serving, served

HEAD = b"GET /healthz HTTP/1.1\r\nHost: here\r\nX-Slow: "
BODY = (
    b"PUT /v1/instances/a HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 99\r\n"
)
CHUNK = BODY.replace(b"Content-Length: 99", b"Transfer-Encoding: chunked")
SECONDS = 1
PATIENCE = 30
"""Many times what it takes."""


@pytest.fixture(scope="module")
def control_plane() -> Iterator[Serving]:
    with served(
        COFFRET_CLOUD="noop",
        COFFRET_WORK="celery",
        COFFRET_BROKER_URL="amqp://127.0.0.1:1",  # nobody is there, so no instance becomes ready
        COFFRET_THREADS="4",
        COFFRET_REQUEST_SECONDS=str(SECONDS),
    ) as one:
        one.start()
        yield one


def address(control_plane: Serving) -> tuple[str, int]:
    host, _, port = control_plane.settings["COFFRET_BIND"].partition(":")
    return host, int(port)


@pytest.mark.parametrize("part", [HEAD, BODY, CHUNK], ids=["head", "body", "chunks"])
def test_many_that_stop_in_the_middle_are_cut_off_and_others_are_answered(
    control_plane: Serving, part: bytes
) -> None:
    token = str(control_plane.session.headers["Authorization"]).encode()
    sent = part if part is HEAD else part + b"Authorization: " + token + b"\r\n\r\n5"
    slow = [socket.create_connection(address(control_plane), PATIENCE) for _ in range(12)]
    try:
        for one in slow:
            one.sendall(sent)
        assert requests.get(f"{control_plane.url}/healthz", timeout=PATIENCE).ok
        for one in slow:
            answer = b""
            while got := one.recv(65536):
                answer += got
            assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    finally:
        for one in slow:
            one.close()
    assert control_plane.process is not None
    assert control_plane.process.poll() is None


def test_who_waits_for_an_answer_is_not_cut_off(control_plane: Serving) -> None:
    control_plane.put(
        "/instances/orders", {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}
    )
    connection = http.client.HTTPConnection(*address(control_plane), timeout=PATIENCE)
    path = "/v1/instances/orders?wait_for=ready&timeout=4"
    headers = {"Authorization": str(control_plane.session.headers["Authorization"])}
    try:
        for _ in range(2):
            connection.request("GET", path, headers=headers)
            opened = connection.sock
            answer = connection.getresponse()
            assert answer.status == 200
            assert json.loads(answer.read())["status"]["ready"] is False
            assert connection.sock is opened, "the connection was not kept"
    finally:
        connection.close()


def test_however_many_wait_others_are_answered(control_plane: Serving) -> None:
    control_plane.put(
        "/instances/stock", {"datastore": "postgresql", "flavor": "db.small", "volume": {"size": 1}}
    )
    token = control_plane.session.headers["Authorization"]
    waiting = [socket.create_connection(address(control_plane), PATIENCE) for _ in range(12)]
    try:
        for one in waiting:
            one.sendall(
                "GET /v1/instances/stock?wait_for=ready&timeout=60 HTTP/1.1\r\n"
                f"Host: h\r\nAuthorization: {token}\r\n\r\n".encode()
            )
        for _ in waiting:
            assert requests.get(f"{control_plane.url}/healthz", timeout=PATIENCE).ok
    finally:
        for one in waiting:
            one.close()


def test_a_process_whose_parked_requests_could_take_all_threads_does_not_start() -> None:
    with served(COFFRET_CLOUD="noop", COFFRET_THREADS="4", COFFRET_PARKED_LIMIT="2") as one:
        one.launch()
        assert one.process is not None
        assert one.process.wait(PATIENCE) == 1
        assert "COFFRET_PARKED_LIMIT=2 would let parked requests take every one of 4 threads" in one.log()
        assert [file.name for file in one.folder.iterdir()] == ["serve.log"]
        one.role = "api"  # with agents elsewhere, 2 of 4 is not all
        one.start()
