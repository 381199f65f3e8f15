"""A real Label Studio shows which version serves, also after a rollback."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from pydantic import SecretStr
from typer.testing import CliRunner

from backend.cli.main import app
from backend.demo.label_studio_server import LabelStudioServer, label_studio
from backend.label_studio.client import LabelStudio
from backend.label_studio.projects import LabelStudioHosts, Projects, project_key
from backend.registry.label_studio_sync import LabelStudioSync
from backend.registry.versions import Registry
from backend.settings import Settings
from tests.backend.conftest import photograph
from tests.backend.servers import Server

pytestmark = pytest.mark.slow

MakeCheckpoint = Callable[..., Path]
CONFIG = Path(__file__).parents[3] / "plugin_config" / "click_and_phrase.xml"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[LabelStudioServer]:
    with label_studio(tmp_path / "label-studio") as server:
        yield server


@pytest.fixture
def studio(host: LabelStudioServer) -> LabelStudio:
    return LabelStudio(host.url, host.token)


@pytest.fixture
def server(settings: Settings, tmp_path: Path) -> Iterator[Server]:
    """A backend behind a password."""
    guarded = {"basic_auth_user": "studio", "basic_auth_password": SecretStr("sesame")}
    started = Server(settings.model_copy(update=guarded), tmp_path / "backend.log")
    try:
        yield started.up()
    finally:
        started.stop()


@pytest.fixture
def connect_again(
    host: LabelStudioServer, settings: Settings, server: Server
) -> Callable[[], Result]:
    """``phraseclick connect`` for project 1."""
    here = ("--backend-url", f"http://127.0.0.1:{server.port}", "--data", str(settings.data))
    place = ("--url", host.url, "--token", host.token, "--project", "1")
    password = {
        "PHRASECLICK_BASIC_AUTH_USER": "studio",
        "PHRASECLICK_BASIC_AUTH_PASSWORD": "sesame",
    }
    return lambda: CliRunner(env=password).invoke(app, ["connect", *place, *here])


@pytest.fixture
def connected(
    studio: LabelStudio, settings: Settings, connect_again: Callable[[], Result]
) -> Settings:
    """The title of the backend of project 1."""
    studio.create_project("versions", CONFIG.read_text())
    # Two tasks: Label Studio asks for one in the same way as when it is opened.
    for number in range(2):
        studio.upload(1, f"picture-{number}.png", photograph((320, 240)))
    done = connect_again()
    assert done.exit_code == 0, done.output
    guarded = {"basic_auth_user": "studio", "basic_auth_password": SecretStr("sesame")}
    return settings.model_copy(update=guarded)


def test_title_and_model_version_follow_the_champion(
    studio: LabelStudio,
    connected: Settings,
    make_checkpoint: MakeCheckpoint,
    connect_again: Callable[[], Result],
) -> None:
    registry = Registry.open(connected)
    hosts = LabelStudioHosts(connected, Projects(registry.database).announced)
    sync = LabelStudioSync(registry, hosts, connected)
    key = project_key(registry.database, 1)
    base = registry.base_name
    name = registry.add(make_checkpoint(1), project=key).name
    assert sync.run() == 0

    for decide, serves in (
        (lambda: registry.promote(name, who="test"), name),
        (lambda: registry.rollback(key, who="test"), base),
    ):
        decide()
        time.sleep(1)
        assert sync.run() == 1, registry.history()

        project, (backend,) = studio.project(1), studio.ml_backends(1)
        assert project["model_version"] == serves
        assert (backend["title"], backend["model_version"]) == (serves, serves)
        assert backend["state"] == "CO"
        assert predicted(studio) == serves
        # Connecting again changes none of this.
        assert connect_again().exit_code == 0
        assert studio.project(1)["model_version"] == serves
    registry.close()


def predicted(studio: LabelStudio) -> Any:
    """The version of the newest prediction that Label Studio retrieves."""
    studio.post(
        "/api/dm/actions",
        {"selectedItems": {"all": True, "excluded": []}},
        id="retrieve_tasks_predictions",
        project=1,
    )
    task, _ = studio.tasks(1, fields="all")
    predictions = studio.task(task["id"])["predictions"]
    return max(predictions, key=lambda prediction: prediction["id"])["model_version"]
