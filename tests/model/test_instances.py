"""All of a kind: from a phrase's answer to one mask for each object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from model.confidence import logit
from model.crop import Box
from model.instances import (
    FEWEST,
    LIMITS,
    Candidate,
    Instance,
    apart,
    at_picture_size,
    crowded,
    distinct,
    find,
    seeds,
    settled,
)
from model.point_decoder import Cell, Patch
from model.predictor import Predictor

SHAPE = (60, 80)
# (row, column, radius) of touching and lone discs.
DISCS = [(15, 12, 8), (15, 29, 8), (42, 60, 10), (45, 20, 4)]


def disc(row: int, column: int, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    inside: NDArray[np.bool_] = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    return inside


def logits(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.where(mask, 4.0, -4.0).astype(np.float32)


def everywhere() -> NDArray[np.float32]:
    """What a phrase about the discs answers: all of them at once."""
    return logits(np.logical_or.reduce([disc(*circle) for circle in DISCS]))


class Decoder:
    """Answers a click with the disc that it is in; counts the clicks."""

    def __init__(self, scores: Sequence[float] = (2.0, 2.0, 2.0, 2.0)) -> None:
        self.scores = scores
        self.asked: list[Cell] = []

    def __call__(self, cells: Sequence[Cell]) -> list[Patch | None]:
        self.asked += cells
        return [self._answer(cell) for cell in cells]

    def _answer(self, cell: Cell) -> Patch:
        for circle, score in zip(DISCS, self.scores, strict=True):
            if disc(*circle)[cell]:
                top, left = max(circle[0] - 12, 0), max(circle[1] - 12, 0)
                part = logits(disc(*circle))[top : top + 25, left : left + 25]
                return Patch(part, (top, left), score)
        return Patch(np.full((3, 3), -4.0, np.float32), cell, -np.inf)


def confidence(score: float) -> float:
    return 1.0 / (1.0 + float(np.exp(-score)))


def test_touching_objects_are_separated() -> None:
    decode = Decoder()

    candidates = find(everywhere(), decode, confidence)
    objects = at_picture_size(candidates, SHAPE, width=160, height=120)

    assert len(objects) == len(DISCS)
    for circle in DISCS:
        best = max(_iou(instance, disc(*circle).repeat(2, 0).repeat(2, 1)) for instance in objects)
        assert best > 0.85
    assert len(decode.asked) < 3 * len(DISCS)


def test_no_pixel_is_in_two_objects() -> None:
    candidates = find(everywhere(), Decoder(), confidence)
    objects = at_picture_size(candidates, SHAPE, width=100, height=75)
    assert np.sum([instance.mask() for instance in objects], axis=0).max() == 1


def test_an_object_is_in_one_part_without_pinholes() -> None:
    # given a disc with a pinhole, and a worse one of which it leaves two unlike parts
    whole, pierced = disc(30, 40, 20), disc(30, 40, 20)
    pierced[30, 40] = False
    bar = np.zeros(SHAPE, np.bool_)
    bar[26:34, 5:78] = True
    bar &= ~pierced
    candidates = [
        Candidate(Patch(logits(mask), (0, 0), score), mask, score, 1.0)
        for mask, score in ((pierced, 0.9), (bar, 0.8))
    ]
    bar[30, 40] = False
    # when
    better, worse = at_picture_size(candidates, SHAPE, width=80, height=60)
    # then
    assert _iou(better, whole) > 0.95
    assert better.mask()[30, 40]
    assert ndimage.label(worse.mask())[1] == 1
    assert worse.mask()[30, 70]
    assert worse.box.left > 50
    assert np.array_equal(worse.mask()[worse.box.slices], worse.pixels)


def test_an_object_that_is_not_sure_enough_is_left_out() -> None:
    candidates = find(everywhere(), Decoder((2.0, logit(0.2), 2.0, 2.0)), confidence)
    assert len(candidates) == len(DISCS) - 1


def test_a_phrase_that_finds_nothing_asks_for_nothing() -> None:
    decode = Decoder()
    assert find(np.full(SHAPE, -3.0, np.float32), decode, confidence) == []
    assert decode.asked == []


def test_what_the_first_clicks_leave_uncovered_is_asked_about_again() -> None:
    # given a long thing, in which a first click finds one half
    row, half = np.zeros(SHAPE, np.bool_), np.zeros(SHAPE, np.bool_)
    row[28:33, 5:75], half[28:33, 5:40] = True, True

    def decode(cells: Sequence[Cell]) -> list[Patch | None]:
        return [Patch(logits(half if half[cell] else row & ~half), (0, 0), 2.0) for cell in cells]

    # when
    candidates = find(logits(row), decode, confidence)

    # then
    covered = np.zeros(SHAPE, np.bool_)
    for candidate in candidates:
        covered[candidate.patch.slices] |= candidate.inside
    assert (covered == row).all()
    assert len(candidates) == 2


def test_an_answer_without_objects_costs_few_clicks() -> None:
    # given many parts, none of which is an object
    speckled = np.zeros(SHAPE, np.bool_)
    speckled[::6, ::6] = True
    speckled = ndimage.binary_dilation(speckled, iterations=2)
    asked: list[Cell] = []

    def decode(cells: Sequence[Cell]) -> list[Patch | None]:
        asked.extend(cells)
        return [None for _ in cells]

    # then
    assert find(logits(speckled), decode, confidence) == []
    assert len(asked) == LIMITS.patience < len(seeds(speckled, LIMITS.deepest))


def test_a_crowd_is_searched_longer() -> None:
    # given ten objects, twenty smaller parts that are none, and a last object, the smallest
    shape = (90, 150)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    places = [(row, column, 5) for row in (6, 20) for column in range(8, 120, 24)]
    places += [(row, column, 4) for row in (36, 50) for column in range(6, 146, 14)]
    places += [(75, 60, 3)]
    parts = [(rows - y) ** 2 + (columns - x) ** 2 <= radius**2 for y, x, radius in places]
    objects = [*parts[:10], parts[-1]]

    def decode(cells: Sequence[Cell]) -> list[Patch | None]:
        hit = [next((one for one in objects if one[cell]), None) for cell in cells]
        return [None if one is None else Patch(logits(one), (0, 0), 2.0) for one in hit]

    # then
    assert len(find(logits(np.logical_or.reduce(parts)), decode, confidence)) == len(objects)


def test_an_object_that_was_found_is_not_clicked_again() -> None:
    # given one object with many lobes
    comb = np.zeros(SHAPE, np.bool_)
    comb[20:26, 5:75] = True
    for column in range(6, 74, 8):
        comb[8:40, column : column + 4] = True
    asked: list[Cell] = []

    def decode(cells: Sequence[Cell]) -> list[Patch | None]:
        asked.extend(cells)
        return [Patch(logits(comb), (0, 0), 2.0) for _ in cells]

    # then
    assert len(find(logits(comb), decode, confidence)) == 1
    assert len(asked) == FEWEST < len(seeds(comb, LIMITS.deepest))


def test_specks_beside_a_large_part_are_not_clicked() -> None:
    region = disc(30, 30, 24)
    region[5:8, 70:73] = True
    asked: list[Cell] = []

    def decode(cells: Sequence[Cell]) -> list[Patch | None]:
        asked.extend(cells)
        return [None for _ in cells]

    find(logits(region), decode, confidence)

    assert (6, 71) in seeds(region, LIMITS.deepest)
    assert asked
    assert (6, 71) not in asked


def test_seeds_are_deepest_points_with_room_between() -> None:
    points = seeds(disc(15, 12, 8) | disc(15, 29, 8), deepest=1.5)
    assert {(15, 12), (15, 29)} <= set(points)
    assert len(points) <= 4


def test_of_two_masks_of_one_object_the_better_one_stays() -> None:
    def about(mask: NDArray[np.bool_], sure: float, agreement: float = 0.9) -> Candidate:
        return Candidate(Patch(logits(mask), (0, 0), 0.0), mask, sure, agreement)

    whole, part, other = disc(20, 20, 10), disc(20, 20, 6), disc(40, 60, 8)
    kept = settled([about(part, 0.6), about(whole, 0.9), about(other, 0.7)], SHAPE)

    assert [candidate.confidence for candidate in kept] == [0.9, 0.7]


def test_a_mask_that_the_phrase_disagrees_with_is_left_out() -> None:
    mask = disc(20, 20, 10)
    assert settled([Candidate(Patch(logits(mask), (0, 0), 0.0), mask, 0.9, 0.3)], SHAPE) == []


def test_an_object_whose_cells_all_belong_to_better_ones_is_left_out() -> None:
    mask = disc(20, 20, 6)
    strong, weak = (
        Candidate(
            Patch(np.where(mask, value, -4.0).astype(np.float32), (0, 0), 0.0), mask, 0.9, 0.9
        )
        for value in (4.0, 1.0)
    )

    (kept,) = apart([strong, weak], SHAPE)

    assert kept.patch is strong.patch


def instance(box: Box, confidence: float = 0.9) -> Instance:
    return Instance(100, 100, box, np.ones((box.height, box.width), np.bool_), confidence)


def test_many_pieces_and_small_objects_are_a_crowd() -> None:
    whole = Box(0, 0, 100, 100)
    answer = np.full((50, 50), -4.0, np.float32)
    answer[5:45:10, 5:45:10] = 4.0  # sixteen
    small, large = instance(Box(8, 8, 20, 20)), instance(Box(0, 0, 60, 60))

    assert crowded(answer, [small], whole)
    assert not crowded(answer, [large], whole)
    assert not crowded(answer[:20, :20], [small], whole)


def test_many_pieces_without_any_object_may_be_a_crowd_too_small_to_see() -> None:
    answer = np.full((50, 50), -4.0, np.float32)
    answer[5:45:10, 5:45:10] = 4.0

    assert crowded(answer, [], Box(0, 0, 100, 100))
    assert not crowded(answer[:30], [], Box(0, 0, 100, 60))


def test_of_objects_seen_twice_the_first_stays_and_no_pixel_is_in_two() -> None:
    # given two tiles' views of one object, a neighbour that overlaps it, and one that holds both
    first, again = instance(Box(10, 10, 30, 30)), instance(Box(12, 10, 31, 30))
    neighbour, around = instance(Box(26, 10, 46, 30)), instance(Box(0, 0, 50, 40))
    # when
    kept = distinct([first, again, neighbour, around])
    # then
    assert [one.box for one in kept] == [first.box, neighbour.box]
    assert kept[0].common(kept[1]) == 0
    assert kept[1].area == 16 * 20


def test_a_network_without_training_answers_too(
    predictor: Predictor, pictures: list[NDArray[np.uint8]]
) -> None:
    for picture in pictures[:3]:
        result = predictor.instances(predictor.encode(picture), "dogs", least=0.0)
        assert result.tokens.words == ("dog",) or result.tokens.words == ("dogs",)
        masks = [instance.mask() for instance in result.objects]
        assert all(mask.shape == picture.shape[:2] and mask.any() for mask in masks)
        assert not masks or np.sum(masks, axis=0).max() == 1
        assert all(0.0 <= instance.confidence <= 1.0 for instance in result.objects)


@pytest.mark.parametrize("phrase", ["", "zebroids"])
def test_words_that_are_not_known_find_nothing(
    predictor: Predictor, pictures: list[NDArray[np.uint8]], phrase: str
) -> None:
    result = predictor.instances(predictor.encode(pictures[0]), phrase)
    assert (result.objects, result.confidence) == ((), 0.0)


def _iou(instance: Instance, wanted: NDArray[np.bool_]) -> float:
    mask = instance.mask()
    return float((mask & wanted).sum() / (mask | wanted).sum())
