"""What the pages show of trainings and replays."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import update
from starlette.testclient import TestClient

from backend.api.service import Service
from backend.db.models.jobs import Job
from backend.jobs.presence import Presence
from tests.backend.reports import big
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


def test_few_pictures_give_no_interval(
    browse: TestClient, service: Service, version: Callable[..., str], filled: Scene
) -> None:
    # given a version whose gate measured the suggestions on four pictures
    figures = scene.suggestions()
    figures["candidate"]["pictures"] = 4
    name = version(4, gate={**scene.gate(), "suggestions": figures})
    # when its page is opened
    page = Page(browse.get(f"/dashboard/versions/{name}").text)
    # then the figures are there without intervals, and so are the pictures
    assert "on 24 objects of 4 held-out pictures" in page.words
    assert "4.25 4 %" in page.words
    assert "−2.75 interactions per object." in page.words
    sources = [image["src"] for image in page.all("img")]
    assert f"/dashboard/versions/{name}/examples/suggested-1.jpg" in sources


def test_a_job_that_no_worker_takes_says_so(
    browse: TestClient, service: Service, filled: Scene
) -> None:
    page = f"/dashboard/training/{filled.queued}"
    assert "No training worker is running" in browse.get(page).text
    # when it has waited for some minutes, then it is a problem
    long_ago = datetime.now(UTC) - timedelta(minutes=5)
    with service.database.write() as connection:
        queued = update(Job).where(Job.state == "queued")
        connection.execute(queued.values(due_at=long_ago))
    problem = "1 job waits, and no training worker is running."
    assert problem in Page(browse.get("/dashboard/health").text).words
    # and with a worker there is none
    worker = Presence(service.database, "training", every_s=1000)
    worker._update()
    assert problem not in browse.get("/dashboard/health").text
    assert "No training worker" not in browse.get(f"{page}/live").json()["head"]


def test_a_project_without_a_training_has_no_such_section(
    browse: TestClient, service: Service
) -> None:
    big.fill_one(service.database, 40)
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
