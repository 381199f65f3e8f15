"""Real server processes on one data folder: side by side, and killed between two clicks."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.settings import Settings
from tests.backend.servers import Server

pytestmark = pytest.mark.slow


@pytest.fixture
def serve(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*arguments: str) -> Server:
        servers.append(Server(settings, tmp_path / f"server-{len(servers)}.log", *arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def test_annotators_on_both_servers_at_once_do_not_mix(
    serve: Callable[..., Server], page: Any, picture_host: Any
) -> None:
    servers = (serve(), serve())
    for server in servers:
        server.up()
    for person in range(6):
        picture_host.add(f"/data/upload/6/{person}.png", seed=person)

    def annotate(person: int) -> list[tuple[str, str]]:
        seen = []
        for number in range(1, 6):
            clicks = [page.click(f"{person}-{n}", 20 + 5 * n, 40) for n in range(1, number + 1)]
            body = page.request(clicks, task=100 + person, address=f"/data/upload/6/{person}.png")
            answer = servers[(person + number) % 2].predict(body)
            seen.append((page.region(answer)["id"], page.status(answer).partition(" →")[0]))
        return seen

    with ThreadPoolExecutor(6) as pool:
        everyone = list(pool.map(annotate, range(6)))

    for seen in everyone:
        assert len({region for region, _ in seen}) == 1
        assert [said for _, said in seen] == [
            "1 click",
            *(f"{number} clicks" for number in range(2, 6)),
        ]
    assert len({seen[0][0] for seen in everyone}) == 6


def test_several_processes_of_one_server_answer_alike(
    serve: Callable[..., Server], page: Any, picture_host: Any
) -> None:
    picture_host.add("/data/upload/6/a.png")
    server = serve("--processes=2").up()

    regions = set()
    for number in range(1, 9):
        clicks = [page.click(n, 30 + n, 40) for n in range(1, number + 1)]
        # A new connection each time, so that either process may take it.
        answer = httpx.post(
            f"http://127.0.0.1:{server.port}/predict", json=page.request(clicks), timeout=100
        ).json()
        regions.add(page.region(answer)["id"])
        assert page.status(answer).startswith(f"{number} click")

    assert len(regions) == 1
    figures = server.http.get("/metrics").text
    assert 'phraseclick_interactions_total{kind="click",outcome="mask"} 8.0' in figures


def test_killed_between_two_clicks_nothing_is_forgotten(
    serve: Callable[..., Server], page: Any, picture_host: Any
) -> None:
    picture_host.add("/data/upload/6/a.png")
    server = serve().up()
    first = server.predict(page.request([page.click(1, 30, 40)]))
    second = server.predict(
        page.request([page.click(2, 60, 20, positive=False, label="- last object")])
    )
    server.kill()

    server = serve().up()
    third = server.predict(page.request([page.click(3, 34, 42, label="+ last object")]))

    assert page.region(third)["id"] == page.region(first)["id"]
    assert page.region(second)["id"] == page.region(first)["id"]
    assert page.status(third).startswith("3 clicks, 1 negative → Cat")
