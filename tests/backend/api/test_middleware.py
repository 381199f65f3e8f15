"""Who may ask, and how much; on a real application."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from backend.api import label_studio, limits
from backend.api.middleware import _knows_password, guard
from backend.label_studio.credentials import make_webhook_secret
from backend.logs import hidden
from backend.settings import MIB, Settings


async def _length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture(autouse=True)
def _fresh_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHRASECLICK_DATA", str(tmp_path))


def client(answer: Any = _length, **settings: object) -> httpx.AsyncClient:
    paths = ("/health", "/setup", "/predict", "/metrics", "/api/jobs")
    app = FastAPI(routes=[Route(path, answer, methods=["GET", "POST"]) for path in paths])
    app.include_router(label_studio.router)
    app.state.service = SimpleNamespace(webhook=lambda raw, event: {"status": str(len(raw))})
    guard(app, Settings(**settings))  # type: ignore[arg-type]
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://backend",
        headers={"Content-Type": "application/json"},
        timeout=30,
    )


AUTH = {"basic_auth_user": "admin", "basic_auth_password": SecretStr("pässword")}


@pytest.mark.anyio
async def test_without_settings_everything_is_open() -> None:
    async with client() as http:
        assert (await http.post("/predict", content=b"12")).text == "2"
        assert (await http.post("/webhook", content=b"1")).status_code == 200


@pytest.mark.anyio
async def test_basic_auth_guards_all_but_health() -> None:
    async with client(**AUTH) as http:
        assert (await http.get("/health")).status_code == 200
        for path in ("/predict", "/webhook", "/metrics"):
            refused = await http.post(path)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Basic")
            assert "user and a password" in refused.json()["detail"]


@pytest.mark.anyio
async def test_the_right_user_and_password_pass() -> None:
    token = base64.b64encode("admin:pässword".encode()).decode()
    async with client(**AUTH) as http:
        answer = await http.post("/predict", headers={"Authorization": f"Basic {token}"})

    assert answer.status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!", "Basic YWRtaW46", "Bearer YWRtaW46", "Basic \xff\xfe", ""]
)
async def test_anything_else_is_refused(header: str) -> None:
    async with client(**AUTH) as http:
        answer = await http.post("/predict", headers=[(b"authorization", header.encode("latin-1"))])

    assert answer.status_code == 401


START_TRAINING = b'{"action": "START_TRAINING", "project": {"id": 1}}'
SECRET = {"webhook_secret": SecretStr("s3cret-value")}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("settings", "sent", "body", "status"),
    [
        pytest.param(SECRET, "s3cret-value", b"{}", 200, id="right"),
        pytest.param(SECRET, "s3cret-valuf", b"{}", 401, id="wrong"),
        pytest.param(SECRET, "", b"{}", 401, id="none"),
        pytest.param(AUTH | SECRET, "s3cret-value", b"{}", 200, id="needs no password"),
        pytest.param(AUTH | SECRET, "", b"{}", 401, id="password and secret missing"),
        # START_TRAINING is sent by Label Studio's button, which cannot carry the secret.
        pytest.param(SECRET, "", START_TRAINING, 200, id="training"),
        pytest.param(SECRET, "", b'{"action": "ANNOTATION_CREATED"}', 401, id="other event"),
        pytest.param(SECRET, "", b"[]", 401, id="nonsense"),
        pytest.param(SECRET, "", START_TRAINING + b" " * 3_000_000, 401, id="long"),
        pytest.param(AUTH | SECRET, "", START_TRAINING, 401, id="training needs the password"),
    ],
)
async def test_the_webhook_goes_by_its_secret_header(
    settings: dict[str, Any], sent: str, body: bytes, status: int
) -> None:
    async with client(**settings) as http:
        answer = await http.post(
            "/webhook", content=body, headers={"X-PhraseClick-Secret": sent} if sent else {}
        )

    assert answer.status_code == status
    if status == 200:
        assert answer.json() == {"status": str(len(body))}, "the body is still there for the route"
    else:
        assert "phraseclick connect" in answer.json()["detail"] or "password" in answer.text


@pytest.mark.anyio
async def test_a_webhook_secret_guards_nothing_else_and_no_other_method() -> None:
    async with client(**SECRET) as http:
        assert (await http.post("/predict")).status_code == 200
        assert (await http.get("/webhook")).status_code == 401


@pytest.mark.anyio
async def test_start_training_passes_with_the_password() -> None:
    async with client(**AUTH, **SECRET) as http:
        http.auth = httpx.BasicAuth("admin", "pässword")
        assert (await http.post("/webhook", content=START_TRAINING)).status_code == 200


@pytest.mark.anyio
async def test_a_secret_made_while_the_server_runs_is_asked_for_at_once(tmp_path: Path) -> None:
    async with client(**AUTH) as http:
        before = await http.post("/webhook")
        secret = make_webhook_secret(Settings(data=tmp_path))
        after = await http.post("/webhook", content=b"{}", headers={"X-PhraseClick-Secret": secret})
        without = await http.post("/webhook", content=b"{}", headers={"X-PhraseClick-Secret": ""})

    assert (before.status_code, after.status_code, without.status_code) == (401, 200, 401)
    assert secret not in hidden(f"header {secret}")


@pytest.mark.anyio
async def test_an_announced_body_too_large_is_refused_with_a_sentence() -> None:
    async with client(max_request_bytes=1024) as http:
        refused = await http.post("/predict", content=b"x" * 1025)
        fits = await http.post("/predict", content=b"x" * 1024)

    assert refused.status_code == 413
    assert "PHRASECLICK_MAX_REQUEST_BYTES" in refused.json()["detail"]
    assert fits.status_code == 200


@pytest.mark.anyio
async def test_a_streamed_body_is_read_to_twice_the_limit_at_most() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b"x" * 100

    async with client(max_request_bytes=1024) as http:
        refused = await http.post("/predict", content=endless())

    # The second half is dropped, so that the client gets the sentence and no reset.
    assert refused.status_code == 413
    assert sent < 25


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_password_with_umlauts_is_known_as_browsers_and_as_requests_send_it(
    encoding: str,
) -> None:
    settings = Settings(basic_auth_user="jörg", basic_auth_password="geheim-ä")
    sent = base64.b64encode("jörg:geheim-ä".encode(encoding)).decode()

    assert _knows_password(Headers({"authorization": f"Basic {sent}"}), settings)
    wrong = base64.b64encode("jörg:geheim-a".encode(encoding)).decode()
    assert not _knows_password(Headers({"authorization": f"Basic {wrong}"}), settings)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "fits", "said"),
    [
        ("/setup", 4 * MIB, "larger than 4 MiB"),
        ("/webhook", 32 * MIB, "PHRASECLICK_WEBHOOK_MAX_BYTES"),
        ("/api/jobs", MIB, "larger than 1 MiB"),
    ],
)
async def test_every_route_has_a_limit(path: str, fits: int, said: str) -> None:
    async with client() as http:
        large = await http.post(path, content=b"{}".ljust(fits + 1))
        right = await http.post(path, content=b"{}".ljust(fits))

    assert large.status_code == 413
    assert said in large.json()["detail"]
    assert str(fits) in right.text


@pytest.mark.anyio
async def test_a_client_may_send_all_of_a_body_that_is_too_large() -> None:
    # given a body without an announced length, in blocks
    sent = 0

    async def blocks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(8):
            sent += MIB
            yield b" " * MIB

    # when
    async with client() as http:
        answer = await http.post("/setup", content=blocks())

    # then it is refused after its fifth block, and the rest is read before the answer
    assert answer.status_code == 413
    assert sent == 8 * MIB


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("limit", "seconds", "pause"),
    [
        pytest.param("_SILENCE_S", 0.1, 20, id="stops"),
        pytest.param("_WHOLE_S", 0.3, 0.05, id="drips"),
    ],
)
async def test_a_body_that_stops_arriving_or_drips_is_ended(
    monkeypatch: pytest.MonkeyPatch, limit: str, seconds: float, pause: float
) -> None:
    monkeypatch.setattr(limits, limit, seconds)

    async def slow() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(pause)

    async with client() as http:
        answer = await http.post("/predict", content=slow())

    assert answer.status_code == 408


@pytest.mark.anyio
async def test_what_is_only_announced_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_WAIT_S", 0.2)
    ends = asyncio.Event()

    async def silent() -> AsyncIterator[bytes]:
        yield b" "
        await ends.wait()

    announced = {"Content-Length": str(4 * MIB)}
    async with client(max_request_bytes=4 * MIB) as http:
        # given bodies of which next to nothing comes, with and without a length
        held = [
            asyncio.create_task(http.post("/predict", content=silent(), headers=headers))
            for headers in (announced, announced, {}, {})
        ]
        await asyncio.sleep(0.05)
        # then
        answer = await http.post("/predict", content=b" " * 4 * MIB)
        ends.set()
        for task in held:
            await task

    assert answer.status_code == 200


@pytest.mark.anyio
async def test_large_bodies_are_read_slowly_and_small_ones_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "_BYTES_A_SECOND", 4 * MIB)
    monkeypatch.setattr(limits, "_AT_FULL_SPEED", MIB)
    loop = asyncio.get_running_loop()

    async def seconds(size: int) -> float:
        started = loop.time()
        await http.post("/predict", content=b" " * size)
        return loop.time() - started

    async with client() as http:
        large = asyncio.gather(seconds(3 * MIB), seconds(3 * MIB))
        await asyncio.sleep(0)
        assert await seconds(MIB) < 0.5
        assert max(await large) > 1.0


@pytest.mark.anyio
async def test_bodies_that_arrive_together_never_wait_for_each_other() -> None:
    # given five at once, each of half the room: together more than there is
    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield b" " * (MIB // 2)
            await asyncio.sleep(0)

    # when
    async with client(max_request_bytes=4 * MIB) as http:
        answers = await asyncio.gather(*(http.post("/predict", content=blocks()) for _ in range(5)))

    # then
    assert [answer.text for answer in answers] == [str(4 * MIB)] * 5


@pytest.mark.anyio
async def test_large_bodies_wait_for_each_other_and_small_ones_never(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given room for two large bodies, both taken by requests that are worked on
    monkeypatch.setattr(limits, "_WAIT_S", 0.2)
    ends, working = asyncio.Event(), 0

    async def slow(request: Request) -> PlainTextResponse:
        nonlocal working
        body = await request.body()
        if len(body) > MIB:
            working += 1
            await ends.wait()
        return PlainTextResponse("done")

    async with client(slow, max_request_bytes=4 * MIB) as http:
        large = [
            asyncio.create_task(http.post("/predict", content=b" " * 4 * MIB)) for _ in range(2)
        ]
        while working < 2:
            await asyncio.sleep(0.01)
        # when
        third = await http.post("/predict", content=b" " * 4 * MIB)
        small = await http.post("/predict", content=b" " * 1000)
        ends.set()
        done = [(await task).status_code for task in large]
        later = await http.post("/predict", content=b" " * 4 * MIB)

    assert (third.status_code, third.headers["retry-after"]) == (503, "60")
    assert small.text == "done"
    assert done == [200, 200]
    assert later.status_code == 200
