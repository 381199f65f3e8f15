"""What forms change, under which name, and which requests they reject."""

from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from backend.api.service import Service
from backend.app import create_app
from backend.jobs.queue import Jobs
from backend.jobs.schedules import Schedules
from backend.registry.champions import EVERYONE
from backend.settings import Settings
from tests.backend.web import scene
from tests.backend.web.conftest import Page, token
from tests.backend.web.scene import KEY, Scene

CHANGES = (
    ("/dashboard/training/start", {"project": KEY}),
    ("/dashboard/training/plan", {"project": KEY, "paused": "1"}),
    ("/dashboard/training/1/cancel", {}),
    (f"/dashboard/projects/{KEY}/replay", {}),
    (f"/dashboard/projects/{KEY}/tasks/900/annotations/9000/put-back", {}),
    ("/dashboard/versions/base/promote", {"project": KEY}),
    ("/dashboard/rollback", {"project": KEY}),
)


@pytest.fixture
def champion(service: Service, filled: Scene, version: Callable[..., str]) -> Callable[[], str]:
    """Who serves the project now."""
    return lambda: service.registry.champions().of_owner(KEY)


@pytest.mark.parametrize(("path", "form"), CHANGES)
@pytest.mark.parametrize("forged", ["nothing", "another's", "no cookie", "another page"])
def test_a_change_without_our_token_is_refused_with_a_sentence(
    browse: TestClient,
    service: Service,
    filled: Scene,
    path: str,
    form: dict[str, str],
    forged: str,
) -> None:
    before = service.registry.last_promotion()
    right = token(browse)
    headers = {}
    sent = {**form, "token": right}
    if forged == "nothing":
        del sent["token"]
    elif forged == "another's":
        sent["token"] = right[::-1]
    elif forged == "no cookie":
        browse.cookies.clear()
    else:
        headers["origin"] = "http://evil.test"

    answer = browse.post(path, data=sent, headers=headers)

    assert answer.status_code == 403
    words = Page(answer.text).words
    assert "nothing was changed" in words or "Reload it and try again" in words
    assert service.registry.last_promotion() == before
    assert Jobs(service.database).get(filled.running).cancel_asked_at is None
    assert not Schedules(service.database).get(KEY).paused
    assert not Jobs(service.database).listed(state="queued", kind="training")
    assert not Jobs(service.database).listed(state="queued", kind="replay")


def test_promote_does_what_it_says(
    browse: TestClient, service: Service, champion: Callable[[], str], version: Callable[..., str]
) -> None:
    name = version(1, gate=scene.gate())
    path = f"/dashboard/versions/{name}/promote?project={KEY}"
    asked = Page(browse.get(path).text)
    assert f"{name} will serve project 6" in asked.words
    form = _form(asked)

    answer = browse.post(path, data={**form, "why": "it is better"})

    assert answer.history[0].status_code == 303
    assert f"{name} now serves project 6, replacing" in Page(answer.text).words
    assert champion() == name
    done = service.registry.history(KEY)[-1]
    assert (done.kind, done.who, done.why) == ("promotion", "dashboard", "it is better")
    again = Page(browse.get(answer.url.path).text)
    assert "now serves" not in again.words, "it is said once"


def test_promote_refuses_where_another_serves_by_now(
    browse: TestClient, service: Service, champion: Callable[[], str], version: Callable[..., str]
) -> None:
    one, other = version(1), version(2)
    path = f"/dashboard/versions/{one}/promote?project={KEY}"
    form = _form(Page(browse.get(path).text))
    service.registry.promote(other, KEY, who="ada")

    answer = browse.post(path, data=form)

    assert "serves now" in Page(answer.text).words
    assert champion() == other


def test_a_rejected_version_is_promoted_only_on_purpose(
    browse: TestClient, champion: Callable[[], str], version: Callable[..., str]
) -> None:
    name, before = version(1, gate=scene.gate(passed=False)), champion()
    path = f"/dashboard/versions/{name}/promote?project={KEY}"
    asked = Page(browse.get(path).text)
    assert "The gate rejected it: Much worse on the general set." in asked.words
    (tick,) = (field for field in asked.all("input") if field["name"] == "anyway")
    assert "required" in tick, "the browser asks for it"
    form = _form(asked)

    refused = browse.post(path, data=form)
    assert "The gate rejected" in Page(refused.text).words
    assert champion() == before
    browse.post(path, data={**form, "anyway": "1"})
    assert champion() == name


def test_rollback_does_what_it_says(
    browse: TestClient, service: Service, champion: Callable[[], str], version: Callable[..., str]
) -> None:
    one, other = version(1), version(2)
    for name in (one, other):
        service.registry.promote(name, KEY, who="ada")
    path = f"/dashboard/rollback?project={KEY}"
    asked = Page(browse.get(path).text)
    assert f"{one} will serve project 6 again, replacing {other}" in asked.words

    answer = browse.post(path, data=_form(asked))

    assert f"{one} serves project 6 again, replacing {other}." in Page(answer.text).words
    assert champion() == one
    assert service.registry.history(KEY)[-1].who == "dashboard"


def test_rollback_refuses_where_something_happened_in_between(
    browse: TestClient, service: Service, champion: Callable[[], str], version: Callable[..., str]
) -> None:
    one, other = version(1), version(2)
    service.registry.promote(one, KEY, who="ada")
    form = _form(Page(browse.get(f"/dashboard/rollback?project={KEY}").text))
    service.registry.promote(other, KEY, who="ada")

    answer = browse.post("/dashboard/rollback", data=form)

    assert "Check before you repeat" in Page(answer.text).words
    assert champion() == other


def test_promotion_for_all_projects(
    browse: TestClient, service: Service, filled: Scene, version: Callable[..., str]
) -> None:
    name = version(1, project=EVERYONE)
    path = f"/dashboard/versions/{name}/promote"

    browse.post(path, data=_form(Page(browse.get(path).text)))

    assert service.registry.champions().of_owner(EVERYONE) == name


def test_a_training_is_asked_for_by_hand(
    browse: TestClient, service: Service, filled: Scene
) -> None:
    answer = browse.post("/dashboard/training/start", data={"project": KEY, "token": token(browse)})

    assert "was requested." in Page(answer.text).words
    newest = Jobs(service.database).listed(kind="training")[0]
    assert (newest.state, newest.trigger, newest.asked_by) == ("queued", "hand", "dashboard")


def test_a_replay_is_asked_for_by_hand(browse: TestClient, service: Service, filled: Scene) -> None:
    path = f"/dashboard/projects/{KEY}"

    answer = browse.post(f"{path}/replay", data={"token": token(browse, path)})

    assert "was requested." in Page(answer.text).words
    newest = Jobs(service.database).listed(kind="replay")[0]
    assert (newest.state, newest.trigger, newest.project) == ("queued", "hand", KEY)
    again = browse.get(path).text
    assert f"Replay {newest.id}" in Page(again).words
    assert f'action="{path}/replay"' not in again, "one at a time"


def test_cancel_ends_waiting_jobs_and_stops_running_ones(
    browse: TestClient, service: Service, filled: Scene
) -> None:
    form = {"token": token(browse)}
    jobs = Jobs(service.database)

    waits = browse.post(f"/dashboard/training/{filled.queued}/cancel", data=form)
    runs = browse.post(f"/dashboard/training/{filled.running}/cancel", data=form)
    ended = browse.post(f"/dashboard/training/{filled.done}/cancel", data=form)

    assert jobs.get(filled.queued).state == "cancelled"
    assert f"Job {filled.queued} was cancelled." in Page(waits.text).words
    assert jobs.get(filled.running).cancel_asked_by == "dashboard"
    assert "dashboard cancelled it" in Page(runs.text).words
    assert "has already ended" in Page(ended.text).words


def test_a_schedule_is_saved_and_nonsense_refused(
    browse: TestClient, service: Service, filled: Scene
) -> None:
    form = {"project": KEY, "token": token(browse)}
    schedules = Schedules(service.database)

    good = {**form, "after_labels": "7", "cron": "0 3 * * *", "paused": "1"}
    kept = browse.post("/dashboard/training/plan", data=good)
    assert "The schedule was saved." in Page(kept.text).words
    saved = schedules.get(KEY)
    assert (saved.after_labels, saved.cron, saved.paused) == (7, "0 3 * * *", True)
    for nonsense in ({"cron": "every day"}, {"after_labels": "0"}, {"after_labels": "some"}):
        refused = browse.post("/dashboard/training/plan", data={**good, **nonsense})
        assert "message bad" in refused.text
    assert schedules.get(KEY) == saved
    browse.post("/dashboard/training/plan", data=form)
    assert not schedules.get(KEY).paused
    assert schedules.get(KEY).after_labels is None


@pytest.fixture
def guarded(settings: Settings, service: Service) -> Iterator[TestClient]:
    """With basic auth, behind https."""
    login = {"basic_auth_user": "ada", "basic_auth_password": SecretStr("correct horse")}
    app = create_app(settings.model_copy(update=login), service)
    service.settings = settings.model_copy(update=login)
    with TestClient(app, base_url="https://dashboard.test") as client:
        client.auth = ("ada", "correct horse")
        yield client


def test_changes_are_made_in_the_users_name(
    guarded: TestClient, service: Service, filled: Scene
) -> None:
    form = {"project": KEY, "token": token(guarded)}
    origin = {"origin": "https://dashboard.test"}

    guarded.post("/dashboard/training/start", data=form, headers=origin)

    assert Jobs(service.database).listed(kind="training")[0].asked_by == "ada"


def test_the_cookie_is_for_https_alone_where_that_is_spoken(guarded: TestClient) -> None:
    assert "secure" in guarded.get("/dashboard").headers["set-cookie"].lower()


def _form(page: Page) -> dict[str, str]:
    """The hidden fields of the page's form."""
    return {
        field["name"]: field["value"]
        for field in page.all("input")
        if field.get("type") == "hidden"
    }
