"""The backend in label-studio-ml's server, and called like its 2.x API."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from label_studio_ml import api
from sqlalchemy import create_engine, text

from backend import plugin
from backend.api.service import Service
from backend.plugin import PhraseClickBackend
from backend.settings import Settings

PAYLOADS = Path(__file__).parents[1] / "payloads"
WEBHOOKS = sorted(path.stem for path in PAYLOADS.glob("webhook_*.json"))


@pytest.fixture(autouse=True)
def _shared(service: Service) -> Iterator[None]:
    plugin.shared_service(lambda: service)
    yield
    plugin.close()


@pytest.fixture
def stock(tmp_path: Path) -> FlaskClient:
    """label-studio-ml's server, started as in its documentation."""
    app = api.init_app(PhraseClickBackend, model_dir=str(tmp_path / "models"))
    return app.test_client()  # type: ignore[no-any-return]


def deliveries(settings: Settings) -> list[Any]:
    engine = create_engine(settings.resolved_database_url)
    with engine.connect() as connection:
        rows = list(connection.execute(text("select action, project_id, body from deliveries")))
    engine.dispose()
    return rows


# -- under the server of 1.0.9


def test_setup_tells_the_version_that_serves(
    stock: FlaskClient, page: Any, service: Service
) -> None:
    answer = stock.post("/setup", json=page.recorded("setup"))

    assert answer.status_code == 200
    assert answer.get_json() == {"model_version": service.version}


def test_a_click_is_answered_with_mask_and_status(
    stock: FlaskClient, page: Any, service: Service, picture_host: Any
) -> None:
    picture_host.add("/data/upload/6/a.png")

    answer = stock.post("/predict", json=page.request([page.click(1, 30, 40)])).get_json()

    assert answer["model_version"] == service.version
    assert page.region(answer)["value"]["brushlabels"] == ["Cat"]
    assert page.status(answer).startswith("1 click → Cat")


def test_two_projects_are_not_mixed_up(stock: FlaskClient, page: Any, picture_host: Any) -> None:
    """Without our manager, 1.0.9 answers every project with the last config that was set up."""
    picture_host.add("/data/upload/6/a.png")
    other = page.tried_config.replace('name="brush"', 'name="mask"')
    stock.post("/setup", json={"project": "6.1", "schema": page.tried_config})
    stock.post("/setup", json={"project": "7.1", "schema": other})

    clicked = page.request([page.click(1, 30, 40)], project="6.1")
    answer = stock.post("/predict", json=clicked).get_json()

    assert page.region(answer)["from_name"] == "brush"


@pytest.mark.parametrize("name", WEBHOOKS)
def test_webhooks_are_kept_and_start_no_process(
    name: str, stock: FlaskClient, page: Any, settings: Settings, tmp_path: Path
) -> None:
    body = page.recorded(name)

    answer = stock.post("/webhook", json=body)

    assert answer.status_code == 201
    (row,) = deliveries(settings)
    assert row.action == body["action"]
    assert row.project_id == 1
    stored = json.loads(row.body)
    if name == "webhook_START_TRAINING":  # no more of it is kept than the project
        assert stored["project"].keys() == {"id", "created_at"}
    else:
        assert stored == body
    # Without our manager, 1.0.9 creates a folder and forks for each.
    assert list((tmp_path / "models").iterdir()) == []


# -- as 2.x calls it


def test_predict_of_2x_takes_tasks_and_context(
    page: Any, picture_host: Any, service: Service
) -> None:
    picture_host.add("/data/upload/6/a.png")
    body = page.request([page.click(1, 30, 40)])
    backend = PhraseClickBackend(project_id="6.1795384361", label_config=page.tried_config)

    results = backend.predict(body["tasks"], body["params"]["context"])
    same = backend.predict(body["tasks"], context=body["params"]["context"], login=None)

    assert page.region({"results": results})["value"]["brushlabels"] == ["Cat"]
    assert page.region({"results": same})["id"] == page.region({"results": results})["id"]
    assert backend.model_version == service.version


def test_predict_of_2x_finds_the_project_in_the_task(page: Any, picture_host: Any) -> None:
    picture_host.add("/data/upload/6/a.png")
    body = page.request([page.click(1, 30, 40)])
    backend = PhraseClickBackend(label_config=page.tried_config)

    results = backend.predict(body["tasks"], body["params"]["context"])

    assert page.status({"results": results}).startswith("1 click → Cat")


def test_predict_without_context_is_a_batch(page: Any, picture_host: Any) -> None:
    picture_host.add("/data/upload/6/a.png")
    backend = PhraseClickBackend(project_id="6.1", label_config=page.tried_config)

    results = backend.predict(page.request(None)["tasks"])

    assert results == [[]], "a task that was only opened"


def test_fit_of_2x_keeps_the_event(page: Any, settings: Settings) -> None:
    body = page.recorded("webhook_ANNOTATION_CREATED_ui")
    data = {key: value for key, value in body.items() if key != "action"}

    PhraseClickBackend().fit("ANNOTATION_CREATED", data, something_new=1)

    (row,) = deliveries(settings)
    assert json.loads(row.body) == body


def test_process_event_makes_no_model_version(page: Any, settings: Settings) -> None:
    data = page.recorded("webhook_START_TRAINING")

    result = PhraseClickBackend().process_event("START_TRAINING", data, "17", {"workdir": "x"})

    assert result is None
    assert [row.action for row in deliveries(settings)] == ["START_TRAINING"]


def test_the_old_train_call_does_no_harm(settings: Settings) -> None:
    assert PhraseClickBackend().fit(iter([{"id": 1}]), None, workdir="x") == {}
    assert deliveries(settings) == []


def test_numpy_starts_no_threads_of_its_own() -> None:
    # given a new process, without a limit in its environment
    environment = {name: value for name, value in os.environ.items() if "OPENBLAS" not in name}
    shown = """
import sys
from importlib.abc import MetaPathFinder
import os
class Shown(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "numpy":
            print(os.environ.get("OPENBLAS_NUM_THREADS"))
sys.meta_path.insert(0, Shown())
import backend.plugin
"""
    # when the plugin is imported
    command = [sys.executable, "-c", shown]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    # then the limit was set before numpy read it
    assert printed.stdout.splitlines()[0] == "1"
