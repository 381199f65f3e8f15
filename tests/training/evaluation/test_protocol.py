"""The protocol is checked against answers whose trajectory is known beforehand."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from training.evaluation.protocol import ClickPoint, Mask, Target, follow, next_click, overlap


def two_squares() -> NDArray[np.bool_]:
    mask = np.zeros((60, 80), bool)
    mask[10:40, 10:40] = True
    mask[20:30, 60:70] = True
    return mask


def target(mask: Mask, phrase: str = "thing") -> Target:
    return Target(mask, np.zeros_like(mask), phrase)


def test_masks_as_answers_need_one_click() -> None:
    # given an oracle
    mask = two_squares()
    # when
    trajectory = follow(lambda *_: mask, target(mask), "clicks")
    # then
    assert trajectory.needed(0.85) == trajectory.needed(0.90) == 1
    assert trajectory.ious == (1.0,)
    # a square of even sides has four deepest pixels; the first one is taken
    assert trajectory.clicks == ((24.5, 24.5, True),)


def test_an_answer_that_never_comes_counts_as_twenty() -> None:
    mask = two_squares()
    trajectory = follow(lambda *_: np.zeros_like(mask), target(mask), "clicks")
    assert len(trajectory.ious) == 20
    assert trajectory.needed(0.85) == 20
    assert trajectory.failed(0.85)
    assert len({spot[:2] for spot in trajectory.clicks}) == 20


def test_each_square_is_clicked_in_turn_and_the_mask_before_is_handed_on() -> None:
    mask = two_squares()
    befores: list[Mask | None] = []

    def square_by_square(
        clicks: Sequence[ClickPoint], phrase: str, before: Mask | None
    ) -> NDArray[np.bool_]:
        befores.append(before)
        assert phrase == ""
        answer = np.zeros_like(mask)
        for x, y, positive in clicks:
            assert positive
            half = slice(0, 50) if x < 50 else slice(50, 80)
            answer[:, half] |= mask[:, half]
            assert mask[int(y), int(x)]
        return answer

    trajectory = follow(square_by_square, target(mask), "clicks", goal=0.95, at_least=1)
    assert trajectory.ious == (0.9, 1.0)
    assert trajectory.needed(0.85) == 1
    assert trajectory.needed(0.95) == 2
    assert befores[0] is None
    assert befores[1] is not None
    assert befores[1].sum() == 900


def test_void_is_neither_error_nor_clicked() -> None:
    mask = two_squares()
    void = np.zeros_like(mask)
    void[:, 50:] = True
    shown = mask.copy()
    shown[:, 55:] = True
    trajectory = follow(lambda *_: shown, Target(mask, void, ""), "clicks")
    assert trajectory.ious == (1.0,)


def test_a_phrase_is_one_interaction_and_comes_first() -> None:
    mask = two_squares()
    asked: list[tuple[int, str]] = []

    def deaf(clicks: Sequence[ClickPoint], phrase: str, before: Mask | None) -> NDArray[np.bool_]:
        asked.append((len(clicks), phrase))
        return mask if len(clicks) == 2 else np.zeros_like(mask)

    trajectory = follow(deaf, target(mask, "red square"), "phrase+clicks")
    assert asked == [(0, "red square"), (1, "red square"), (2, "red square")]
    assert trajectory.needed(0.9) == 3
    alone = follow(deaf, target(mask, "red square"), "phrase")
    assert len(alone.ious) == 1
    assert alone.clicks == ()


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (15, 1 / 3), (40, 0.0)])
def test_overlap_of_shifted_squares(shift: int, expected: float) -> None:
    one, other = np.zeros((100, 100), bool), np.zeros((100, 100), bool)
    one[:30, :30] = True
    other[:30, shift : shift + 30] = True
    nothing = np.zeros_like(one)
    assert overlap(one, other, nothing) == pytest.approx(expected)
    assert overlap(nothing, nothing, nothing) == 1.0


def slow_next_click(
    target: Mask, prediction: Mask, void: Mask, clicked: set[tuple[int, int]]
) -> tuple[int, int, bool] | None:
    """The rule as it is written down: for each wrong pixel look at every pixel that is not."""
    height, width = target.shape
    deepest: dict[bool, tuple[float, int, int]] = {}
    for positive in (True, False):
        wrong = {
            (row, column)
            for row in range(height)
            for column in range(width)
            if not void[row, column]
            and target[row, column] == positive
            and prediction[row, column] != positive
        }
        others = [
            (row, column)
            for row in range(-1, height + 1)
            for column in range(-1, width + 1)
            if (row, column) not in wrong
        ]
        for row, column in sorted(wrong - clicked):
            squared = min((row - r) ** 2 + (column - c) ** 2 for r, c in others)
            if positive not in deepest or squared > deepest[positive][0]:
                deepest[positive] = squared, row, column
    if not deepest:
        return None
    depths = {positive: place[0] for positive, place in deepest.items()}
    positive = depths.get(True, 0) > depths.get(False, 0)
    _, row, column = deepest[positive]
    return row, column, positive


def random_masks(seed: int) -> tuple[Mask, Mask, Mask, set[tuple[int, int]]]:
    """Blobs, rims, specks, ties: target, prediction, void, and pixels clicked before."""
    rng = np.random.default_rng(seed)
    height, width = int(rng.integers(1, 13)), int(rng.integers(1, 15))

    def blobs() -> Mask:
        mask = np.zeros((height, width), bool)
        for _ in range(int(rng.integers(0, 4))):
            top, left = int(rng.integers(height)), int(rng.integers(width))
            mask[top : top + int(rng.integers(1, 8)), left : left + int(rng.integers(1, 8))] ^= True
        return mask ^ (rng.random((height, width)) < rng.choice([0.0, 0.1]))

    target, prediction = blobs(), blobs()
    void = rng.random((height, width)) < rng.choice([0.0, 0.15])
    wrong = np.argwhere((target != prediction) & ~void)
    before = rng.permutation(len(wrong))[: int(rng.integers(0, 4))]
    return target, prediction, void, {(int(wrong[i][0]), int(wrong[i][1])) for i in before}


@pytest.mark.parametrize("seed", range(150))
def test_clicks_equal_those_of_a_slow_independent_implementation(seed: int) -> None:
    # given
    target, prediction, void, clicked = random_masks(seed)
    spots: list[ClickPoint] = [(column + 0.5, row + 0.5, True) for row, column in clicked]
    # when
    spot = next_click(Target(target, void, ""), prediction, spots)
    expected = slow_next_click(target, prediction, void, clicked)
    # then
    if expected is None:
        assert spot is None
    else:
        row, column, positive = expected
        assert spot == (column + 0.5, row + 0.5, positive)


def test_jitter_stays_in_the_region_of_the_deepest_point() -> None:
    mask = two_squares()
    nothing = np.zeros_like(mask)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        spot = next_click(target(mask), nothing, jitter=1.0, rng=rng)
        assert spot is not None
        assert spot[0] < 40
