"""Label Studio is updated once for each change of the champion, and later if it was down."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from backend.db.models import AnnouncementRow
from backend.label_studio.credentials import Credentials, save_credentials
from backend.label_studio.projects import LabelStudioHosts
from backend.registry.label_studio_sync import LabelStudioSync
from backend.registry.versions import Registry
from backend.settings import Settings
from backend.worker import celery_app
from backend.worker.tasks import Tasks
from tests.backend.databases import connect
from tests.backend.hosts import Request, http_host
from tests.backend.registry.conftest import MakeCheckpoint

NOW = datetime.now(UTC)
SIX, SEVEN = "6.1795384361", "7.1795384361"
TOKEN = "0123456789abcdef0123456789abcdef01234567"


class LabelStudio:
    """The requests of the sync. As in 1.23.2, a project's model version must be the title of one of
    its backends."""

    def __init__(self) -> None:
        self.url = ""
        self.away = False
        self.backends: dict[int, list[dict[str, Any]]] = {}
        self.projects: dict[int, dict[str, Any]] = {}
        self.changes: list[tuple[str, dict[str, Any]]] = []

    def connect(self, project: int, url: str, serves: str) -> None:
        """As after ``phraseclick connect``."""
        backend = {"id": 70 + project, "url": url, "title": serves, "model_version": serves}
        self.backends.setdefault(project, []).append(backend)
        self.projects[project] = {"id": project, "model_version": serves}

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if self.away:
            return 503, {"detail": "upgrading"}
        path, _, query = path.partition("?")
        if path == "/api/ml/":
            return 200, self.backends.get(int(query.partition("project=")[2]), [])
        if path.startswith("/api/ml/"):
            known = [entry for many in self.backends.values() for entry in many]
            (backend,) = [entry for entry in known if entry["id"] == int(path.rpartition("/")[2])]
            self.changes.append((path, body))
            backend["title"] = body["title"]
            return 200, backend
        project = self.projects[int(path.rstrip("/").rpartition("/")[2])]
        if method == "PATCH":
            self.changes.append((path, body))
            titles = {entry["title"] for entry in self.backends[project["id"]]}
            if body["model_version"] not in titles:
                return 400, {"model_version": ["Model version doesn't exist"]}
            project.update(body)
        return 200, project


@pytest.fixture
def studio() -> Iterator[LabelStudio]:
    studio = LabelStudio()

    def answer(request: Request, sent: bytes) -> tuple[int, bytes]:
        status, body = studio.answer(request.command, request.path, json.loads(sent or b"{}"))
        return status, json.dumps(body).encode()

    with http_host(answer) as studio.url:
        yield studio


@pytest.fixture
def settings(settings: Settings, studio: LabelStudio) -> Settings:
    return settings.model_copy(
        update={"label_studio_url": studio.url, "label_studio_token": SecretStr(TOKEN)}
    )


@pytest.fixture
def here(settings: Settings, studio: LabelStudio) -> Iterator[Registry]:
    """Projects 6 and 7 are connected."""
    registry = Registry.open(settings)
    for number, key in ((6, SIX), (7, SEVEN)):
        studio.connect(number, "http://backend:9090", registry.base_name)
        connect(registry.database, key, studio.url)
    yield registry
    registry.close()


@pytest.fixture
def sync(here: Registry, settings: Settings) -> LabelStudioSync:
    return LabelStudioSync(here, LabelStudioHosts(settings), settings)


@pytest.fixture
def promoted(here: Registry, make_checkpoint: MakeCheckpoint) -> str:
    """The champion of project 6."""
    name = here.add(make_checkpoint(1), project=SIX).name
    here.promote(name, who="job")
    return name


def noted(registry: Registry, project: str = SIX) -> Any:
    with registry.database.read() as connection:
        query = select(AnnouncementRow).where(AnnouncementRow.project == project)
        return connection.execute(query).one_or_none()


def test_label_studio_is_updated_once_for_a_promotion(
    sync: LabelStudioSync, here: Registry, studio: LabelStudio, promoted: str
) -> None:
    assert sync.run() == 1
    assert sync.run() == 0

    assert studio.projects[6]["model_version"] == promoted
    assert studio.projects[7]["model_version"] == here.base_name
    assert [path for path, _ in studio.changes] == ["/api/ml/76", "/api/projects/6/"]
    assert studio.changes[0][1] == {
        "url": "http://backend:9090",
        "project": 6,
        "title": promoted,
    }
    assert noted(here).version == promoted


def test_label_studio_is_updated_after_a_rollback(
    sync: LabelStudioSync, here: Registry, studio: LabelStudio, promoted: str
) -> None:
    sync.run()
    here.rollback(SIX, who="ann")

    assert sync.run() == 1
    assert studio.projects[6]["model_version"] == here.base_name


def test_a_version_for_all_updates_every_project_without_its_own(
    sync: LabelStudioSync,
    here: Registry,
    studio: LabelStudio,
    promoted: str,
    make_checkpoint: MakeCheckpoint,
) -> None:
    general = here.add(make_checkpoint(2)).name
    here.promote(general, who="ann")

    assert sync.run() == 2
    assert studio.projects[6]["model_version"] == promoted
    assert studio.projects[7]["model_version"] == general


def test_without_promotions_nothing_is_updated(sync: LabelStudioSync, studio: LabelStudio) -> None:
    assert sync.run() == 0
    assert studio.changes == []


def test_an_unreachable_label_studio_is_updated_when_it_is_back(
    sync: LabelStudioSync, here: Registry, studio: LabelStudio, promoted: str
) -> None:
    studio.away = True
    assert sync.run(NOW) == 0
    assert "503" in noted(here).error
    # Not again at once; the pause doubles.
    assert sync.run(NOW + timedelta(seconds=5)) == 0
    assert noted(here).attempts == 1
    assert sync.run(NOW + timedelta(seconds=11)) == 0
    assert noted(here).attempts == 2
    assert noted(here).try_at == NOW + timedelta(seconds=31)
    # A clock that is set back does not make the pause longer.
    assert sync.run(NOW - timedelta(days=365)) == 0
    assert noted(here).attempts == 3

    studio.away = False
    assert sync.run(NOW + timedelta(seconds=32)) == 1
    assert studio.projects[6]["model_version"] == promoted
    assert (noted(here).attempts, noted(here).error) == (0, "")


def test_a_project_that_fails_does_not_block_the_others(
    sync: LabelStudioSync,
    here: Registry,
    studio: LabelStudio,
    promoted: str,
    make_checkpoint: MakeCheckpoint,
) -> None:
    here.promote(here.add(make_checkpoint(2)).name, who="ann")
    studio.backends[6][0].update(title="another firm's", model_version="theirs")

    assert sync.run() == 1
    assert "phraseclick connect --project 6" in noted(here).error


def test_only_the_connected_backend_of_several_is_updated(
    sync: LabelStudioSync,
    settings: Settings,
    studio: LabelStudio,
    promoted: str,
) -> None:
    studio.backends[6][0].update(url="http://theirs:9091", id=99)
    studio.connect(6, "http://ours:9090", "PhraseClick")
    save_credentials(settings, 6, Credentials(studio.url, TOKEN, "http://ours:9090/"))

    sync.run()

    assert [backend["title"] == promoted for backend in studio.backends[6]] == [False, True]


def test_the_backends_password_is_sent_along(
    here: Registry, settings: Settings, studio: LabelStudio, promoted: str
) -> None:
    guarded = settings.model_copy(
        update={"basic_auth_user": "ls", "basic_auth_password": SecretStr("sesame")}
    )

    LabelStudioSync(here, LabelStudioHosts(guarded), guarded).run()

    assert studio.changes[0][1]["basic_auth_pass"] == "sesame"


def test_the_backends_password_goes_to_no_host_that_only_announced_itself(
    here: Registry, settings: Settings, studio: LabelStudio, promoted: str
) -> None:
    # given a host that a /setup named, reachable as it is
    guarded = settings.model_copy(
        update={
            "label_studio_url": "",
            "allow_private_addresses": True,
            "basic_auth_user": "ls",
            "basic_auth_password": SecretStr("sesame"),
        }
    )
    hosts = LabelStudioHosts(guarded, lambda project: (studio.url, TOKEN))

    LabelStudioSync(here, hosts, guarded).run()

    assert studio.changes == []
    assert "phraseclick connect" in noted(here).error


def test_the_worker_has_a_task_for_updates(
    here: Registry, settings: Settings, studio: LabelStudio, promoted: str
) -> None:
    app = celery_app.build(settings)
    assert app.conf.beat_schedule["announce"]["task"] == celery_app.ANNOUNCE

    app.tasks[celery_app.ANNOUNCE].apply().get()
    assert studio.projects[6]["model_version"] == promoted


def test_tidying_up_prunes(
    here: Registry, settings: Settings, make_checkpoint: MakeCheckpoint
) -> None:
    names = [here.add(make_checkpoint(number), project=SIX).name for number in range(1, 7)]
    with here.database.write() as connection:
        connection.exec_driver_sql("update versions set created_at = '2026-01-01 00:00:00.000000'")
    tasks = Tasks(settings)

    tasks.tidy()
    tasks.close()

    assert [here.store.has(name) for name in names].count(False) == 1
