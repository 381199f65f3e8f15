"""A region's events held against the accepted mask."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from backend.db.packed_mask import PackedMask
from backend.reports.click_curve import Logged, Served, quality

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACCEPTED = PackedMask.pack(np.arange(400).reshape(20, 20) < 100)


def mask(pixels: int) -> PackedMask:
    return PackedMask.pack(np.arange(400).reshape(20, 20) < pixels)


def event(number: int, request: str, kind: str = "positive_click", **changes) -> Logged:
    at = NOON + timedelta(seconds=number)
    told = {"answered_at": at, "error": "", "version": "v1", **changes}
    return Logged(number, kind, 1, "r", "", request, number == 1, at, **told)


def test_each_interaction_has_the_iou_of_what_it_led_to():
    events = [event(1, "a"), event(2, "b"), event(3, "c")]
    seen = quality(events, [_served("a", 50), _served("b", 90), _served("c", 100)], ACCEPTED)

    assert seen.ious == (0.5, 0.9, 1.0)
    assert (seen.first, seen.last, seen.needed, seen.predictions) == (0.5, 1.0, 2, 3)


def test_two_clicks_of_one_request_are_answered_together():
    seen = quality([event(1, "a"), event(2, "a")], [_served("a", 90)], ACCEPTED)

    assert seen.ious == (None, 0.9)
    assert (seen.first, seen.needed, seen.predictions) == (0.9, 2, 1)


def test_after_a_failed_answer_the_page_shows_what_it_had():
    events = [event(1, "a"), event(2, "b", error="The picture could not be read"), event(3, "c")]
    seen = quality(events, [_served("a", 50), _served("c", 100)], ACCEPTED)

    assert seen.ious == (0.5, 0.5, 1.0)
    assert seen.predictions == 2


def test_what_was_served_before_masks_were_kept_is_not_guessed():
    events = [event(1, "a"), event(2, "b")]
    seen = quality(events, [_served("b", 100)], ACCEPTED)

    assert seen.ious == (None, 1.0)
    # The first mask may have been good already.
    assert (seen.first, seen.needed, seen.last) == (None, None, 1.0)


def test_masks_that_were_dropped_since_leave_their_figures():
    events = [event(1, "a"), event(2, "b")]
    before = quality(events, [_served("a", 90), _served("b", 99)], ACCEPTED)
    assert quality(events, [], ACCEPTED, before) == before


def test_an_undone_answer_is_no_correction_by_hand():
    events = [event(1, "a"), event(2, "b")]
    seen = quality(events, [_served("a", 100), _served("b", 200)], ACCEPTED)
    assert (seen.corrected, seen.last) == (0, 0.5)


def test_a_repeated_request_is_one_more_prediction():
    seen = quality([event(1, "a")], [_served("a", 90), _served("again", 90)], ACCEPTED)
    assert seen.predictions == 2
    assert seen.ious == (0.9,)


@pytest.mark.parametrize("kind", ["undo", "redo", "accept", "submit", "delete"])
def test_what_only_followed_is_no_interaction(kind):
    follow = event(2, "", kind, answered_at=None)
    assert quality([event(1, "a"), follow], [_served("a", 90)], ACCEPTED).ious == (0.9,)


def _served(request: str, pixels: int) -> Served:
    return Served(request, 1, mask(pixels))
