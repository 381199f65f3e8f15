"""A region's events compared with the accepted mask, and pixels edited by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from backend.db.models import EventRow
from backend.label_studio.rle import PackedMask
from backend.reports.click_curve import (
    PromptedObject,
    Region,
    Served,
    assign,
    edited_pixels,
    quality,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACCEPTED = PackedMask.pack(np.arange(400).reshape(20, 20) < 100)


def mask(pixels: int) -> PackedMask:
    return PackedMask.pack(np.arange(400).reshape(20, 20) < pixels)


def event(number: int, request: str, kind: str = "positive_click", **changes) -> EventRow:
    at = NOON + timedelta(seconds=number)
    values = {"answered_at": at, "error": "", "model_version": "v1", **changes}
    return EventRow(id=number, kind=kind, request_id=request, created_at=at, **values)


def test_each_interaction_has_the_iou_of_what_it_led_to():
    events = [event(1, "a"), event(2, "b"), event(3, "c")]
    seen = quality(events, [_served("a", 50), _served("b", 90), _served("c", 100)], ACCEPTED)

    assert seen.ious == [0.5, 0.9, 1.0]
    assert (seen.first_iou, seen.last_iou, seen.needed_85, seen.predictions) == (0.5, 1.0, 2, 3)


def test_two_clicks_of_one_request_are_answered_together():
    seen = quality([event(1, "a"), event(2, "a")], [_served("a", 90)], ACCEPTED)

    assert seen.ious == [None, 0.9]
    assert (seen.first_iou, seen.needed_85, seen.predictions) == (0.9, 2, 1)


def test_after_a_failed_answer_the_page_shows_what_it_had():
    events = [event(1, "a"), event(2, "b", error="The picture could not be read"), event(3, "c")]
    seen = quality(events, [_served("a", 50), _served("c", 100)], ACCEPTED)

    assert seen.ious == [0.5, 0.5, 1.0]
    assert seen.predictions == 2


def test_what_was_served_before_masks_were_kept_is_not_guessed():
    events = [event(1, "a"), event(2, "b")]
    seen = quality(events, [_served("b", 100)], ACCEPTED)

    assert seen.ious == [None, 1.0]
    # The first mask may have been good already.
    assert (seen.first_iou, seen.needed_85, seen.last_iou) == (None, None, 1.0)


def test_masks_that_were_dropped_since_leave_their_figures():
    events = [event(1, "a"), event(2, "b")]
    before = quality(events, [_served("a", 90), _served("b", 99)], ACCEPTED)
    assert quality(events, [], ACCEPTED, before) == before


def test_an_undone_answer_is_no_correction_by_hand():
    events = [event(1, "a"), event(2, "b")]
    seen = quality(events, [_served("a", 100), _served("b", 200)], ACCEPTED)
    assert (seen.corrected, seen.last_iou) == (0, 0.5)


def test_a_repeated_request_is_one_more_prediction():
    seen = quality([event(1, "a")], [_served("a", 90), _served("again", 90)], ACCEPTED)
    assert seen.predictions == 2
    assert seen.ious == [0.9]


@pytest.mark.parametrize("kind", ["undo", "redo", "accept", "submit", "delete"])
def test_what_only_followed_is_no_interaction(kind):
    follow = event(2, "", kind, answered_at=None)
    assert quality([event(1, "a"), follow], [_served("a", 90)], ACCEPTED).ious == [0.9]


def _served(request: str, pixels: int) -> Served:
    return Served(request, 1, mask(pixels))


# -- edits by hand


def disc(radius: int = 18) -> np.ndarray:
    y, x = np.mgrid[:64, :80]
    return (x - 40) ** 2 + (y - 32) ** 2 < radius**2


def count(accepted: np.ndarray, served: np.ndarray) -> int | None:
    return edited_pixels(PackedMask.pack(accepted), PackedMask.pack(served))


@pytest.mark.parametrize(
    ("edits", "pixels"),
    [
        pytest.param([], 0, id="nothing"),
        pytest.param([(np.s_[2:8, 5:30], True)], 6 * 25, id="a stroke"),
        pytest.param([(np.s_[:3, :10], True)], 30, id="a stroke at the picture's edge"),
        pytest.param([(np.s_[28:36, 36:44], False)], 64, id="what was erased"),
        pytest.param(
            [(np.s_[2:8, 5:30], True), (np.s_[60, 70], True)], 150, id="no noise beside a stroke"
        ),
    ],
)
def test_an_edit_counts_with_all_its_pixels(edits, pixels):
    edited = disc()
    for place, value in edits:
        edited[place] = value
    assert count(edited, disc()) == pixels


@pytest.mark.parametrize("seed", range(5))
def test_single_pixels_along_the_border_are_noise(seed):
    noisy, rng = disc(), np.random.default_rng(seed)
    border = noisy ^ disc(17)
    noisy[border & (rng.random(noisy.shape) < 0.3)] = False
    assert (noisy ^ disc()).any()
    assert count(noisy, disc()) == 0


def test_masks_of_two_pictures_cannot_be_compared():
    assert count(disc(), np.ones((10, 10), bool)) is None


ANN, BOB = "ann@example.com", "bob@example.com"


def region(annotation: int, owner: str = "", region_id: str = "r", brush: str = "brush") -> Region:
    return Region(annotation, brush, region_id, owner)


def prompted(
    number: int, owner: str = "", *, started: bool = False, brush: str = ""
) -> PromptedObject:
    return PromptedObject(number, "r", owner, started, brush)


ONE, TWO = (1, "brush", "r"), (2, "brush", "r")


@pytest.mark.parametrize(
    ("regions", "objects", "assigned"),
    [
        pytest.param(
            [region(1)], [prompted(7, ANN, started=True)], {ONE: (7,)}, id="the only annotation"
        ),
        pytest.param(
            [region(1, region_id="other")], [prompted(7, ANN, started=True)], {}, id="none"
        ),
        pytest.param(
            [region(1, ANN), region(2, BOB)],
            [prompted(7, BOB), prompted(8, ANN)],
            {ONE: (8,), TWO: (7,)},
            id="annotators who share a prediction's region get their own clicks",
        ),
        # Bob's annotation was deleted; Ann's still has the prediction's region.
        pytest.param([region(1, ANN)], [prompted(7, BOB)], {}, id="no clicks of others"),
        pytest.param([region(1), region(2)], [prompted(7)], {}, id="ambiguous"),
        pytest.param([region(1, ANN), region(2, BOB)], [prompted(7)], {}, id="of whom"),
        pytest.param(
            [region(5, BOB), region(2, BOB)],
            [prompted(7, started=True)],
            {TWO: (7,)},
            id="a copy of an annotation costs nothing",
        ),
        # A reviewer continues in Ann's annotation, whose region was started here.
        pytest.param(
            [region(1, ANN)],
            [prompted(7, ANN, started=True), prompted(9, BOB, started=True)],
            {ONE: (7, 9)},
            id="a user who continues another's region adds to it",
        ),
        pytest.param(
            [region(1, ANN, brush="fine"), region(1, ANN, brush="coarse")],
            [prompted(7, ANN, brush="fine"), prompted(8, ANN)],
            {(1, "fine", "r"): (7,), (1, "coarse", "r"): (8,)},
            id="two brushes with one region id",
        ),
    ],
)
def test_each_object_belongs_to_one_region_or_to_none(regions, objects, assigned):
    assert assign(regions, objects) == assigned


def test_the_order_does_not_matter():
    regions = [region(1, ANN), region(2, BOB), region(3)]
    objects = [prompted(7, BOB), prompted(8, ANN), prompted(9), prompted(10, BOB, started=True)]
    assert assign(regions, objects) == assign(regions[::-1], objects[::-1])
