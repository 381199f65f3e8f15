"""Machines that share a database, a broker and a store, and no folder: one trains, two serve.

What is said of them is said while Label Studio is away, too, and while a server is killed.
"""

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import pytest
import requests
from sqlalchemy import select, update

from backend.db.models import AnnotationRow, AnnouncementRow
from backend.settings import Settings
from backend.worker import celery_app
from backend.worker.child_process import free_port
from tests.backend.databases import new_database
from tests.backend.jobs.brokers import redis
from tests.backend.learning.label_studio import host
from tests.backend.learning.site import Site, discs, settings_for
from tests.backend.s3 import s3_server
from tests.backend.samples.studio import PROJECT, Studio, region

pytestmark = pytest.mark.slow

# What is promised for a rollback.
ROLLBACK_S = 1.0
_clicks = itertools.count(1)


@dataclass
class RemoteServer:
    """A server on a machine of its own."""

    site: Site
    settings: Settings
    page: Any
    port: int = field(default_factory=free_port)

    def start(self) -> None:
        self.process = self.site.start("serve", f"--port={self.port}", settings=self.settings)

    def up(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=2).ok
        except requests.RequestException:
            return False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serves(self) -> str:
        answer = requests.get(f"{self.url}/health", params={"project": "6"}, timeout=20)
        return str(answer.json()["model_version"])

    def click(self, picture: str, task: int, *, first: bool = True) -> dict[str, Any]:
        """A click on a picture; the answer to its request."""
        label = "Cat" if first else "+ last object"
        x = 30 + next(_clicks) % 9
        click = self.page.click(f"{task}-{next(_clicks)}", x, 40, label=label, size=(96, 72))
        body = self.page.request([click], address=picture, task=task, project=PROJECT.key)
        answer = requests.post(f"{self.url}/predict", json=body, timeout=60).json()
        return dict(answer["results"][0])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, postgres: str) -> Iterator[Site]:
    """The machine that trains, and with it what all share."""
    folder = tmp_path_factory.mktemp("machines")
    with host() as pictures, redis(folder) as broker, s3_server(folder) as store:
        settings = settings_for(
            folder / "trains",
            pictures.url,
            database_url=new_database(postgres, "machines"),
            broker_url=broker.url,
            checkpoint_store=f"{store}/phraseclick",
            acquisition="off",
        )
        site = Site(folder, settings, pictures)
        site.has_scheduler = True
        pictures.backend["title"] = site.registry.base_name
        site.label()
        site.worker()
        yield site
        site.close()


@pytest.fixture(scope="module")
def fronts(site: Site, page: Any) -> list[RemoteServer]:
    """Two servers; on the first one's machine are the scheduler and the worker for what is
    quick."""
    made = []
    for name in ("first", "second"):
        settings = site.settings.model_copy(update={"data": site.folder / name})
        made.append(RemoteServer(site, settings, page))
        made[-1].start()
    site.start("worker", settings=made[0].settings)
    site.start("scheduler", settings=made[0].settings)
    site.until(lambda: all(front.up() for front in made))
    return made


def announcement(site: Site) -> Any:
    with site.database.read() as connection:
        return connection.execute(select(AnnouncementRow)).first()


def announce(site: Site) -> None:
    """As the scheduler does now and then, and without the pause after a failed attempt."""
    with site.database.write() as connection:
        connection.execute(update(AnnouncementRow).values(try_at=None))
    celery_app.call(celery_app.build(site.settings), celery_app.ANNOUNCE)


def until_all_serve(site: Site, fronts: list[RemoteServer], version: str) -> float:
    """Seconds until every server does."""
    began = time.monotonic()
    site.until(lambda: all(front.serves() == version for front in fronts), seconds=60)
    return time.monotonic() - began


def test_one_machine_trains_and_the_others_serve_what_it_made(
    site: Site, fronts: list[RemoteServer]
) -> None:
    # given: servers at work, and a Label Studio that goes away before the training
    base = site.champion()
    (picture,) = list(site.host.pictures)[:1]
    begun = [front.click(picture, 500 + n) for n, front in enumerate(fronts)]
    assert {answer["model_version"] for answer in begun} == {base}
    site.host.go()
    processes = [front.process.pid for front in fronts]
    # when
    job = site.ask()
    version = site.promoted_once(job.id)["version"]
    # then: every server has fetched it and serves it, and goes on as before with what was begun
    until_all_serve(site, fronts, version)
    assert [front.process.pid for front in fronts] == processes
    assert all(front.process.poll() is None for front in fronts)
    for n, front in enumerate(fronts):
        answer = front.click(picture, 600 + n)
        assert answer["model_version"] == version, answer
        assert front.click(picture, 500 + n, first=False)["model_version"] == base
        assert (front.settings.data / "versions-cache" / version).is_dir()
        assert not (front.settings.data / "versions").exists()
        assert not (front.settings.data / "jobs").exists()
    assert not (site.settings.data / "versions").exists()
    # when: a Label Studio that is still down is to be updated, and then one that is back
    announce(site)
    site.until(lambda: bool((known := announcement(site)) and known.attempts and known.error))
    assert site.host.project["model_version"] == ""
    site.host.come()
    announce(site)
    site.until(lambda: site.host.project["model_version"] == version)
    assert site.host.backend["title"] == version
    # when: it is taken back, more than once, for one figure says little on a busy machine
    took = []
    for _ in range(3):
        site.registry.rollback(PROJECT.key, who="ann")
        took.append(until_all_serve(site, fronts, base))
        assert fronts[0].click(picture, next(_clicks) + 700)["model_version"] == base
        site.registry.promote(version, PROJECT.key, who="ann")
        until_all_serve(site, fronts, version)
    # then
    assert median(took) < ROLLBACK_S, took
    # when: the worker asks both versions for what was labeled, one object after the other
    replay = site.jobs.enqueue(PROJECT.key, "replay", trigger="hand", by="ann")
    result = site.done(replay.id).result
    # then
    assert result is not None
    assert (result["before"], result["version"], result["simulated"]) == (base, version, True)
    assert len(result["rows"]) == result["all"]["n"] == site.labels()
    site.start_over()
    until_all_serve(site, fronts, base)
    announce(site)
    site.until(lambda: site.host.project["model_version"] == announcement(site).version == base)


def test_a_server_that_is_killed_at_work_loses_no_label(
    site: Site, fronts: list[RemoteServer]
) -> None:
    # given: a click whose picture is still on its way, and labels that come without a pause
    front = fronts[0]
    site.until(front.up)
    champion, known = site.champion(), accepted(site)
    until_all_serve(site, fronts, champion)
    content, masks = discs(4000)
    site.host.pictures["/files/slow.png"] = content
    site.host.delay_s = 3.0
    studio, lock, numbers = Studio(), threading.Lock(), itertools.count(5000)
    taken: list[int] = []
    waits = threading.Thread(target=lambda: _in_vain(front, "/files/slow.png"))

    def label() -> None:
        while True:
            with lock:
                number = next(numbers)
                task = studio.task(number, "/files/slow.png")
                body = studio.submit(number, task, [region(f"{number}", masks[0])])
            try:
                if requests.post(f"{front.url}/webhook", json=body, timeout=20).ok:
                    taken.append(number)
            except requests.RequestException:
                return

    annotators = [threading.Thread(target=label) for _ in range(3)]
    for thread in (waits, *annotators):
        thread.start()
    site.until(lambda: len(taken) >= 20)
    # when
    os.killpg(front.process.pid, signal.SIGKILL)
    front.process.wait()
    for thread in (waits, *annotators):
        thread.join()
    site.host.delay_s = 0.0
    front.start()
    site.until(front.up)
    # then: all labels that it accepted are there, and the object continues with its clicks
    site.until(lambda: set(taken) <= accepted(site))
    assert known <= accepted(site)
    again = front.click("/files/slow.png", 900, first=False)
    (status,) = [item for item in again["result"] if item["id"] == "status"]
    assert status["value"]["text"][0].startswith("2 clicks")
    assert site.champion() == champion == again["model_version"]


def accepted(site: Site) -> set[int]:
    """Numbers of the annotations that have been taken in."""
    with site.database.read() as connection:
        return set(connection.execute(select(AnnotationRow.annotation_id)).scalars())


def _in_vain(front: RemoteServer, picture: str) -> None:
    with pytest.raises(requests.RequestException):
        front.click(picture, 900)
