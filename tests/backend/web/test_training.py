"""What the pages show of trainings and replays."""

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


def test_a_replay_is_marked_as_simulated_wherever_it_stands(
    browse: TestClient, filled: Scene
) -> None:
    project = Page(browse.get(PROJECT).text).words
    job = Page(browse.get(f"/dashboard/training/{filled.replay}").text).words
    listed = Page(browse.get("/dashboard/training?kind=replay").text).words

    for words in (project, job):
        assert "All labeled objects 60 3.25 2.50" in words
        assert "−0.75 −0.95 to −0.75 simulated" in words
        assert "Held-out images only 12 3.50 3.00" in words
    assert "Replays simulated" in project
    assert "Result simulated" in job
    assert "Simulated: 3.25 to 2.50 interactions per object." in listed


def test_the_list_of_jobs_can_be_refreshed(browse: TestClient, filled: Scene) -> None:
    everything = browse.get("/dashboard/training/now").json()
    done = browse.get("/dashboard/training/now?state=done").json()

    assert everything["busy"]
    assert f"Training {filled.running}" in everything["running"]
    assert f"Training {filled.done}" in done["table"]
    assert f"Training {filled.running}" not in done["table"]
