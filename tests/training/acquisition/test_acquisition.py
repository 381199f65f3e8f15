"""Expected clicks without labels: what they depend on, and their cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.predictor import Click, Prediction, Predictor
from training.acquisition import acquisition
from training.acquisition.acquisition import Budget, expected_clicks, uncertainty
from training.finetune.pseudo_objects import clicked_objects, named_objects, overlap

Draw = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@pytest.fixture(scope="module")
def blind(unlearned: Path) -> Predictor:
    """Learned nothing."""
    return Predictor(unlearned, device="cpu")


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return Predictor(device="cpu", threads=1)


@pytest.fixture(scope="module")
def easy() -> NDArray[np.uint8]:
    """One red disk on grey."""
    rows, columns = np.mgrid[:160, :200]
    picture = np.full((160, 200, 3), 128, np.uint8)
    picture[(rows - 80) ** 2 + (columns - 90) ** 2 < 45**2] = (215, 25, 25)
    return picture


@pytest.fixture(scope="module")
def hard() -> NDArray[np.uint8]:
    """Coloured noise with disks that hardly stand out."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:160, :200]
    picture = random.integers(60, 200, (160, 200, 3)).astype(np.int16)
    for x, y in ((50, 50), (120, 60), (90, 120)):
        picture[(rows - y) ** 2 + (columns - x) ** 2 < 20**2] += 12
    return picture.clip(0, 255).astype(np.uint8)


class Counting:
    """A predictor that says how often it was asked."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.asked = 0
        self.sizes: set[tuple[int, int]] = set()

    def predict(self, *arguments: object) -> Prediction:
        self.asked += 1
        return self.predictor.predict(*arguments)  # type: ignore[arg-type]

    def encode(self, image: NDArray[np.uint8], key: str | None = None) -> object:
        self.sizes.add(image.shape[:2])
        return self.predictor.encode(image, key)

    @property
    def tokenizer(self) -> object:
        return self.predictor.tokenizer


def test_a_picture_that_is_hard_to_read_is_expected_to_cost_more(
    shipped: Predictor, easy: NDArray[np.uint8], hard: NDArray[np.uint8]
) -> None:
    simple, difficult = expected_clicks(shipped, easy), expected_clicks(shipped, hard)

    assert 1.0 <= simple.clicks < difficult.clicks <= 20.0
    assert not simple.named


def test_the_same_arguments_give_the_same_answer(blind: Predictor, hard: NDArray[np.uint8]) -> None:
    first = expected_clicks(blind, hard, names=("dog", "cat"), seed=3)
    blind.encode(np.zeros((8, 8, 3), np.uint8))

    assert expected_clicks(blind, hard, names=("dog", "cat"), seed=3) == first


def test_labels_that_are_no_words_are_not_asked_for(
    blind: Predictor, easy: NDArray[np.uint8]
) -> None:
    assert expected_clicks(blind, easy, names=("qxzt", "wvvk")) == expected_clicks(blind, easy)
    assert named_objects(blind, blind.encode(easy), ("qxzt",)) == ([], 0.0)


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (900, 1300)])
def test_pictures_of_every_shape_have_an_answer(blind: Predictor, shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 255, (*shape, 3), dtype=np.uint8)

    expectation = expected_clicks(blind, picture, names=("dog",))

    assert 1.0 <= expectation.clicks <= 20.0
    assert 0.0 <= expectation.uncertainty <= 1.0
    assert np.isfinite(acquisition.descriptor(blind, picture)).all()


def test_a_picture_costs_no_more_than_its_budget(blind: Predictor, hard: NDArray[np.uint8]) -> None:
    budget = Budget(names=3, grid=2, objects=2, clicks=3, side=100)
    counting = Counting(blind)

    expected_clicks(counting, hard, names=("dog", "cat", "red", "blue", "green"), budget=budget)  # type: ignore[arg-type]

    # Names, the grid where none is found, and each object's clicks in both views.
    assert counting.asked <= 3 + 2 * 2 + 2 * 2 * 3
    assert counting.sizes == {(80, 100)}


def test_uncertainty_is_what_the_surest_answer_lacks(
    blind: Predictor, hard: NDArray[np.uint8]
) -> None:
    embedding = blind.encode(hard)
    sure = [blind.predict(embedding, [], name).confidence for name in ("dog", "cat")]

    assert uncertainty(blind, hard, names=("dog", "cat")) == pytest.approx(1.0 - max(sure))
    assert expected_clicks(blind, hard, names=("dog", "cat")).uncertainty == pytest.approx(
        1.0 - max(sure)
    )


def test_the_mirrored_view_asks_about_the_same_places(
    shipped: Predictor, easy: NDArray[np.uint8]
) -> None:
    plain = shipped.encode(easy)
    turned = shipped.encode(np.ascontiguousarray(easy[:, ::-1]))

    there = shipped.predict(plain, [Click(90, 80)]).mask()
    back = acquisition._mirrored(shipped, turned)([(90.0, 80.0, True)], "", None)

    assert overlap(there, back) > 0.9


def test_objects_found_by_clicks_are_no_background_and_found_once(
    shipped: Predictor, easy: NDArray[np.uint8]
) -> None:
    objects, surest = clicked_objects(shipped, shipped.encode(easy), 4)

    assert objects
    assert surest == max(pseudo.confidence for pseudo in objects)
    for place, one in enumerate(objects):
        assert one.mask.mean() <= 0.8
        assert all(overlap(one.mask, other.mask) <= 0.6 for other in objects[place + 1 :])


def test_the_curve_rises() -> None:
    costs, clicks = np.array(acquisition.CURVE).T

    assert (np.diff(costs) > 0).all()
    assert (np.diff(clicks) > 0).all()
    assert clicks[0] >= 1.0
    assert clicks[-1] <= 20.0
