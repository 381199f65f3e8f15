"""Label Studio's API: calls, repetitions, lists in pages, and what a failure says."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from backend.errors import LabelStudioError, TokenError
from backend.label_studio.client import LabelStudio
from tests.backend.label_studio.conftest import LEGACY, Host, Reply


def test_a_refusal_keeps_label_studios_reason(host: Host) -> None:
    refusal = {"validation_errors": {"url": ["Can't connect to a private address."]}}
    host.give("/api/ml/", refusal, 403)

    with pytest.raises(LabelStudioError, match=r"403 to POST /api/ml/.*private address") as caught:
        LabelStudio(host.url, LEGACY).create_ml_backend(1, "http://10.0.0.1", "PhraseClick")

    assert caught.value.answered == 403


@pytest.mark.parametrize(
    ("method", "tries"), [("GET", 3), ("PATCH", 3), ("POST", 1), ("DELETE", 1)]
)
def test_only_what_may_be_repeated_is_repeated(method: str, tries: int, host: Host) -> None:
    # given a Label Studio that is starting behind its proxy
    host.give("/api/x", {}, 503)

    with pytest.raises(LabelStudioError) as caught:
        LabelStudio(host.url, LEGACY).call(method, "/api/x")

    assert len(host.calls) == tries
    assert caught.value.answered == 503


def test_a_repeated_call_may_succeed(host: Host) -> None:
    replies: Iterator[Reply] = iter([(502, b""), (200, {"id": 3})])
    host.pages["/api/projects/3/"] = lambda method, query, sent: next(replies)

    assert LabelStudio(host.url, LEGACY).project(3) == {"id": 3}


def test_an_unreachable_host_is_reported(host: Host) -> None:
    with pytest.raises(LabelStudioError, match="could not be reached"):
        LabelStudio("http://127.0.0.1:1", LEGACY).post("/api/x")


def test_a_host_that_does_not_answer_in_time_is_reported(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.label_studio.host._TIMEOUT_S", (1.0, 0.05))
    answered = threading.Event()
    host.pages["/api/x"] = lambda method, query, sent: (answered.wait(5), (200, {}))[1]

    try:
        with pytest.raises(LabelStudioError, match="did not answer in time"):
            LabelStudio(host.url, LEGACY).get("/api/x")
    finally:
        answered.set()


@pytest.mark.parametrize("slow", ["header", "body", "body to be tried again"])
@pytest.mark.parametrize("kept", [False, True])
def test_an_answer_that_comes_byte_by_byte_ends(
    slow: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a proxy that is broken: each byte is in time, the whole never, on a connection that is
    # new or was used before
    monkeypatch.setattr("backend.label_studio.host._TIMEOUT_S", (1.0, 0.3))
    listening = socket.create_server(("127.0.0.1", 0))
    status = b"503 Later\r\nRetry-After: 3600" if slow == "body to be tried again" else b"200 OK"

    def trickle() -> None:
        with suppress(OSError):
            connection = listening.accept()[0]
            if kept:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 " + status + b"\r\n")
            if slow != "header":
                connection.sendall(b"Content-Length: 1000000\r\n\r\n")
            for _ in range(100):
                time.sleep(0.1)
                connection.sendall(b"x")

    threading.Thread(target=trickle, daemon=True).start()
    studio = LabelStudio(f"http://127.0.0.1:{listening.getsockname()[1]}", LEGACY)
    if kept:
        studio.get("/api/x")
    # when
    started = time.monotonic()
    with pytest.raises(LabelStudioError, match="did not answer in time"):
        studio.get("/api/x")
    # then
    assert time.monotonic() - started < 5
    listening.close()


def test_a_host_does_not_choose_for_how_long_its_caller_waits(host: Host) -> None:
    # given one that is down until tomorrow
    host.adds["Retry-After"] = "86400"
    host.give("/api/x", {}, 503)

    started = time.monotonic()
    with pytest.raises(LabelStudioError, match="answered 503"):
        LabelStudio(host.url, LEGACY).get("/api/x")

    assert time.monotonic() - started < 20


def test_an_answer_without_end_is_not_read(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.label_studio.host._TRUSTED_BYTES", 1000)
    host.give("/api/x", {"much": "x" * 2000})

    with pytest.raises(LabelStudioError, match="answers with too much"):
        LabelStudio(host.url, LEGACY).get("/api/x")


@pytest.mark.parametrize("limit", ["_MAX_LISTED", "_LIST_S"])
def test_a_list_without_end_is_not_read(
    host: Host, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(f"backend.label_studio.host.{limit}", 0)
    host.give("/api/ml/", {"count": 10**9, "results": [{"id": 1}]})

    with pytest.raises(LabelStudioError, match="does not end"):
        LabelStudio(host.url, LEGACY, trusted=False, private=True).ml_backends(1)


@pytest.mark.parametrize("total", [10**9, "many"])
def test_pages_without_objects_end_a_list(host: Host, total: object) -> None:
    host.give("/api/tasks", {"total": total, "tasks": [1]})

    assert not list(LabelStudio(host.url, LEGACY).tasks(1))
    assert len(host.calls) == 1


def test_a_redirect_is_reported_and_not_followed(host: Host) -> None:
    # given a proxy that sends http callers to https: a followed POST would turn into a GET
    host.give("/api/projects/3/", b"https://studio.example/api/projects/3/", 301)

    with pytest.raises(LabelStudioError, match=r"https://studio\.example:443"):
        LabelStudio(host.url, LEGACY).project(3)

    assert len(host.calls) == 1


def test_a_redirect_to_the_log_in_page_means_an_invalid_token(host: Host) -> None:
    host.give("/api/projects/3/", b"/user/login/?next=/api/projects/3/", 302)

    with pytest.raises(TokenError):
        LabelStudio(host.url, LEGACY).project(3)


@pytest.mark.parametrize("content", [b"<html>hello</html>", b"[" * 100_000, b"1" * 5_000])
def test_a_page_instead_of_data_is_reported(host: Host, content: bytes) -> None:
    host.give("/api/projects/3/", content)

    with pytest.raises(LabelStudioError, match="a page instead of data"):
        LabelStudio(host.url, LEGACY).project(3)


@pytest.mark.parametrize(
    ("path", "items", "total"),
    [("/api/projects/", "results", "count"), ("/api/tasks", "tasks", "total")],
)
def test_lists_in_pages_are_read_to_their_end(
    path: str, items: str, total: str, host: Host
) -> None:
    everything = [{"id": number} for number in range(250)]

    def page(method: str, query: dict[str, list[str]], sent: Any) -> Reply:
        number, size = int(query["page"][0]), int(query["page_size"][0])
        part = everything[(number - 1) * size : number * size]
        # Label Studio answers 404 past the end.
        return (200, {items: part, total: 250}) if part else (404, {"detail": "Invalid page."})

    host.pages[path] = page
    client = LabelStudio(host.url, LEGACY)

    entries = list(client.pages(path, items=items))

    assert entries == everything


def test_lists_without_pages(host: Host) -> None:
    host.give("/api/ml/", [{"id": 1}, {"id": 2}])

    assert LabelStudio(host.url, LEGACY).ml_backends(1) == [{"id": 1}, {"id": 2}]


def test_a_webhook_gets_every_event_with_payload_and_its_secret_header(host: Host) -> None:
    host.pages["/api/webhooks/"] = lambda method, query, sent: (201, {"id": 5, **sent})
    host.pages["/api/webhooks/5/"] = lambda method, query, sent: (200, {"id": 5, **sent})
    client = LabelStudio(host.url, LEGACY)

    made = client.create_webhook(1, "http://backend/webhook", {"X-PhraseClick-Secret": "s"})
    client.update_webhook(5, "http://backend/webhook", {"X-PhraseClick-Secret": "t"})

    assert made["id"] == 5
    (_, _, first), (_, _, second) = host.calls
    assert first["project"] == 1
    assert first["send_payload"]
    assert first["send_for_all_actions"]
    assert first["is_active"]
    assert first["headers"] == {"X-PhraseClick-Secret": "s"}
    assert second["headers"] == {"X-PhraseClick-Secret": "t"}


def test_a_file_is_uploaded_as_a_task(host: Host) -> None:
    host.give("/api/projects/1/import", {"task_ids": [4, 5]}, 201)
    client = LabelStudio(host.url, LEGACY)

    assert client.upload(1, "cat.jpg", b"\xff\xd8picture") == [4, 5]

    ((_, target, body),) = host.calls
    assert "return_task_ids=true" in target
    assert b"\xff\xd8picture" in body
    assert b'filename="cat.jpg"' in body


def test_an_interactive_call_has_the_shape_that_the_page_sends(host: Host) -> None:
    host.give("/api/ml/2/interactive-annotating", {"data": {"result": []}})

    LabelStudio(host.url, LEGACY).interactive_annotating(2, 7, {"result": [{"id": "a"}]})

    assert host.calls[0][2] == {"task": 7, "context": {"result": [{"id": "a"}]}}
