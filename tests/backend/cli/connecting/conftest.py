"""A real Label Studio, a real backend, and the commands connect and doctor between them."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from backend.cli.main import app
from backend.demo.label_studio_server import LabelStudioServer, label_studio
from backend.demo.scenes import CAT
from backend.label_studio.client import LabelStudio
from backend.label_studio.probe import BackendProbe
from backend.settings import Settings, get_settings
from backend.worker.child_process import Child, free_port

CONFIG = Path(__file__).parents[4] / "plugin_config" / "click_and_phrase.xml"


@pytest.fixture(scope="session")
def studio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    """As an admin has to start it for a backend on the same machine."""
    with label_studio(tmp_path_factory.mktemp("label-studio")) as server:
        yield server


@pytest.fixture
def studio(studio_server: LabelStudioServer) -> LabelStudio:
    return LabelStudio(studio_server.url, studio_server.token)


@dataclass(frozen=True)
class RunningBackend:
    """``phraseclick serve`` and the folder it works in."""

    url: str
    data: Path
    child: Child

    @property
    def settings(self) -> Settings:
        return Settings(data=self.data)


@pytest.fixture(scope="session")
def backend(
    random_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningBackend]:
    folder = tmp_path_factory.mktemp("backend")
    port = free_port()
    command = [sys.executable, "-m", "backend.cli", "serve", "--port", str(port)]
    environment = {**os.environ, "PHRASECLICK_CHECKPOINT": str(random_checkpoint)}
    with Child(
        "The backend",
        [*command, "--data", str(folder / "data")],
        log=folder / "backend.log",
        environment=environment,
    ) as child:
        running = RunningBackend(f"http://127.0.0.1:{port}", folder / "data", child)
        seen = BackendProbe(running.url, running.settings)
        child.wait_until(
            lambda: bool(seen.ask_version()), seconds=120, progress=print, doing="backend starts"
        )
        yield running


@dataclass(frozen=True)
class NamedProject:
    """A project and the arguments that name it to the commands."""

    project: int
    arguments: tuple[str, ...]


@pytest.fixture
def asked(
    studio: LabelStudio, studio_server: LabelStudioServer, backend: RunningBackend
) -> Callable[..., NamedProject]:
    """Makes a project; by default with a config that works and one uploaded picture."""

    def making(config: str = CONFIG.read_text(), picture: bytes | None = None) -> NamedProject:
        project = int(studio.create_project("connecting", config)["id"])
        if picture:
            studio.upload(project, "picture.png", picture)
        place = ("--url", studio_server.url, "--token", studio_server.token)
        here = ("--backend-url", backend.url, "--data", str(backend.data))
        return NamedProject(project, ("--project", str(project), *place, *here))

    return making


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """A ``phraseclick`` command, its lines wide enough not to be broken."""
    # The commands set the folder; the old value is restored after the test.
    monkeypatch.setenv("PHRASECLICK_DATA", "none")

    def running(*arguments: str) -> Result:
        return CliRunner(env={"COLUMNS": "1000"}).invoke(app, [*arguments])

    yield running
    get_settings.cache_clear()


@pytest.fixture
def picture() -> bytes:
    return CAT.content()
