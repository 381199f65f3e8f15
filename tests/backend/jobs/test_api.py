"""Jobs over HTTP: start, watch and cancel them; requests from other sites are rejected."""

import pytest
from pydantic import SecretStr

from backend.db.engine import Database
from backend.jobs.queue import Jobs, add_line
from backend.reports.queries import Reports
from backend.settings import Settings
from tests.backend.databases import connect
from tests.backend.servers import ApiClient

KEY = "6.1795384361"


@pytest.fixture
def jobs(database: Database) -> Jobs:
    connect(database, KEY)
    return Jobs(database)


@pytest.fixture
def ask(database: Database, jobs: Jobs, settings: Settings) -> ApiClient:
    return ApiClient(settings, Reports(database))


@pytest.mark.parametrize("project", [6, "6", KEY])
def test_a_training_is_started(ask: ApiClient, jobs: Jobs, project: int | str) -> None:
    answer = ask("/api/jobs", "POST", json={"project": project})

    assert answer.status_code == 202
    assert ask.notified == 1, "a worker is notified at once"
    (job,) = jobs.listed()
    assert (job.project, job.kind, job.trigger, job.state) == (KEY, "training", "hand", "queued")
    assert answer.headers["location"] == f"/api/jobs/{job.id}"
    assert ask(answer.headers["location"]).json()["id"] == answer.json()["id"] == job.id


def test_one_that_waits_is_ended_at_once(ask: ApiClient, jobs: Jobs) -> None:
    number = jobs.enqueue(KEY, "training", trigger="hand").id
    headers = {"Content-Type": "application/json"}

    answer = ask(f"/api/jobs/{number}/cancel", "POST", headers=headers)

    assert answer.json()["state"] == jobs.get(number).state == "cancelled"
    again = ask(f"/api/jobs/{number}/cancel", "POST", headers=headers)
    assert again.status_code == 409
    assert "already ended" in again.json()["detail"]


def test_the_requesting_user_is_kept(database: Database, jobs: Jobs, settings: Settings) -> None:
    locked = {"basic_auth_user": "ann", "basic_auth_password": SecretStr("password1")}
    ask = ApiClient(settings.model_copy(update=locked), Reports(database))

    assert ask("/api/jobs", "POST", json={"project": 6}).status_code == 401
    assert ask("/api/jobs", "POST", json={"project": 6}, auth=("ann", "password1")).is_success
    assert [job.asked_by for job in jobs.listed()] == ["ann"]


def test_the_newest_come_first_and_a_link_leads_on(ask: ApiClient, jobs: Jobs) -> None:
    numbers = [jobs.enqueue(f"{n}.1", "training", trigger="hand").id for n in range(1, 6)]
    path, ids = "/api/jobs?limit=2&kind=training", []
    while path:
        page = ask(path).json()
        assert len(page["jobs"]) <= 2
        ids += [job["id"] for job in page["jobs"]]
        path = page["next"]

    assert ids == sorted(numbers, reverse=True)


def test_filters(ask: ApiClient, jobs: Jobs) -> None:
    mine = jobs.enqueue(KEY, "scoring", trigger="hand").id
    jobs.enqueue("7.1", "training", trigger="hand")

    for filters in ("project=6", f"project={KEY}", "kind=scoring"):
        assert [job["id"] for job in ask(f"/api/jobs?{filters}").json()["jobs"]] == [mine], filters
    assert len(ask("/api/jobs?state=queued").json()["jobs"]) == 2
    assert ask("/api/jobs?state=running").json() == {"jobs": [], "next": None}


def test_the_log_continues_after_a_known_line(
    ask: ApiClient, jobs: Jobs, database: Database
) -> None:
    job = jobs.enqueue(KEY, "training", trigger="hand")
    with database.write() as connection:
        for line in ("one", "<script>two</script>"):
            add_line(connection, job, line)

    first, second = ask(f"/api/jobs/{job.id}").json()["log"]

    assert (first["line"], second["line"]) == ("one", "<script>two</script>")
    rest = ask(f"/api/jobs/{job.id}?after={first['id']}").json()["log"]
    assert rest == [second]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/jobs", {"project": 99}, 404),
        ("/api/jobs", {"project": "cats"}, 422),
        ("/api/jobs", {"project": True}, 422),
        ("/api/jobs", {"project": 6, "kind": "lunch"}, 422),
        ("/api/jobs", {"project": 6, "minutes": 3}, 422),
        ("/api/jobs", {}, 422),
        ("/api/jobs", [], 422),
        ("/api/jobs/77/cancel", {}, 404),
        ("/api/jobs/0/cancel", {}, 422),
    ],
)
def test_refusals_are_sentences(
    ask: ApiClient, jobs: Jobs, path: str, body: object, status: int
) -> None:
    answer = ask(path, "POST", json=body)

    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)
    assert jobs.listed() == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/jobs/77", 404),
        ("/api/jobs/cats", 422),
        ("/api/jobs?limit=0", 422),
        ("/api/jobs?state=asleep", 422),
        ("/api/jobs?project=99", 404),
        (f"/api/jobs?before={2**63}", 422),
    ],
)
def test_looking_for_what_is_not_there(ask: ApiClient, path: str, status: int) -> None:
    answer = ask(path)

    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)


def test_the_wrong_method_gets_both_right_ones(ask: ApiClient) -> None:
    assert ask("/api/jobs", "DELETE").json() == {"detail": "Use GET or POST here."}
