"""Each page over HTTP: empty and filled, escaped text of users, access and headers."""

import csv
import io
import itertools
import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, update
from starlette.testclient import TestClient

from backend.api.service import Service
from backend.db.models import AnnotationRow, ProjectRow, SampledProjectRow, TargetRow, lock_samples
from tests.backend.databases import connect
from tests.backend.web import scene
from tests.backend.web.conftest import Page
from tests.backend.web.scene import ANNOTATION, KEY, SCRIPT, TASK, Scene

PROJECT = f"/dashboard/projects/{KEY}"
EMPTY = {
    "": "phraseclick connect --project N",
    "/training": "phraseclick connect --project N",
    "/versions": "A training creates a version",
    "/health": "No project is connected yet.",
    "/rollback": "There is no promotion",
}
FILLED = (
    *(f"/dashboard{path}" for path in EMPTY),
    PROJECT,
    f"{PROJECT}/tasks",
    f"{PROJECT}/tasks?sort=per_object&order=asc&words=with&weeks=52&page=2",
    f"{PROJECT}/tasks?weeks=999999999",
    f"{PROJECT}/groups",
    f"{PROJECT}/groups?sort=seconds&order=asc&since=2020-01-01&until=2100-01-01&words=with",
    f"{PROJECT}/tasks/{TASK}",
    f"/dashboard/training?project={KEY}&kind=training&state=failed",
    "/dashboard/training/1",
    f"/dashboard/versions?project={KEY}",
)


@pytest.mark.parametrize(("path", "sentence"), EMPTY.items())
def test_an_empty_page_says_what_to_do(browse: TestClient, path: str, sentence: str) -> None:
    answer = browse.get(f"/dashboard{path}")

    assert answer.status_code == 200
    page = Page(answer.text)
    assert len(page.all("h1")) == 1
    assert sentence in page.words
    assert "None" not in page.words.replace("Recent errors None.", "")


def test_an_unused_project_says_what_to_do(browse: TestClient, service: Service) -> None:
    connect(service.database, KEY)

    costs, tasks, training = (
        Page(browse.get(path).text).words
        for path in (PROJECT, f"{PROJECT}/tasks", f"/dashboard/training?project={KEY}")
    )

    assert "Open a task in Label Studio, switch on auto-annotation, and click" in costs
    assert "No tasks yet" in tasks
    assert "0 new labels of 20: 20 to go." in training


def test_the_bare_address_leads_to_the_dashboard(browse: TestClient) -> None:
    answer = browse.get("/")

    assert answer.url.path == "/dashboard"
    assert "phraseclick connect" in answer.text


@pytest.mark.parametrize("path", FILLED)
def test_pages_of_a_project_are_whole_and_quote_strangers(
    browse: TestClient, filled: Scene, version: Callable[..., str], path: str
) -> None:
    version(1, gate=scene.gate())

    answer = browse.get(path)

    assert answer.status_code == 200, Page(answer.text).words
    page = Page(answer.text)
    assert all("src" in script for script in page.all("script")), "no script but our files"
    assert "<i>" not in answer.text
    assert not [
        attributes
        for _, attributes in page.elements
        if any(name.startswith("on") for name in attributes)
    ]
    assert not [attributes for _, attributes in page.elements if "style" in attributes], (
        "no inline style"
    )
    for tag, name in (("script", "src"), ("link", "href"), ("img", "src"), ("form", "action")):
        for element in page.all(tag):
            assert element.get(name, "/").startswith("/"), "nothing is asked of another host"


def test_a_phrase_that_is_a_script_is_text(browse: TestClient, filled: Scene) -> None:
    page = Page(browse.get(f"{PROJECT}/tasks/{TASK}").text)

    assert f"“{scene.PHRASE}”" in page.words
    assert SCRIPT in page.words.replace(scene.PHRASE, "", 2), "the label, too"


def test_headers_forbid_what_no_page_needs(browse: TestClient) -> None:
    headers = browse.get("/dashboard").headers

    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    cookie = headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


@pytest.mark.parametrize("path", FILLED)
def test_what_screen_readers_need(browse: TestClient, filled: Scene, path: str) -> None:
    page = Page(browse.get(path).text)

    assert page.all("html")[0]["lang"] == "en"
    for tag in ("main", "header", "footer", "nav", "h1"):
        assert page.all(tag), f"a {tag} on {path}"
    assert all("scope" in cell for cell in page.all("th"))
    assert all(image.get("alt") for image in page.all("img"))
    assert len(page.all("table")) == len(page.all("caption"))
    for svg in page.all("svg"):
        assert svg.get("aria-hidden") == "true" or svg.get("aria-label"), svg
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)), "every id once"
    for _, attributes in page.elements:
        for name in ("aria-labelledby",):
            assert attributes.get(name, ids and ids[0]) in ids
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels)), levels


def test_sorting_is_shown_and_reversed(browse: TestClient, filled: Scene) -> None:
    page = Page(browse.get(f"{PROJECT}/tasks?sort=interactions&order=desc").text)

    (sorted_by,) = [cell for cell in page.all("th") if "aria-sort" in cell]
    assert sorted_by["aria-sort"] == "descending"
    links = [link["href"] for link in page.all("a")]
    assert "?sort=interactions&order=asc" in links


def test_filters_narrow_the_tasks_and_stay_chosen(browse: TestClient, filled: Scene) -> None:
    everything = Page(browse.get(f"{PROJECT}/tasks").text)
    one = Page(browse.get(f"{PROJECT}/tasks?task={TASK}&label=&words=with").text)

    assert f"{filled.tasks} tasks" in everything.words
    assert "1 task." in one.words
    assert "selected" in next(
        option for option in one.all("option") if option.get("value") == "with"
    )


def test_annotators_and_labels_can_be_sorted(browse: TestClient, filled: Scene) -> None:
    up, down = (
        Page(browse.get(f"{PROJECT}/groups?sort=n&order={order}").text) for order in ("asc", "desc")
    )

    assert [cell["aria-sort"] for cell in up.all("th") if "aria-sort" in cell] == ["ascending"] * 2
    assert "?sort=n&order=desc" in [link["href"] for link in up.all("a")]
    first, last = (page.words.partition("By label")[2].index("Cat") for page in (up, down))
    assert first != last


def test_every_column_is_explained(browse: TestClient, filled: Scene) -> None:
    for path in (f"{PROJECT}/groups", f"{PROJECT}/tasks", PROJECT):
        page = Page(browse.get(path).text)

        assert "What the columns mean" in page.words
        titles = [cell["title"] for cell in page.all("th") if cell.get("title")]
        assert any("IoU of the first mask" in title for title in titles)


def test_files_hold_what_the_filter_leaves(browse: TestClient, filled: Scene) -> None:
    # given
    page = Page(browse.get(f"{PROJECT}/groups?label=Cat&words=with&since=2020-01-01").text)
    links = [link["href"] for link in page.all("a") if "download" in link]
    assert len(links) == 9
    # when
    answers = {link: browse.get(link) for link in links}
    # then
    assert all("label=Cat" in link and "phrase=true" in link for link in links)
    assert all(answer.status_code == 200 for answer in answers.values())
    table = next(a.text for link, a in answers.items() if "regions?format=csv" in link)
    regions = list(csv.DictReader(io.StringIO(table, newline="")))
    assert {region["label"] for region in regions} == {"Cat"}
    whole = next(a.json() for link, a in answers.items() if "format=json" in link)
    assert len(whole["regions"]) == len(regions)
    parquet = next(a.content for link, a in answers.items() if "tasks?format=parquet" in link)
    assert parquet.startswith(b"PAR1")
    labels = next(a.json() for link, a in answers.items() if "by=label" in link)
    assert [group["name"] for group in labels["groups"]] == ["Cat"]
    assert any("without-mask" in link for link in links)


def test_a_submit_without_a_mask_is_listed(
    browse: TestClient, service: Service, filled: Scene
) -> None:
    # given one with no region, one skipped, and one with another shape
    rows = [
        {"annotation_id": 9001, "skipped": False, "left_out": {}},
        {"annotation_id": 9002, "skipped": True, "left_out": {}},
        {"annotation_id": 9003, "skipped": False, "left_out": {"another shape": 1}},
    ]
    created = datetime(2026, 11, 2, 12, tzinfo=UTC)
    same = {"project": KEY, "task_id": TASK, "annotator": 77, "created_at": created, "digest": ""}
    before = len(service.reports.without_mask(KEY))
    with service.database.write() as connection:
        connection.execute(insert(AnnotationRow), [{**same, **row} for row in rows])
    # when
    annotations = browse.get(f"/api/reports/{KEY}/without-mask?annotator=77").json()["annotations"]
    costs, groups = (Page(browse.get(path).text).words for path in (PROJECT, f"{PROJECT}/groups"))
    # then
    assert [one["annotation"] for one in annotations] == [9001]
    assert len(service.reports.without_mask(KEY)) == before + 1
    assert "submitted without a mask" in costs
    assert "user 77" in groups
    assert "2026-11-02 12:00" in groups
    assert browse.get(f"/api/reports/{KEY}/without-mask?label=Cat").json()["annotations"] == []


def test_masks_left_behind_are_listed_with_a_button(
    browse: TestClient, service: Service, filled: Scene
) -> None:
    # given an object whose mask an annotation was submitted without
    now = datetime.now(UTC)
    place = {"project": KEY, "task_id": TASK, "image": "image", "brush": "brush"}
    state = {"region_id": "r", "label": SCRIPT, "state": "open", "sequence": 1, "turn": 1}
    times = {"created_at": now, "updated_at": now, "answered_at": now}
    left = {"clicks": [], "answered_turn": 1, "dropped_by": ANNOTATION, "owner": "anna"}
    with service.database.write() as connection:
        connection.execute(insert(TargetRow).values({**place, **state, **times, **left}))
    # when
    costs, groups, other = (
        Page(browse.get(path).text)
        for path in (PROJECT, f"{PROJECT}/groups", f"{PROJECT}/groups?label=Cat")
    )
    # then the project's page counts it, and the list has it with a button, unless filtered out
    assert "1 annotation left masks behind" in costs.words
    action = f"{PROJECT}/tasks/{TASK}/annotations/{ANNOTATION}/put-back"
    assert action in [form.get("action") for form in groups.all("form")]
    assert f"{TASK} {ANNOTATION} anna {SCRIPT[:20]}" in groups.words
    assert action not in [form.get("action") for form in other.all("form")]


def test_problems_of_a_project_are_on_its_page(
    browse: TestClient, service: Service, filled: Scene
) -> None:
    with service.database.write() as connection:
        lock_samples(connection, KEY)
        here = update(SampledProjectRow).where(SampledProjectRow.key == KEY)
        connection.execute(here.values(error="The Label Studio token contains blanks."))

    page = Page(browse.get(PROJECT).text)

    assert "cannot be read from Label Studio: The Label Studio token contains" in page.words


def test_a_task_leads_into_label_studio(browse: TestClient, filled: Scene) -> None:
    links = [link["href"] for link in Page(browse.get(f"{PROJECT}/tasks/{TASK}").text).all("a")]

    assert f"http://studio.test/projects/6/data?task={TASK}" in links


def test_an_announced_address_that_is_a_script_is_no_link(
    browse: TestClient, service: Service, filled: Scene
) -> None:
    with service.database.write() as connection:
        connection.execute(update(ProjectRow).values(hostname="javascript:alert(1)//"))

    page = browse.get(PROJECT)

    assert page.status_code == 200
    assert "javascript:" not in page.text


def test_problems_are_shown_in_sentences(browse: TestClient, filled: Scene) -> None:
    for path in ("/dashboard", "/dashboard/health"):
        words = Page(browse.get(path).text).words
        assert "No worker is running; the last was seen" in words
        assert "1 webhook delivery has been waiting since" in words
        assert "Label Studio did not answer." in words
        assert f"failed: No label {SCRIPT}." in words
    health = Page(browse.get("/dashboard/health").text).words
    assert "could not be had. worker, just now, 2 times" in health
    assert "cache 123.0 MB" in health


def test_a_page_that_is_not_there(browse: TestClient) -> None:
    for path in (
        "nothing",
        "projects/77",
        "training/x",
        "training/4711",
        "versions/none",
        "projects/6.1/tasks/5",
    ):
        answer = browse.get(f"/dashboard/{path}")
        assert answer.status_code == 404, path
        assert "Page not found" in answer.text


def test_an_unexpected_error_is_a_page_with_a_sentence(
    browse: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(service.reports, "projects", broken)
    answer = browse.get("/dashboard")

    assert answer.status_code == 500
    assert "See the backend's log for the cause" in Page(answer.text).words
    assert "secret detail" not in answer.text


def test_one_name_for_all_pages_in_the_metrics(browse: TestClient, filled: Scene) -> None:
    browse.get(PROJECT)
    browse.get("/dashboard/static/style.css")

    figures = browse.get("/metrics").text
    assert 'phraseclick_requests_total{route="/dashboard",status="200"} 2.0' in figures
    assert KEY not in "".join(line for line in figures.splitlines() if "route=" in line)
