"""Masks that were not accepted before Submit: noticed, listed, put back as a prediction."""

from typing import Any, cast

import numpy as np
import pytest
from sqlalchemy import update

from backend.db.engine import Database
from backend.db.models import TargetRow
from backend.errors import JobError, LabelStudioError
from backend.interaction.request import Turn
from backend.interaction.submitted import DroppedMasks, annotations_deleted, dropped_masks, put_back
from backend.label_studio.client import LabelStudio
from backend.label_studio.config import parse_config
from backend.label_studio.payloads import Project
from backend.label_studio.regions import parse_result
from tests.backend.interaction.page import OpenPage, Page, drawn

TASK = 42


class Studio:
    """Label Studio, as far as putting back asks it."""

    def __init__(self, *, broken: bool = False, tasks: tuple[int, ...] = (TASK,)) -> None:
        self.broken = broken
        self.tasks = tasks
        self.predictions: list[tuple[int, dict[str, Any]]] = []

    def tasks_of(self, project: int, tasks: list[int]) -> list[dict[str, Any]]:
        return [{"id": task, "data": {"image": "a.png"}} for task in tasks if task in self.tasks]

    def create_prediction(self, task: int, prediction: dict[str, Any]) -> None:
        if self.broken:
            raise LabelStudioError("Label Studio is away.")
        self.predictions.append((task, prediction))


def listed(page: Page, database: Database) -> list[DroppedMasks]:
    return dropped_masks(database, Project.read(page.project))


def back(page: Page, database: Database, studio: Studio) -> int:
    project, annotation = Project.read(page.project), page.annotations[-1]["id"]
    config = parse_config(page.config)
    label_studio = cast("LabelStudio", studio)
    return put_back(database, label_studio, config, project, TASK, annotation, tolerance=0.5)


def drop(page: Page) -> None:
    """Click, and submit without accepting the answer."""
    page.click(20)
    page.work()
    page.submit()


def test_a_mask_that_was_not_accepted_is_listed(open_page: OpenPage, database: Database) -> None:
    # given a suggestion, when it is submitted without being accepted
    page = open_page()
    page.click(20)
    page.work()
    page.send([])
    page.submit()
    # then it is listed, once, with its annotation and who made it
    (one,) = listed(page, database)
    assert (one.task, one.annotation) == (TASK, page.annotations[0]["id"])
    assert (one.labels, one.owner) == (("Cat",), page.user)


@pytest.mark.parametrize("auto_accept", [False, True])
def test_an_accepted_mask_is_not_listed(
    open_page: OpenPage, database: Database, *, auto_accept: bool
) -> None:
    page = open_page(auto_accept=auto_accept)
    accept_a_cat(page)
    page.submit()
    assert listed(page, database) == []


def accept_a_cat(page: Page) -> None:
    page.click(20)
    page.accept()
    page.work()


def refine(page: Page, x: int) -> Turn:
    """One more click on an object that was accepted, whose answer is not accepted."""
    accept_a_cat(page)
    turn = page.click(x, "+ last object")
    page.work()
    return turn


@pytest.mark.parametrize("words", ["", "the red cat"])
def test_a_refinement_that_was_not_accepted_is_listed_and_put_back(
    open_page: OpenPage, database: Database, words: str
) -> None:
    # given an accepted mask, and a click or words that refine it
    page, studio = open_page(), Studio()
    accept_a_cat(page)
    turn = page.type(words) if words else page.click(70, "+ last object")
    # when the page is submitted without the answer being accepted
    page.work()
    page.submit()
    # then it is listed, and what is put back is the refined mask
    (one,) = listed(page, database)
    assert one.labels == ("Cat",)
    assert back(page, database, studio) == 1
    (region,) = parse_result(studio.predictions[0][1]["result"])
    assert np.array_equal(region.mask(), drawn(turn))
    assert listed(page, database) == []


def test_an_answer_that_came_after_submit_is_listed(
    open_page: OpenPage, database: Database
) -> None:
    # given a refinement that was submitted before its answer was there
    page = open_page()
    refine(page, 70)
    page.broken = True
    page.click(90, "+ last object")
    left = list(page.sent)
    page.submit()
    assert len(listed(page, database)) == 1
    back(page, database, Studio())
    assert listed(page, database) == []
    # when the answer to the same points comes, then it is listed
    page.broken = False
    page.send(left, lost=True)
    assert len(listed(page, database)) == 1


@pytest.mark.parametrize("way", ["accepted", "failed", "rejected", "edited"])
def test_a_refinement_that_left_nothing_behind_is_not_listed(
    open_page: OpenPage, database: Database, way: str
) -> None:
    # given an accepted mask, refined by a click that
    page = open_page()
    accept_a_cat(page)
    page.broken = way == "failed"  # never had an answer,
    region = page.click(70, "+ last object").target.region_id  # type: ignore[union-attr]
    if way == "rejected":  # was taken off the page with its answer,
        page.points.clear()
    elif way in ("accepted", "edited"):
        page.accept()
    if way == "edited":  # or whose mask was accepted and corrected by hand
        mask = page.mask(region)
        mask[:10, :10] = True
        page.draw(region, mask)
    # when the page is submitted
    page.work()
    page.submit()
    # then nothing is listed
    assert listed(page, database) == []


def test_a_refinement_accepted_in_a_reopened_annotation_is_not_listed(
    open_page: OpenPage, database: Database
) -> None:
    # given a refinement that was listed, whose annotation was opened again: its point is a plain
    # one now, which accepting does not take away
    page = open_page()
    refine(page, 70)
    page.submit()
    (old,) = [item for item in page.annotations[-1]["result"] if item["type"] == "keypointlabels"]
    # when one more click is accepted and the annotation is updated
    page.click(75, "+ last object")
    page.accept()
    page.annotations[-1] |= {
        "result": [*page.regions.values(), old],
        "updated_at": "2026-11-23T10:00:00Z",
    }
    page.send([])
    # then it is not listed any more
    assert listed(page, database) == []


def test_words_alone_count_where_nothing_was_submitted(
    open_page: OpenPage, database: Database
) -> None:
    # given two tasks with a phrase's mask, accepted in the second one only
    left, kept = open_page(), open_page(task=43)
    for page in (left, kept):
        page.type("the cat")
    kept.accept()
    # when both are submitted
    for page in (left, kept):
        page.work()
        page.submit()
    # then only the first one is listed
    assert [one.task for one in listed(left, database)] == [TASK]


def test_words_that_nothing_came_after_count_beside_other_masks(
    open_page: OpenPage, database: Database
) -> None:
    # given an accepted Cat, and words that made a Dog, which was not accepted
    page, studio = open_page(), Studio()
    accept_a_cat(page)
    page.type("the dog")
    # when the page is submitted, then the Dog is listed
    page.work()
    page.submit()
    (one,) = listed(page, database)
    assert one.labels == ("Dog",)
    assert back(page, database, studio) == 1


@pytest.mark.parametrize("way", ["accepted", "auto-accepted", "went on", "older than a click"])
def test_words_whose_mask_was_kept_or_given_up_are_not_listed(
    open_page: OpenPage, database: Database, way: str
) -> None:
    # given an accepted mask and words, in either order, of which the later was
    page = open_page(auto_accept=way == "auto-accepted")
    steps = [lambda: page.click(20), lambda: page.type("the red cat")]
    if way == "older than a click":  # rejected
        steps = [lambda: page.type("the cat"), lambda: page.click(20, "+ last object")]
    steps[0]()
    page.accept()
    page.work()
    steps[1]()
    if way == "accepted":
        page.accept()
    else:
        page.reject()
    if way == "went on":  # rejected, before another object was made
        page.click(80, "Dog")
        page.accept()
    # when the page is submitted, then nothing is listed
    page.work()
    page.submit()
    assert listed(page, database) == []


def test_a_later_version_with_the_mask_takes_it_off_the_list(
    open_page: OpenPage, database: Database
) -> None:
    # given a listed mask
    page = open_page()
    drop(page)
    # when the annotator accepts it after all and updates the annotation
    page.click(25)
    page.accept()
    page.annotations[-1] |= {
        "result": list(page.regions.values()),
        "updated_at": "2026-11-23T10:00:00Z",
    }
    page.send([])
    # then it is not listed any more
    assert listed(page, database) == []


def test_a_deleted_annotation_is_not_listed(open_page: OpenPage, database: Database) -> None:
    page = open_page()
    drop(page)
    annotations_deleted(database, Project.read(page.project), [page.annotations[0]["id"]])
    assert listed(page, database) == []


def test_the_newest_mask_is_put_back_once(open_page: OpenPage, database: Database) -> None:
    # given a suggestion of two clicks that was not accepted
    page, studio = open_page(), Studio()
    page.click(20)
    turn = page.click(70)
    page.work()
    page.submit()
    # when it is put back
    assert back(page, database, studio) == 1
    # then the task has a prediction with exactly the mask that was shown
    ((task, prediction),) = studio.predictions
    (region,) = parse_result(prediction["result"])
    assert task == TASK
    assert turn.target is not None
    assert (region.id, region.labels) == (turn.target.region_id, ("Cat",))
    assert np.array_equal(region.mask(), drawn(turn))
    assert prediction["model_version"] == "v1"
    # and a second time there is nothing to put back, also after another report of the annotation
    page.send([])
    assert listed(page, database) == []
    with pytest.raises(JobError, match="No mask"):
        back(page, database, studio)


def test_what_label_studio_refused_can_be_tried_again(
    open_page: OpenPage, database: Database
) -> None:
    page = open_page()
    drop(page)
    with pytest.raises(LabelStudioError, match="away"):
        back(page, database, Studio(broken=True))
    with pytest.raises(JobError, match="no longer"):
        back(page, database, Studio(tasks=()))
    assert back(page, database, studio := Studio()) == 1
    assert len(studio.predictions) == 1


def test_a_mask_stays_listed_while_the_config_lacks_its_tool(
    open_page: OpenPage, database: Database
) -> None:
    # given a dropped mask, and a labeling config whose brush has another name since
    page = open_page()
    drop(page)
    before = page.config
    page.config = before.replace('"brush"', '"renamed"')
    # when someone tries to put it back
    with pytest.raises(JobError, match="No mask"):
        back(page, database, Studio())
    # then it can still be put back once the brush is there again
    page.config = before
    assert back(page, database, Studio()) == 1


def test_of_several_masks_those_that_cannot_be_put_back_stay_listed(
    open_page: OpenPage, database: Database
) -> None:
    # given two dropped masks, one of them of a tool that the labeling config lacks now
    page = open_page()
    page.click(20)
    page.click(70, "Dog")
    page.work()
    page.submit()
    assert listed(page, database)[0].labels == ("Cat", "Dog")
    with database.write() as connection:
        of_dog = update(TargetRow).where(TargetRow.label == "Dog")
        connection.execute(of_dog.values(brush="renamed"))
    # when they are put back
    assert back(page, database, Studio()) == 1
    # then the other one waits
    assert listed(page, database)[0].labels == ("Dog",)
