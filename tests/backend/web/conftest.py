"""The dashboard of a small service, with or without a project."""

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from backend.api.service import Service
from backend.app import create_app
from backend.settings import Settings
from model.predictor import Predictor
from tests.backend.databases import copy_tables
from tests.backend.registry.conftest import MakeCheckpoint, make_checkpoint, network, saved
from tests.backend.web import scene
from tests.backend.web.scene import Scene
from tests.backend.web.sites import long, look, nothing, opened, small

# Fixtures of other files.
__all__ = ["long", "look", "make_checkpoint", "network", "nothing", "opened", "saved", "small"]

FORM = re.compile(r'name="token" value="([0-9a-f]+)"')


@pytest.fixture
def settings(tmp_path: Path, random_checkpoint: Path) -> Settings:
    return Settings(data=tmp_path / "data", checkpoint=str(random_checkpoint), device="cpu")


@pytest.fixture
def service(settings: Settings, predictor: Predictor, migrated: Path) -> Iterator[Service]:
    copy_tables(migrated, settings)
    opened = Service(settings, predictor)
    opened.registry.base()
    yield opened
    opened.close()


@pytest.fixture
def browse(settings: Settings, service: Service) -> Iterator[TestClient]:
    """A browser without scripts, which follows redirects."""
    with TestClient(create_app(settings, service), base_url="http://dashboard.test") as client:
        yield client


@pytest.fixture
def filled(service: Service) -> Scene:
    """A project with everything."""
    return scene.fill(service, scene.PHOTOGRAPH)


@pytest.fixture
def version(service: Service, make_checkpoint: MakeCheckpoint) -> Callable[..., str]:
    """``version(3, gate={…})``: one more version of the project; its name."""

    def add(number: int, *, gate: dict[str, Any] | None = None, project: str = scene.KEY) -> str:
        folder, data = make_checkpoint(number, noc=4.0 - number / 10), {"labels": 20 * number}
        added = service.registry.add(folder, project=project, data=data)
        if gate is not None:
            service.registry.judge(added.name, gate, passed=gate["passed"])
        scene.keep_gate_pictures(service.database, added.name)
        return added.name

    return add


# Elements whose text is separated from what precedes it.
APART = frozenset(
    [
        "caption",
        "dd",
        "div",
        "dt",
        "h1",
        "h2",
        "h3",
        "h4",
        "li",
        "p",
        "section",
        "span",
        "summary",
        "td",
        "th",
        "tr",
    ]
)


class Page(HTMLParser):
    """A page: its text without scripts, and its elements with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.text += " " if tag in APART else ""

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self) -> str:
        """The text with single spaces."""
        return " ".join(self.text.split())


def token(browse: TestClient, path: str = "/dashboard/training") -> str:
    """The token of the page's forms; the client has its cookie."""
    match = FORM.search(browse.get(path).text)
    assert match is not None, f"a form is on {path}"
    return match[1]
