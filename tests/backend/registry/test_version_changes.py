"""Clicks, batches and /setup through the service while versions change."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select

from backend.api.service import Service
from backend.db.models import EventRow
from backend.registry.versions import Registry
from backend.settings import Settings
from model.predictor import Predictor
from tests.backend.programs import until
from tests.backend.registry.conftest import MakeCheckpoint

SIX, SEVEN = "6.1795384361", "7.1795384361"
ADDRESS = "/data/upload/6/a.png"


@pytest.fixture
def settings(settings: Settings, picture_host: Any) -> Settings:
    picture_host.add(ADDRESS)
    return settings.model_copy(update={"label_studio_url": picture_host.url})


@pytest.fixture
def service(settings: Settings, here: Registry) -> Iterator[Service]:
    opened = Service(settings, Predictor(settings.checkpoint, device="cpu"))
    yield opened
    opened.close()


@pytest.fixture
def promote(
    service: Service, here: Registry, make_checkpoint: MakeCheckpoint
) -> Callable[..., str]:
    """``promote(3)``: make a version the champion of project 6, and wait until it serves."""

    def promoting(number: int, project: str = SIX) -> str:
        name = here.add(make_checkpoint(number), project=project).name
        here.promote(name, who="test")
        until(lambda: service.health("6" if project else "")["model_version"] == name)
        return name

    return promoting


def version_of(answer: dict[str, Any]) -> Any:
    (result,) = answer["results"]
    return result["model_version"]


def test_an_object_is_finished_on_its_version_and_the_next_gets_the_champion(
    service: Service, here: Registry, page: Any, promote: Callable[..., str]
) -> None:
    base = service.version
    first = [page.click(1, 30, 40)]
    assert version_of(service.predict(page.request(first))) == base

    name = promote(1)
    more = [*first, page.click(2, 33, 42)]
    assert version_of(service.predict(page.request(more))) == base
    refined = page.request([page.click(3, 35, 42, label="+ last object")])
    assert version_of(service.predict(refined)) == base
    other = page.request([page.click(4, 80, 80, label="Dog")])
    assert version_of(service.predict(other)) == name

    here.rollback(SIX, who="test")
    until(lambda: service.health("6")["model_version"] == base)
    again = page.request([page.click(5, 82, 80, label="Dog"), page.click(4, 80, 80, label="Dog")])
    assert version_of(service.predict(again)) == name
    with here.database.read() as connection:
        query = select(EventRow.model_version).order_by(EventRow.id)
        logged = [version for version in connection.execute(query).scalars() if version]
    assert logged == [base, base, base, name, name]


def test_setup_versions_and_batches_report_the_projects_champion(
    service: Service, page: Any, promote: Callable[..., str]
) -> None:
    base, name = service.version, promote(1)

    def set_up(project: str) -> Any:
        return service.setup({"project": project, "schema": page.tried_config})["model_version"]

    assert (set_up(SIX), set_up(SEVEN)) == (name, base)
    batch = page.request(None, address=ADDRESS)
    batch["tasks"] *= 2
    assert {entry["model_version"] for entry in service.predict(batch)["results"]} == {name}
    assert {
        entry["model_version"] for entry in service.predict({**batch, "project": SEVEN})["results"]
    } == {base}
    assert service.version == base
    counted = f'phraseclick_model_info{{version="{name}"}} 1.0'
    until(lambda: counted in service.metrics.exposition().decode())


def test_health_reports_one_project_or_all(service: Service, promote: Callable[..., str]) -> None:
    base, name = service.version, promote(1)

    health = service.health()
    assert (health["model_version"], health["champions"]) == (base, {SIX: name})
    assert service.health("6")["model_version"] == service.health(SIX)["model_version"] == name
    assert service.health("7")["model_version"] == base


def test_metrics_drop_the_previous_version(
    service: Service, here: Registry, promote: Callable[..., str]
) -> None:
    base, name = service.version, promote(1, project="")

    def metric(version: str) -> str:
        text = service.metrics.exposition().decode()
        lines = [line for line in text.splitlines() if f'version="{version}"' in line]
        return lines[0][-3:] if lines else ""

    until(lambda: (metric(base), metric(name)) == ("0.0", "1.0"))
    here.rollback(who="test")
    until(lambda: service.version == base)
    until(lambda: (metric(base), metric(name)) == ("1.0", "0.0"))
