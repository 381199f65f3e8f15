"""A real server under connections that ask nothing, only half, or do not read the answer."""

import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from backend.api import server
from backend.api.middleware import guard
from backend.api.server import GuardedProtocol
from backend.settings import Settings
from tests.backend.servers import served


async def _health(request: Request) -> PlainTextResponse:
    return PlainTextResponse("UP")


async def _length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def _large(request: Request) -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(400):
            yield bytes(1 << 16)

    return StreamingResponse(chunks())


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 50)
    monkeypatch.setattr(server, "YOUNG_S", 0.2)
    app = Starlette(
        routes=[
            Route("/health", _health),
            Route("/predict", _length, methods=["POST"]),
            Route("/large", _large),
        ]
    )
    guard(app, Settings(data=tmp_path))
    with served(app, http=GuardedProtocol, ws="none") as url:
        yield int(url.rpartition(":")[2])


def opened(port: int, text: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(text)
    return connection


def ended(connection: socket.socket) -> bool:
    """Whether the server has closed it."""
    try:
        return connection.recv(1000) == b""
    except ConnectionError:
        return True


HALF_A_HEADER = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
HALF_A_BODY = (
    b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000\r\n\r\n{"
)


@pytest.mark.parametrize("half", [b"", HALF_A_HEADER, HALF_A_BODY], ids=["empty", "header", "body"])
def test_hundreds_of_half_requests_do_not_keep_others_out(port: int, half: bytes) -> None:
    # given six times as many as the limit
    held = [opened(port, half) for _ in range(300)]
    time.sleep(0.3)
    # when
    answers = [httpx.get(f"http://127.0.0.1:{port}/health", timeout=20).text for _ in range(3)]
    posted = httpx.post(f"http://127.0.0.1:{port}/predict", json={}, timeout=20)
    # then
    assert answers == ["UP"] * 3
    assert posted.text == "2"
    assert ended(held[0]), "the oldest were ended first"
    for connection in held:
        connection.close()


def test_a_request_on_its_way_is_not_ended_for_a_burst_of_others(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given more connections than the limit just after one whose request has not been read yet
    monkeypatch.setattr(server, "YOUNG_S", 20.0)
    first = opened(port, HALF_A_HEADER)
    held = [opened(port, b"") for _ in range(80)]
    # when
    first.sendall(b"x\r\n\r\n")
    # then
    assert first.recv(1000).startswith(b"HTTP/1.1 200 ")
    # and even so their number is limited
    monkeypatch.setattr(server, "_MAX_BUSY", 50)
    first.close()
    held += [opened(port, b"") for _ in range(3)]
    held[0].settimeout(5)
    assert ended(held[0])
    for connection in held:
        connection.close()


def test_a_header_that_does_not_end_is_ended(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEADER_S", 0.3)
    started = time.monotonic()
    silent, dripping = opened(port, b""), opened(port, HALF_A_HEADER)
    while time.monotonic() < started + 0.2:
        dripping.sendall(b"x")
        time.sleep(0.05)

    assert ended(silent)
    assert ended(dripping)


LARGE = b"GET /large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


CHUNKED = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"


def test_a_body_in_tiny_chunks_is_ended(port: int) -> None:
    # given what one client sends in a second, each chunk of which takes as long as a large one
    with opened(port, CHUNKED + b"Content-Type: application/json\r\n\r\n") as connection:
        with suppress(ConnectionError):
            connection.sendall(b"1\r\na\r\n" * 100_000)
        assert ended(connection)
    # and programs that send parts of a line each
    parts = (b"x" * 300 for _ in range(1_000))
    headers = {"Content-Type": "application/json"}
    sent = httpx.post(f"http://127.0.0.1:{port}/predict", content=parts, headers=headers)
    assert sent.text == "300000"


def test_a_long_header_is_refused_also_where_it_arrives_at_once(port: int) -> None:
    connection = opened(port, b"GET /health HTTP/1.1\r\nHost: a\r\n")
    with connection, suppress(ConnectionError):
        connection.sendall(b"a:\r\n" * 50_000 + b"\r\n")
        assert b" 400 " in connection.recv(100)


def test_what_is_no_request_is_refused_after_a_moment(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a client that repeats as soon as it is answered
    monkeypatch.setattr(server, "REFUSED_S", 0.5)
    started = time.monotonic()
    with opened(port, b"GET /" + b"t" * 60_000 + b" HTTP/1.1\r\n\r\n") as connection:
        # then it waits, and others do not
        assert httpx.get(f"http://127.0.0.1:{port}/health").text == "UP"
        assert time.monotonic() < started + 0.4
        with suppress(ConnectionError):
            assert b" 400 " in connection.recv(100)
        assert time.monotonic() > started + 0.4


def test_answers_that_nobody_reads_do_not_keep_others_out(port: int) -> None:
    # given more than the limit, all of them busy with an answer
    held = [opened(port, LARGE) for _ in range(60)]
    time.sleep(0.3)
    # when
    answers = [httpx.get(f"http://127.0.0.1:{port}/health", timeout=20).text for _ in range(3)]
    # then
    assert answers == ["UP"] * 3
    for connection in held:
        connection.close()


def test_an_answer_that_nobody_reads_is_ended(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "UNREAD_S", 0.5)
    # given one that is not read, and one that is read slowly
    unread, slow = opened(port, LARGE), opened(port, LARGE)
    received = 0
    for _ in range(20):
        received += len(slow.recv(2_000_000))
        time.sleep(0.1)
    while chunk := slow.recv(2_000_000):
        received += len(chunk)
        if received > 400 << 16:
            break
    # then
    assert received > 400 << 16
    rest = b"x"
    left = 0
    with suppress(ConnectionError):
        while rest := unread.recv(2_000_000):
            left += len(rest)
    assert left < 400 << 16


def test_the_system_keeps_little_of_an_unread_answer() -> None:
    with server._bound("127.0.0.1", 0) as listening:
        listening.listen()
        with socket.create_connection(listening.getsockname()):
            accepted, _ = listening.accept()
            accepted.setblocking(False)
            taken = 0
            with accepted, suppress(BlockingIOError):
                while True:
                    taken += accepted.send(bytes(1 << 20))
    # both ends together; it was some MB
    assert taken < 8 << 20


def test_several_requests_over_one_connection_are_answered(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a short limit, which counts from the first byte of each request
    monkeypatch.setattr(server, "HEADER_S", 0.5)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
        for _ in range(4):
            assert http.post("/predict", content=b"{}", headers=JSON).text == "2"
            time.sleep(0.3)


JSON = {"Content-Type": "application/json"}
