"""The routes over HTTP: recorded payloads, invalid requests, the OpenAPI page, access."""

import gc
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from backend import app as application
from backend.api.gauges import DatabaseWatch
from backend.api.service import Service
from backend.settings import Settings
from tests.backend.servers import client_of

PAYLOADS = Path(__file__).parents[1] / "payloads"
JSON = {"Content-Type": "application/json"}
WEBHOOKS = sorted(path.stem for path in PAYLOADS.glob("webhook_*.json"))


def test_health_says_that_the_model_is_loaded(http: httpx.Client, service: Service) -> None:
    answer = http.get("/health")

    assert answer.status_code == 200
    assert answer.json()["status"] == "UP"
    assert answer.json()["model_loaded"] is True
    assert answer.json()["model_version"] == service.version


def test_health_is_down_while_the_database_is_of_no_use(
    http: httpx.Client, service: Service, settings: Settings
) -> None:
    # given a database that a newer version changes, and changes back
    service._database_watch.close()
    service._database_watch = DatabaseWatch(service.database, 0.05)

    def revision(name: str) -> httpx.Response:
        with service.database.write() as connection:
            connection.execute(
                text("UPDATE alembic_version SET version_num = :name"), {"name": name}
            )
        time.sleep(1)
        return http.get("/health")

    with service.database.read() as connection:
        known = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    # when
    newer, back = revision("9999"), revision(known)
    (settings.data / "phraseclick.db").unlink()
    time.sleep(1)
    deleted = http.get("/health")
    # then
    assert (newer.status_code, newer.json()["status"]) == (503, "DOWN")
    assert "another version of this backend" in newer.json()["problems"][-1]
    assert back.status_code == 200
    assert deleted.status_code == 503
    assert "is gone" in deleted.json()["problems"][-1]


def test_setup_refuses_with_a_sentence(http: httpx.Client) -> None:
    answer = http.post("/setup", json={"project": "1.2", "schema": "<View/>"})

    assert answer.status_code == 422
    assert "<Image>" in answer.json()["detail"]


def test_a_click_over_http(http: httpx.Client, page: Any, picture_host: Any) -> None:
    picture_host.add("/data/upload/6/a.png")

    answer = http.post("/predict", json=page.request([page.click(1, 30, 40)]))

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert page.region(answer.json())["value"]["brushlabels"] == ["Cat"]


def test_the_batch_as_recorded(http: httpx.Client, page: Any, picture_host: Any) -> None:
    body = page.recorded("predict_batch")
    for number, task in enumerate(body["tasks"]):
        picture_host.add(task["data"]["image"], seed=number)

    answer = http.post("/predict", json=body)

    assert answer.status_code == 200
    assert len(answer.json()["results"]) == len(body["tasks"])


@pytest.mark.timed
@pytest.mark.parametrize("name", WEBHOOKS)
def test_webhooks_as_recorded_are_answered_in_time(
    name: str, http: httpx.Client, page: Any
) -> None:
    http.get("/health")
    body = page.recorded(name)

    started = time.perf_counter()
    answer = http.post("/webhook", json=body)
    seconds = time.perf_counter() - started

    assert answer.status_code == 200
    assert seconds < 1, "Label Studio hangs up after one second"


def test_metrics_are_prometheus_text(http: httpx.Client, page: Any, picture_host: Any) -> None:
    picture_host.add("/data/upload/6/a.png")
    http.post("/predict", json=page.request([page.click(1, 30, 40)]))
    http.get("/nowhere")

    answer = http.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    assert 'phraseclick_requests_total{route="/predict",status="200"} 1.0' in answer.text
    assert 'phraseclick_requests_total{route="other",status="404"} 1.0' in answer.text
    assert 'phraseclick_interactions_total{kind="click",outcome="mask"} 1.0' in answer.text


def test_versions_by_get_and_as_label_studio_asks(http: httpx.Client, service: Service) -> None:
    for answer in (http.get("/versions"), http.post("/versions", json={"project": "1.2"})):
        assert answer.status_code == 200
        assert answer.json()["versions"] == [service.version]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"tasks": NaN}', 422),
        (b"[" * 100_000, 400),
        (b'{"project": "1.2", "tasks": [{"id": ' + b"[" * 1000 + b"]" * 1000 + b"}]}", 400),
        (b'{"project": 100000000000000000000000, "tasks": []}', 422),
        (b'{"project": 1e308, "tasks": []}', 422),
        ('{"project": "\u0661.\u0662", "tasks": []}'.encode(), 422),
        (b"null", 422),
        (b"[]", 422),
        (b'"text"', 422),
        (b"{}", 422),
        (b'{"tasks": 5}', 422),
        (b'{"tasks": [5], "project": "1.2", "label_config": "<View/>"}', 422),
        (b'{"tasks": [], "project": "x y", "label_config": ""}', 422),
        (b'{"tasks": [], "project": "1.2", "params": {"context": 5}}', 422),
    ],
)
def test_nonsense_is_refused_with_a_sentence(http: httpx.Client, body: bytes, status: int) -> None:
    answer = http.post("/predict", content=body, headers=JSON)

    assert answer.status_code == status
    assert answer.json()["detail"].endswith(".")


def test_unknown_fields_and_null_params_are_fine(
    http: httpx.Client, page: Any, picture_host: Any
) -> None:
    picture_host.add("/data/upload/6/a.png")
    body = page.request(None)
    body["params"] = None
    body["force_reload"] = body["something_new"] = {"a": [1]}

    answer = http.post("/predict", json=body)

    assert answer.status_code == 200
    assert answer.json()["results"] == [[]], "a task that was only opened"


def test_the_documentation_asks_no_other_host(http: httpx.Client) -> None:
    page = http.get("/docs")

    assert page.status_code == 200
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(assets) >= 3
    for asset in assets:
        assert asset.startswith("/"), f"{asset} is on another host"
        assert http.get(asset).status_code == 200
    assert "https://" not in page.text


def test_an_unexpected_error_is_a_sentence_and_a_500(
    http: httpx.Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(service, "versions", broken)

    answer = http.get("/versions")

    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "log" in answer.json()["detail"]
    assert 'phraseclick_failures_total{error="RuntimeError"} 1.0' in http.get("/metrics").text


def test_a_caller_who_hangs_up_is_no_failure(
    http: httpx.Client, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    # given requests that break off in the middle of their bodies, as many as a stranger likes
    where = (http.base_url.host, http.base_url.port or 80)
    half = (
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1000\r\n\r\n{"
    )
    for _ in range(5):
        with socket.create_connection(where, timeout=10) as connection:
            connection.sendall(half)
    # when
    deadline = time.monotonic() + 20
    counted = 'phraseclick_requests_total{route="/predict",status="499"} 5.0'
    while counted not in service.metrics.exposition().decode():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # then no line of the log and no count of failures is theirs
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert 'error="ClientDisconnect"' not in service.metrics.exposition().decode()


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [("Content-Type", "text/plain", 415), ("Origin", "https://elsewhere.example", 403)],
)
def test_a_refusal_waits_for_the_body_that_is_being_sent(
    http: httpx.Client, name: str, value: str, status: int
) -> None:
    # given a client that sends header and body apart, as most libraries do
    where = (http.base_url.host, http.base_url.port or 80)
    headers = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": "200000"}
    headers[name] = value
    lines = "".join(f"{key}: {text}\r\n" for key, text in headers.items())
    with socket.create_connection(where, timeout=20) as connection:
        connection.sendall(f"POST /setup HTTP/1.1\r\n{lines}\r\n".encode())
        # when the server has seen the header, and the body comes in parts
        for _ in range(4):
            time.sleep(0.1)
            connection.sendall(b" " * 50_000)
        # then the sentence arrives, instead of a reset
        answer = connection.makefile("rb").read()
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b'"detail"' in answer


def test_guards_stand_in_front_of_every_route(
    settings: Settings, open_service: Callable[[Settings], Service]
) -> None:
    locked = settings.model_copy(
        update={
            "basic_auth_user": "admin",
            "basic_auth_password": SecretStr("password1"),
            "max_request_bytes": 1000,
        }
    )
    for client in client_of(locked, open_service(locked)):
        assert client.get("/health").status_code == 200
        for path in ("/metrics", "/versions", "/docs", "/openapi.json"):
            assert client.get(path).status_code == 401
        for path in ("/setup", "/predict", "/webhook"):
            assert client.post(path, json={}).status_code == 401
        client.auth = httpx.BasicAuth("admin", "password1")
        assert client.get("/versions").status_code == 200
        assert client.post("/predict", content=b" " * 1001, headers=JSON).status_code == 413


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_server_gives_the_network_its_turn_beside_busy_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given
    opened = SimpleNamespace(version="base", close=lambda: None)
    monkeypatch.setattr(Service, "open", lambda settings: opened)
    monkeypatch.setattr(application, "warm", lambda app: None)
    interval, frozen = sys.getswitchinterval(), gc.get_freeze_count()
    try:
        # when
        app = application.serving_app()
        async with app.router.lifespan_context(app):
            # then no thread waits long for Python's lock, nor for a look through all that is loaded
            assert sys.getswitchinterval() == pytest.approx(0.0005)
            assert gc.get_freeze_count() > frozen
    finally:
        sys.setswitchinterval(interval)
        gc.unfreeze()


@pytest.mark.timed
def test_a_slow_click_does_not_hold_up_health(
    http: httpx.Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Label Studio disables a backend whose /health takes over one second."""
    let_go = threading.Event()
    monkeypatch.setattr(service, "predict", lambda body: let_go.wait(20) and {"results": []})
    waiting = [
        threading.Thread(target=http.post, args=("/predict",), kwargs={"json": {}, "timeout": 60})
        for _ in range(40)
    ]
    for thread in waiting:
        thread.start()
    time.sleep(0.3)

    started = time.perf_counter()
    answer = http.get("/health")
    seconds = time.perf_counter() - started
    let_go.set()
    for thread in waiting:
        thread.join()

    assert answer.status_code == 200
    assert seconds < 1
