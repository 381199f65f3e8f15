"""The JSON of a report: the form that scripts rely on, and the records' figures in it."""

import json
from typing import Any

import pytest

from backend.reports import schema
from backend.reports.document import json_text
from backend.reports.records import (
    BeforeAfter,
    GroupCost,
    ProjectSummary,
    Reconciliation,
    RegionCost,
    TaskCost,
    Where,
)
from backend.reports.report import GROUPED_BY, gather


def document(team: Any, where: Where | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        "".join(json_text(gather(team.reports, team.key, where or Where())))
    )
    return found


def test_it_holds_every_task_with_its_counts(team: Any) -> None:
    found = document(team)

    tasks = found["tasks"]
    assert len(tasks) == team.reports.project(team.key).tasks
    wanted = {
        *("task", "positive", "negative", "phrases", "interactions", "seconds"),
        *("first_iou", "last_iou", "versions"),
    }
    assert wanted <= set(tasks[0])
    assert sum(it["interactions"] for it in tasks) == team.story.interactions[team.key]
    assert [it["task"] for it in tasks] == sorted(it["task"] for it in tasks)


def test_it_holds_regions_groups_promotions_and_how_they_agree(team: Any) -> None:
    found = document(team)

    assert len(found["regions"]) == team.story.regions[team.key]
    assert set(found["groups"]) == set(GROUPED_BY)
    by_label = sum(it["n"] + it["unknown"] for it in found["groups"]["label"])
    assert (
        by_label == team.story.regions[team.key] == found["total"]["n"] + found["total"]["unknown"]
    )
    assert [it["promotion"]["version"] for it in found["promotions"]]
    assert found["reconciliation"]["agrees"] is True
    assert found["project"]["key"] == team.key


def test_unknown_is_null_and_not_nought(team: Any) -> None:
    by_hand = [it for it in document(team)["regions"] if not it["known"]]

    assert len(by_hand) == team.story.by_hand[team.key]
    for name in ("positive", "interactions", "seconds", "first_iou", "needed_85", "corrected"):
        assert {it[name] for it in by_hand} == {None}


def test_filters_are_told_and_hold(team: Any) -> None:
    found = document(team, Where(label="=Bus", annotator=2))

    assert found["filters"]["label"] == "=Bus"
    assert {it["label"] for it in found["regions"]} == {"=Bus"}
    assert {it["annotator"] for it in found["regions"]} == {2}
    assert all(it["labels"] == ["=Bus"] for it in found["tasks"])


def test_nothing_found_is_a_whole_document_too(team: Any) -> None:
    found = document(team, Where(label="Unicorn"))

    assert found["tasks"] == found["regions"] == found["groups"]["week"] == []
    assert found["total"] is None


@pytest.mark.parametrize(
    ("form", "record", "aside"),
    [
        (schema.Task, TaskCost, {"project", "regions"}),
        (schema.Region, RegionCost, {"project"}),
        (schema.Group, GroupCost, set()),
        (schema.Promotion, BeforeAfter, set()),
        (schema.Project, ProjectSummary, set()),
        (schema.Reconciliation, Reconciliation, {"project"}),
        (schema.Filters, Where, {"tasks"}),
    ],
)
def test_no_figure_of_a_record_is_missing(form: Any, record: Any, aside: set[str]) -> None:
    """What is added to a record must reach the programs that read it."""
    assert set(record.__dataclass_fields__) - aside <= set(form.model_fields)
