"""The project's page shows before and after the last training, if it was measured."""

from starlette.testclient import TestClient

from backend.api.service import Service
from tests.backend.reports.filled import fill
from tests.backend.web import scene
from tests.backend.web.conftest import Page
from tests.backend.web.scene import KEY, Scene

PROJECT = f"/dashboard/projects/{KEY}"


def test_figures_and_the_same_pictures_are_shown(
    browse: TestClient, service: Service, filled: Scene
) -> None:
    # given
    scene.keep_gate_pictures(service.database, "team-1")
    # when
    page = Page(browse.get(PROJECT).text)
    # then
    assert "Before and after the last training" in page.words
    assert "4.25 3.75–4.75 4 %" in page.words
    assert "1.50 1.00–2.00 46 %" in page.words
    assert "−2.75 −3.50 to −2.00 interactions per object. Promoted." in page.words
    # and an image that is no longer kept is left out
    sources = [image["src"] for image in page.all("img") if "/examples/" in image.get("src", "")]
    assert sources == ["/dashboard/versions/team-1/examples/suggested-1.jpg"]
    assert browse.get(sources[0]).headers["content-type"] == "image/jpeg"


def test_a_project_without_a_training_has_no_such_section(
    browse: TestClient, service: Service
) -> None:
    fill(service.database, tasks=4)
    assert "last training" not in Page(browse.get(PROJECT).text).words
