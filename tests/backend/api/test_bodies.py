"""Bodies that are too large, too slow, or too many at a time."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from backend.api import middleware
from backend.api.middleware import guard
from backend.settings import MIB, Settings


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def client(tmp_path: Path, answer: Any = None, **settings: Any) -> httpx.AsyncClient:
    async def length(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    paths = ("/setup", "/predict", "/webhook", "/api/jobs")
    routes = [Route(path, answer or length, methods=["POST"]) for path in paths]
    app = Starlette(routes=routes)
    guard(app, Settings(data=tmp_path, **settings))
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://127.0.0.1",
        headers={"Content-Type": "application/json"},
        timeout=30,
    )


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "fits", "said"),
    [
        ("/setup", 4 * MIB, "larger than 4 MiB"),
        ("/webhook", 32 * MIB, "PHRASECLICK_WEBHOOK_MAX_BYTES"),
        ("/api/jobs", MIB, "larger than 1 MiB"),
    ],
)
async def test_every_route_has_a_limit(tmp_path: Path, path: str, fits: int, said: str) -> None:
    async with client(tmp_path) as http:
        large = await http.post(path, content=b" " * (fits + 1))
        right = await http.post(path, content=b" " * fits)

    assert large.status_code == 413
    assert said in large.json()["detail"]
    assert right.text == str(fits)


@pytest.mark.anyio
async def test_a_client_may_send_all_of_a_body_that_is_too_large(tmp_path: Path) -> None:
    # given a body without an announced length, in blocks
    sent = 0

    async def blocks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(8):
            sent += MIB
            yield b" " * MIB

    # when
    async with client(tmp_path) as http:
        answer = await http.post("/setup", content=blocks())

    # then it is refused after its fifth block, and the rest is read before the answer
    assert answer.status_code == 413
    assert sent == 8 * MIB


@pytest.mark.anyio
async def test_a_body_that_stops_arriving_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "_SILENCE_S", 0.1)

    async def half() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(20)

    async with client(tmp_path) as http:
        answer = await http.post("/predict", content=half())

    assert answer.status_code == 408


@pytest.mark.anyio
async def test_a_body_that_drips_is_ended_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "_WHOLE_S", 0.3)

    async def dripping() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.05)

    async with client(tmp_path) as http:
        answer = await http.post("/predict", content=dripping())

    assert answer.status_code == 408


@pytest.mark.anyio
async def test_large_bodies_wait_for_each_other_and_small_ones_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given room for two large bodies, both taken by requests that are worked on
    monkeypatch.setattr(middleware, "_WAIT_S", 0.2)
    ends, working = asyncio.Event(), 0

    async def slow(request: Request) -> PlainTextResponse:
        nonlocal working
        body = await request.body()
        if len(body) > MIB:
            working += 1
            await ends.wait()
        return PlainTextResponse("done")

    async with client(tmp_path, slow, max_request_bytes=4 * MIB) as http:
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
