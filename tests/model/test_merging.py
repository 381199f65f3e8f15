"""Changes of a mask that are used, and cleaning on small grids."""

from __future__ import annotations

import numpy as np
import pytest

from model import merging
from model.crop import Box
from model.inference import Answer, obey
from model.mask_upsampling import Layer, LogitGrid, MaskLayers
from model.prompt import Click, Prompt
from model.tokens import Tokens

SIDE = 60
BOX = Box(0, 0, SIDE, SIDE)
NO_WORDS = Tokens((), (), (), np.zeros((0, 8), np.float32))


def square(left: int, top: int, right: int, bottom: int) -> merging.Mask:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top:bottom, left:right] = True
    return mask


def after(seen: merging.Mask, before: merging.Mask, *clicks: Click) -> merging.Mask:
    """The mask after an answer that sees this, to clicks after this mask."""
    logits = np.where(seen, 5.0, -5.0).astype(np.float32)
    obey(logits, clicks, BOX)
    answer = Answer(LogitGrid(logits, BOX), before, None)
    asked = merging.disobeyed(clicks, before)
    layer = merging.merged(answer, Prompt(clicks, NO_WORDS), asked, 20.0)
    return MaskLayers(SIDE, SIDE, (layer,), before).mask()


def test_a_positive_click_adds_its_part_only() -> None:
    before = square(5, 5, 20, 20)
    seen = square(5, 5, 18, 18) | square(30, 30, 40, 40) | square(50, 5, 55, 10)

    mask = after(seen, before, Click(35.5, 35.5))

    assert np.array_equal(mask, before | square(30, 30, 40, 40))


def test_a_negative_click_removes_its_part_only() -> None:
    before = square(5, 5, 20, 20) | square(30, 30, 40, 40)
    seen = square(5, 5, 20, 15) | square(50, 5, 55, 10)

    mask = after(seen, before, Click(35.5, 35.5, positive=False))

    assert np.array_equal(mask, square(5, 5, 20, 20))


@pytest.mark.parametrize("positive", [True, False])
def test_a_change_that_floods_through_a_gap_is_cut_to_where_the_click_is(positive: bool) -> None:
    # given: a small part, a gap, and a part that is four times as wide
    spill, gap, flood = square(4, 24, 12, 32), square(12, 27, 16, 29), square(16, 10, 52, 46)
    kept = square(54, 0, 60, 60)
    wide, narrow = spill | gap | flood | kept, kept
    before, seen = (narrow, wide) if positive else (wide, narrow)

    # when
    mask = after(seen, before, Click(8.5, 28.5, positive=positive))

    # then
    changed = mask ^ before
    assert changed[spill].all()
    assert changed[flood].mean() < 0.05
    assert not changed[kept].any()


def test_a_change_is_taken_whole_where_its_click_is_not_quite_in_the_middle() -> None:
    part = square(10, 10, 40, 40)

    mask = after(part | square(50, 0, 55, 60), square(50, 0, 55, 60), Click(16.5, 25.5))

    assert mask[part].all()


def test_a_click_that_is_obeyed_already_changes_nothing() -> None:
    before = square(5, 5, 20, 20)

    assert np.array_equal(after(square(30, 30, 40, 40), before, Click(10.5, 10.5)), before)


def test_a_hole_that_the_change_encloses_is_filled_and_an_older_one_stays() -> None:
    before = square(5, 5, 40, 30) & ~square(8, 8, 9, 9)
    seen = before | (square(5, 30, 40, 50) & ~square(20, 40, 21, 41))

    mask = after(seen, before, Click(30.5, 45.5))

    assert mask[40, 20]
    assert not mask[8, 8]


def test_where_the_network_does_not_follow_the_surroundings_come_along() -> None:
    """A faint bar beside the object: all of it near the click is found, and nothing around it."""
    logits = np.full((SIDE, SIDE), -4.0, np.float32)
    logits[5:20, 5:20] = 4.0
    bar = square(30, 10, 33, 40)
    logits[bar] = -1.0
    click = Click(31.5, 25.5)
    answer = Answer(LogitGrid(logits, BOX), square(5, 5, 20, 20), None, newest=-1.0)

    followed = merging.followed(answer, click, size=100.0).logits > 0

    assert (followed & bar).sum() > 12
    assert not (followed & ~bar & ~square(5, 5, 20, 20)).any()


def test_where_the_network_follows_nothing_is_bent() -> None:
    grid = LogitGrid(np.full((SIDE, SIDE), 2.0, np.float32), BOX)
    answer = Answer(grid, square(0, 0, 5, 5), None, newest=2.0)

    assert merging.followed(answer, Click(31.5, 25.5), size=100.0) is grid


def drawn(*rows: str) -> merging.Cells:
    """A mask from its picture: "#" is in."""
    return np.array([[cell == "#" for cell in row] for row in rows])


@pytest.mark.parametrize("times", [1, 25], ids=["small", "in blocks"])
def test_what_comes_apart_in_pixels_is_cleaned_there(times: int) -> None:
    # given an answer with a part that no cell joins to the clicked one, and a pinhole
    seen = square(5, 5, 30, 30) | square(40, 40, 50, 50) | square(55, 5, 58, 8)
    seen[20, 20] = False
    side = SIDE * times
    logits = np.where(seen, 5.0, -5.0).astype(np.float32)
    layers = MaskLayers(side, side, (Layer(LogitGrid(logits, Box(0, 0, side, side))),))
    painted = np.kron(square(54, 4, 56, 6), np.ones((times, times))) > 0
    prompt = Prompt((Click(7 * times, 7 * times),), NO_WORDS)
    # when
    alone = merging.cleaned_layers(layers, prompt).mask()[times // 2 :: times, times // 2 :: times]
    beside = merging.cleaned_layers(layers, prompt, painted).mask()
    # then only the clicked part stays, and what was in the mask before
    assert np.array_equal(alone[:20], (seen & square(5, 5, 30, 30))[:20])
    assert not alone[35:].any()
    assert not alone[:, 35:].any()
    assert beside[6 * times, 56 * times]
    assert not beside[45 * times, 45 * times]
    # and small pinholes are filled
    assert alone[20, 20] == (times == 1)


def test_of_opposite_clicks_in_one_cell_each_is_obeyed() -> None:
    logits = np.where(square(5, 5, 30, 30), 5.0, -5.0).astype(np.float32)
    layers = MaskLayers(SIDE, SIDE, (Layer(LogitGrid(logits, BOX)),))
    clicks = (Click(10, 10), Click(11, 10, positive=False), Click(50, 50))

    cleaned = merging.cleaned_layers(layers, Prompt(clicks, NO_WORDS))

    assert cleaned.mask()[10, 9:13].tolist() == [True, True, False, True]
    assert cleaned.mask()[45:].sum() == 1
    assert np.array_equal(cleaned.mask(), cleaned.probability() > 0.5)


def test_only_parts_with_a_seed_are_kept() -> None:
    mask = drawn("##..#", "##...", "..#..", "....#")
    seeds = np.zeros_like(mask)
    seeds[0, 0] = True

    assert np.array_equal(merging.part_at(mask, seeds), drawn("##...", "##...", "..#..", "....."))


def test_a_seed_outside_the_mask_keeps_nothing() -> None:
    mask = drawn("##..", "....")
    seeds = drawn("...#", "....")

    assert not merging.part_at(mask, seeds).any()


def test_specks_are_small_beside_the_largest_part() -> None:
    mask = np.zeros((40, 40), bool)
    mask[:20, :20] = mask[30:38, 30:38] = mask[0, 30] = True

    kept = merging.without_specks(mask)

    assert kept[:20, :20].all()
    assert kept[30:38, 30:38].all()
    assert not kept[0, 30]
    assert not merging.without_specks(np.zeros((4, 4), bool)).any()


def test_a_small_hole_is_a_pinhole_unless_a_negative_click_made_it() -> None:
    mask = np.zeros((30, 30), bool)
    mask[2:28, 2:28] = True
    mask[5, 5] = mask[20:22, 20:22] = mask[8:16, 8:16] = False
    negatives = np.zeros_like(mask)
    negatives[20, 20] = True

    holes = merging.pinholes(mask, negatives)

    assert holes.sum() == 1
    assert holes[5, 5]


def test_what_is_open_to_the_edge_is_no_hole() -> None:
    mask = np.ones((20, 20), bool)
    mask[0, 3] = False

    assert not merging.pinholes(mask, np.zeros_like(mask)).any()


def test_the_deepest_place_of_a_mask_is_away_from_clicks_in_it() -> None:
    mask = np.zeros((40, 60), np.bool_)
    mask[10:30, 5:55] = True

    free = merging.deepest(mask, [])
    beside = merging.deepest(mask, [Click(15, 20, positive=False)])

    assert free is not None
    assert free.positive
    assert mask[int(free.y), int(free.x)]
    assert beside is not None
    assert abs(beside.x - 15) > 9


def test_each_part_of_a_mask_that_is_no_speck_has_an_anchor() -> None:
    mask = np.zeros((40, 60), np.bool_)
    mask[20:40, 30:60] = mask[2:12, 2:12] = mask[2:14, 20:30] = True
    mask[2:4, 50:52] = True  # a speck

    places = [(anchor.x, anchor.y) for anchor in merging.anchors(mask, [])]

    parts = [Box(30, 20, 60, 40), Box(20, 2, 30, 14), Box(2, 2, 12, 12)]
    assert [part.holds(*place) for part, place in zip(parts, places, strict=True)] == [True] * 3


def test_a_part_with_a_negative_click_has_no_anchor_unless_it_is_the_only_one() -> None:
    mask = np.zeros((40, 60), np.bool_)
    mask[20:40, 30:60] = True
    alone = merging.anchors(mask, [Click(45, 30, positive=False)])
    mask[2:12, 2:12] = True
    others = merging.anchors(mask, [Click(45, 30, positive=False)])

    assert len(alone) == 1
    assert mask[int(alone[0].y), int(alone[0].x)]
    assert [(a.x < 12, a.y < 12) for a in others] == [(True, True)]


def test_a_mask_of_one_clicked_pixel_or_none_has_no_other_place() -> None:
    mask = np.zeros((8, 8), np.bool_)
    assert merging.deepest(mask, []) is None
    mask[3, 4] = True
    assert merging.deepest(mask, [Click(4.5, 3.5, positive=False)]) is None
