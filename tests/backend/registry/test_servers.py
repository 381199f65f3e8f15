"""Real server processes that follow promotions and rollbacks while people click."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from sqlalchemy import select

from backend.db.engine import Database
from backend.db.models import EventRow
from backend.registry.versions import Registry
from backend.settings import Settings
from tests.backend.registry.conftest import SIX, MakeCheckpoint
from tests.backend.servers import Server

pytestmark = pytest.mark.slow

# The limit for a rollback, whose version every server has loaded.
ROLLBACK_S = 1.0
# A promoted version must be loaded: 0.3 s on idle cores, seconds on busy ones. No request waits
# for it.
PROMOTION_S = 5.0


@pytest.fixture
def settings(settings: Settings, database: Database, picture_host: Any) -> Settings:
    """One database (SQLite or PostgreSQL) and one folder."""
    url = database.url.render_as_string(hide_password=False)
    return settings.model_copy(update={"database_url": url, "label_studio_url": picture_host.url})


@pytest.fixture
def servers(settings: Settings, tmp_path: Path) -> Iterator[list[Server]]:
    """Two, on one database and folder."""
    started = [Server(settings, tmp_path / f"server-{number}.log") for number in range(2)]
    try:
        for server in started:
            server.up()
        yield started
    finally:
        for server in started:
            server.stop()


def served_by(server: Server) -> str:
    return str(server.http.get("/health", params={"project": "6"}).json()["model_version"])


def seconds_until(servers: list[Server], version: str, since: float) -> float:
    """Until every server answers with this version."""
    while any(served_by(server) != version for server in servers):
        assert time.perf_counter() - since < 60, [server.log.read_text() for server in servers]
        time.sleep(0.02)
    return time.perf_counter() - since


@pytest.mark.timed
def test_promotion_and_rollback_reach_every_process_while_people_click(
    servers: list[Server],
    here: Registry,
    make_checkpoint: MakeCheckpoint,
    page: Any,
    picture_host: Any,
    record_property: Callable[[str, object], None],
) -> None:
    # given: a version in the store, and an annotator on each server
    base = here.base_name
    names = [here.add(make_checkpoint(number), project=SIX).name for number in range(1, 5)]
    ended, waits, failures = threading.Event(), [], []

    def work(person: int) -> None:
        """One object for ten clicks, then the next."""
        try:
            address = picture_host.add(f"/data/upload/6/{person}.png", seed=person)
            number = 0
            while not ended.is_set():
                number += 1
                label = "Cat" if number % 10 == 1 else "+ last object"
                click = page.click(f"{person}-{number}", 30 + number % 10, 40, label=label)
                body = page.request([click], task=100 + person, address=address)
                started = time.perf_counter()
                answer = servers[person].predict(body)
                waits.append(time.perf_counter() - started)
                assert page.region(answer)
                time.sleep(0.2)
        except BaseException as error:
            failures.append(error)

    people = [threading.Thread(target=work, args=(person,)) for person in range(2)]
    for person in people:
        person.start()
    time.sleep(2)

    # when
    took = []
    for name in names[:3]:
        since = time.perf_counter()
        here.promote(name, who="test")
        took.append(("promotion", seconds_until(servers, name, since)))
        time.sleep(1)
        since = time.perf_counter()
        here.rollback(SIX, who="test")
        took.append(("rollback", seconds_until(servers, base, since)))
        time.sleep(1)
    here.promote(names[3], who="test")
    since = time.perf_counter()
    seconds_until(servers, names[3], since)
    # Each begins an object after ten clicks, and only then gets the new version.
    enough = len(waits) + 30
    while len(waits) < enough and not failures:
        assert time.perf_counter() - since < 60, "clicks are not answered"
        time.sleep(0.02)
    ended.set()
    for person in people:
        person.join()

    # then
    record_property("seconds", took)
    print(f"\n{took}\nclicks: {len(waits)}, longest {max(waits):.3f} s")
    assert failures == []
    assert median(seconds for kind, seconds in took if kind == "rollback") < ROLLBACK_S, took
    assert median(seconds for kind, seconds in took if kind == "promotion") < PROMOTION_S, took
    with here.database.read() as connection:
        query = select(EventRow.target_id, EventRow.model_version).where(
            EventRow.model_version != ""
        )
        rows = connection.execute(query).all()
    versions: dict[int, set[str]] = {}
    for target, version in rows:
        versions.setdefault(target, set()).add(version)
    assert {base, names[3]} <= {version for many in versions.values() for version in many}
    assert all(len(many) == 1 for many in versions.values()), "an object changed its model"
