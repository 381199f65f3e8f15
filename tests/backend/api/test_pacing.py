"""Failures take turns, what succeeds never waits, and one large body is parsed at a time."""

import asyncio
import time
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from backend.api import label_studio, limits


async def _answer(request: Request) -> PlainTextResponse:
    await request.body()
    kind = request.query_params.get("kind", "")
    if kind == "says":
        request.scope[limits.FAILED] = True
    return PlainTextResponse("", int(kind) if kind.isdigit() else 200)


def client() -> httpx.AsyncClient:
    app = Starlette(
        routes=[Route(path, _answer, methods=["POST"]) for path in ("/predict", "/health")]
    )
    app.add_middleware(limits.Paced)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://backend")


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return waited


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["404", "422", "says"])
async def test_a_flood_of_failures_waits_and_a_few_do_not(kind: str, delays: list[float]) -> None:
    async with client() as http:
        for _ in range(400):
            await http.post(f"/predict?kind={kind}")

    assert set(delays[:20]) == {0.0}
    assert delays[40] > 1
    assert 9 < delays[-1] <= 10, "no answer waits longer"


@pytest.mark.anyio
async def test_large_failures_count_more(delays: list[float]) -> None:
    async with client() as http:
        for _ in range(4):
            await http.post("/predict?kind=413", content=bytes(11 << 20))

    assert delays[0] == 0
    assert delays[-1] > 0.8


@pytest.mark.anyio
async def test_clicks_and_health_never_wait(delays: list[float]) -> None:
    async with client() as http:
        for _ in range(200):
            await http.post("/predict?kind=404")
        delays.clear()
        await http.post("/predict")
        await http.post("/health?kind=503")

    assert delays == []


@pytest.mark.anyio
async def test_after_a_body_that_stopped_all_threads_there_is_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given
    moments: list[float] = []

    def parse(body: bytes) -> Any:
        moments.append(time.monotonic())
        ends = time.thread_time() + 0.07
        while body == b"long" and time.thread_time() < ends:
            pass

    monkeypatch.setattr(label_studio, "parse_json", parse)
    monkeypatch.setattr(label_studio, "_SHORT_S", 0.02)
    monkeypatch.setattr(label_studio, "_PAUSES", 10)
    bodies = label_studio._LargeBodies()
    # when
    async with anyio.create_task_group() as group:
        for body in (b"long", b"short", b"short"):
            group.start_soon(bodies.parse, body)
            await anyio.sleep(0)
    # then
    assert moments[1] - moments[0] > 0.4
    assert moments[2] - moments[1] < 0.2


@pytest.mark.parametrize("status", [[{"type": "textarea"}], []], ids=["said", "no status line"])
def test_an_answer_without_a_mask_counts_as_a_failure(status: list[Any]) -> None:
    said = {"result": status, "score": 0.0}
    mask = {"result": [{"type": "brushlabels"}], "score": 0.7}
    assert label_studio._failed({"results": [said]})
    for results in ([mask], [[]], [{"result": []}], [said, said], []):
        assert not label_studio._failed({"results": results})
