"""Reports over HTTP: filters, pages with links, tables, errors as sentences, access."""

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest

from backend.settings import Settings
from tests.backend.servers import ApiClient


@pytest.fixture
def ask(team: Any, settings: Settings) -> ApiClient:
    return ApiClient(settings, team.reports)


def test_projects(ask: ApiClient, team: Any) -> None:
    projects = ask("/api/reports/projects").json()["projects"]

    assert [project["key"] for project in projects] == list(team.story.projects)
    assert projects[0]["interactions"] == team.story.interactions[team.key]


def test_pages_of_tasks_hold_each_task_once(ask: ApiClient, team: Any) -> None:
    path, seen = "/api/reports/6/tasks?size=40&sort=interactions&order=descending", []
    while path:
        page = ask(path).json()
        seen += page["items"]
        assert page["total"] == team.reports.project(team.key).tasks
        assert page["pages"] == -(-page["total"] // 40)
        path = page["links"]["next"]

    assert len({task["task"] for task in seen}) == len(seen) == page["total"]
    interactions = [task["interactions"] for task in seen]
    assert interactions == sorted(interactions, reverse=True)
    assert sum(interactions) == team.story.interactions[team.key]


def test_links_keep_the_filters(ask: ApiClient) -> None:
    page = ask("/api/reports/6/tasks", params={"label": "Ampel <b>", "size": 2, "page": 2}).json()

    links = page["links"]
    assert links["self"] == "/api/reports/6/tasks?label=Ampel+%3Cb%3E&page=2&size=2"
    assert links["previous"].endswith("page=1&size=2")
    assert links["first"] == links["previous"]
    assert {label for task in ask(links["next"]).json()["items"] for label in task["labels"]} == {
        "Ampel <b>"
    }


def test_behind_the_last_page_is_nothing_and_a_way_back(ask: ApiClient) -> None:
    page = ask("/api/reports/6/tasks?page=999&size=50").json()

    assert page["items"] == []
    assert page["links"]["previous"] == page["links"]["last"]
    assert page["links"]["next"] is None


def test_one_task_has_its_regions(ask: ApiClient, team: Any) -> None:
    some = ask("/api/reports/6/tasks?sort=objects&order=descending&size=1").json()["items"][0]

    task = ask(f"/api/reports/{team.key}/tasks/{some['task']}").json()

    assert len(task["regions"]) == some["objects"] > 1
    assert {region["task"] for region in task["regions"]} == {some["task"]}


def test_pages_of_regions_hold_each_region_once(ask: ApiClient, team: Any) -> None:
    regions: list[Any] = []
    for number in range(1, 100):
        page = ask(f"/api/reports/6/regions?page={number}&size=100").json()
        regions += page["items"]
        if page["links"]["next"] is None:
            break

    places = {(region["annotation"], region["brush"], region["region"]) for region in regions}
    assert len(places) == len(regions) == page["total"] == team.story.regions[team.key]


@pytest.mark.parametrize(
    ("filters", "holds"),
    [
        ({"version": "team-2"}, lambda region: region["version"] == "team-2"),
        ({"label": "=Bus"}, lambda region: region["label"] == "=Bus"),
        ({"annotator": "ann@example.com"}, lambda region: region["annotator"] == 1),
        ({"phrase": "true"}, lambda region: region["phrase"] != ""),
        ({"since": "2026-09-01"}, lambda region: region["submitted_at"] >= "2026-09-01"),
        ({"until": "2026-09-01"}, lambda region: region["submitted_at"] < "2026-09-02"),
    ],
)
def test_filters_hold(
    ask: ApiClient, filters: dict[str, str], holds: Callable[[Any], bool]
) -> None:
    everything = ask("/api/reports/6/regions?size=500").json()
    page = ask("/api/reports/6/regions", params={"size": 500, **filters}).json()

    assert 0 < page["total"] < everything["total"]
    assert all(holds(region) for region in page["items"])


@pytest.mark.parametrize("by", ["project", "version", "label", "annotator", "week", "phrase"])
def test_groups(ask: ApiClient, by: str) -> None:
    answer = ask(f"/api/reports/6/groups?by={by}").json()

    assert answer["by"] == by
    assert answer["groups"]
    assert all(len(group["histogram"]) == 21 for group in answer["groups"])


def test_promotions_and_reconciliation(ask: ApiClient) -> None:
    assert ask("/api/reports/6/promotions").json()["promotions"][-1]["strata"]
    assert ask("/api/reports/6/reconciliation").json()["agrees"] is True


@pytest.mark.parametrize("what", ["tasks", "regions"])
def test_csv_is_all_of_it_as_a_file(ask: ApiClient, team: Any, what: str) -> None:
    answer = ask(f"/api/reports/6/{what}?format=csv&size=1")

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert f'filename="project-{team.key}-{what}.csv"' in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    assert len(rows) == ask(f"/api/reports/6/{what}").json()["total"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/reports/99/tasks", 404),
        ("/api/reports/6/tasks/99999999", 404),
        ("/api/reports/cats/tasks", 422),
        ("/api/reports/6/tasks?sort=beauty", 422),
        ("/api/reports/6/tasks?page=0", 422),
        ("/api/reports/6/tasks?size=501", 422),
        ("/api/reports/6/tasks?since=yesterday", 422),
        ("/api/reports/6/tasks?annotator=eve@example.com", 422),
        ("/api/reports/6/tasks?format=xml", 422),
        ("/api/reports/6/regions?label=%00", 422),
        ("/api/reports/6/tasks/99999999999999999999", 422),
        ("/api/reports/6/groups?by=mood", 422),
    ],
)
def test_refusals_are_sentences(ask: ApiClient, path: str, status: int) -> None:
    answer = ask(path)

    assert answer.status_code == status
    assert answer.json()["detail"].endswith((".", "!"))
    assert list(answer.json()) == ["detail"]


def test_the_wrong_method_gets_the_right_one(ask: ApiClient) -> None:
    answer = ask("/api/reports/6/tasks", "POST")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"
    assert answer.json() == {"detail": "Use GET here."}


def test_no_figure_of_prometheus_names_a_project_or_a_task(ask: ApiClient) -> None:
    ask("/api/reports/6/tasks/1")
    ask("/api/reports/6/tasks/2")

    said = ask.metrics.exposition().decode()
    assert 'route="/api/reports/{project}/tasks/{task}",status="200"} 2.0' in said


def test_the_schema_names_every_route_with_its_answer(ask: ApiClient) -> None:
    paths = ask("/openapi.json").json()["paths"]

    mine = {
        path: methods["get"] for path, methods in paths.items() if path.startswith("/api/reports")
    }
    assert len(mine) == 9
    file = mine.pop("/api/reports/{project}/report")["responses"]["200"]["content"]
    assert set(file) == {"text/html", "application/json"}
    for path, route in mine.items():
        schema = route["responses"]["200"]["content"]["application/json"]["schema"]
        assert schema.get("$ref"), path
        refused = route["responses"]["422"]["content"]["application/json"]["schema"]
        assert refused["$ref"].endswith("/Refusal"), path
