"""Dashboards on free ports to look at: empty, with a team's weeks, with 100,000 interactions."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from backend.api.service import Service
from backend.app import create_app
from backend.db.engine import Database
from backend.jobs.queue import Jobs
from backend.settings import Settings
from model.predictor import Predictor
from tests.backend.registry.conftest import MakeCheckpoint
from tests.backend.reports import big
from tests.backend.servers import Server, served
from tests.backend.web import scene
from tests.backend.web.scene import KEY, TASK, Scene
from tests.backend.web.window import Window, window

PROJECT = f"/projects/{KEY}"
_TICKS = os.sysconf("SC_CLK_TCK")

EMPTY = {
    "overview": "",
    "training": "/training",
    "versions": "/versions",
    "health": "/health",
    "rollback": "/rollback",
}


@dataclass(frozen=True)
class Site:
    """A dashboard to look at. ``pages``: paths by name."""

    name: str
    home: str
    pages: dict[str, str]


@dataclass(frozen=True)
class Filled(Site):
    """One with a project in it, and versions by their state."""

    service: Service
    scene: Scene
    versions: dict[str, str]

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.service.database)


@pytest.fixture(scope="module")
def opened(
    predictor: Predictor, random_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], tuple[Service, str]]]:
    """Opens services behind ports, closed at the end."""
    with ExitStack() as stack:

        def open_one() -> tuple[Service, str]:
            data = tmp_path_factory.mktemp("site")
            settings = Settings(data=data, checkpoint=str(random_checkpoint), device="cpu")
            service = Service(settings, predictor)
            stack.callback(service.close)
            service.registry.base()
            return service, stack.enter_context(served(create_app(settings, service)))

        yield open_one


@pytest.fixture(scope="module")
def nothing(opened: Callable[[], tuple[Service, str]]) -> Site:
    """An empty dashboard."""
    return Site("empty", opened()[1], EMPTY)


@pytest.fixture(scope="module")
def small(opened: Callable[[], tuple[Service, str]], saved: MakeCheckpoint) -> Filled:
    """A project with everything, three versions among it."""
    service, home = opened()
    filled = scene.fill(service, scene.PHOTOGRAPH)
    states = {"accepted": True, "rejected": False, "candidate": None}
    versions = {}
    for number, (state, passed) in enumerate(states.items(), 1):
        folder = saved(number, "tuned", None, {"noc": 4.0 - number / 10})
        added = service.registry.add(folder, project=KEY, data={"labels": 20 * number})
        if passed is not None:
            service.registry.judge(added.name, scene.gate(passed=passed), passed=passed)
        scene.keep_gate_pictures(service.database, added.name)
        versions[state] = added.name
    accepted, rejected = versions["accepted"], versions["rejected"]
    pages = {
        **EMPTY,
        "project": PROJECT,
        "tasks": f"{PROJECT}/tasks",
        "groups": f"{PROJECT}/groups",
        "task": f"{PROJECT}/tasks/{TASK}",
        "job": f"/training/{filled.running}",
        "done": f"/training/{filled.done}",
        "replay": f"/training/{filled.replay}",
        "version": f"/versions/{accepted}",
        "compare": f"/versions/compare?one={accepted}&other={rejected}",
        "promote": f"/versions/{rejected}/promote?project={KEY}",
        "rollback": f"/rollback?project={KEY}",
    }
    return Filled("small", home, pages, service, filled, versions)


@dataclass(frozen=True)
class LargeSite(Site):
    """100,000 interactions, in another process, whose CPU time can be measured."""

    server: Server
    database: str

    def computed(self) -> float:
        """Its CPU seconds so far."""
        fields = Path(f"/proc/{self.server.process.pid}/stat").read_text().rpartition(")")[2]
        return sum(int(ticks) for ticks in fields.split()[11:13]) / _TICKS


@pytest.fixture(scope="module")
def long(
    migrated: Path, random_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LargeSite]:
    data = tmp_path_factory.mktemp("long")
    shutil.copy(migrated, data / "phraseclick.db")
    url = f"sqlite:///{data / 'phraseclick.db'}"
    database = Database(url)
    story = big.fill(database, 100_000)
    scene._jobs(database, datetime.now(UTC))
    database.close()
    settings = Settings(data=data, checkpoint=str(random_checkpoint), device="cpu")
    server = Server(settings, data / "server.log")
    try:
        server.up()
        pages = {
            **EMPTY,
            "project": PROJECT,
            "tasks": f"{PROJECT}/tasks?sort=per_object",
            "groups": f"{PROJECT}/groups?sort=clicks",
            "filtered": f"{PROJECT}/tasks?label=Cat&words=without&page=3",
            "task": f"{PROJECT}/tasks/{story.with_masks[0]}",
            "job": "/training/1",
        }
        yield LargeSite("long", f"http://127.0.0.1:{server.port}", pages, server, url)
    finally:
        server.stop()


@pytest.fixture
def look(browser: Browser) -> Iterator[Callable[..., Window]]:
    """``look(site, PHONE, "dark")``: a window, closed and checked at the end."""
    with ExitStack() as stack:
        yield lambda site, *how: stack.enter_context(window(browser, site.home, *how))
