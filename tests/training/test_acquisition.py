"""Expected clicks without labels: what they depend on, and their cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.predictor import Click, Prediction, Predictor
from training import acquisition
from training.acquisition import (
    Budget,
    PseudoObject,
    clicked_objects,
    expected_clicks,
    named_objects,
    order,
    value,
)
from training.evaluation.protocol import overlap

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


class CountingPredictor:
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
    counting = CountingPredictor(blind)

    expected_clicks(counting, hard, names=("dog", "cat", "red", "blue", "green"), budget=budget)  # type: ignore[arg-type]

    # Names, the grid where none is found, and each object's clicks in both views.
    assert counting.asked <= 3 + 2 * 2 + 2 * 2 * 3
    assert counting.sizes == {(80, 100)}


def test_uncertainty_is_what_the_surest_answer_lacks(
    blind: Predictor, hard: NDArray[np.uint8]
) -> None:
    embedding = blind.encode(hard)
    sure = [blind.predict(embedding, [], name).confidence for name in ("dog", "cat")]

    unsure, _ = value(blind, hard, None, ("dog", "cat"), "uncertainty")
    assert unsure == pytest.approx(1.0 - max(sure))
    assert expected_clicks(blind, hard, names=("dog", "cat")).uncertainty == pytest.approx(unsure)


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


Saving = Callable[[float, float], float]

PICTURE = np.zeros((40, 60, 3), np.uint8)


@pytest.fixture
def saving(unlearned: Path, monkeypatch: pytest.MonkeyPatch) -> Saving:
    """The saving of a picture with one object of this confidence and cost."""
    predictor = Predictor(unlearned, device="cpu")
    mask = np.zeros(PICTURE.shape[:2], bool)
    mask[10:30, 20:40] = True

    def expected(confidence: float, cost: float) -> float:
        objects = [PseudoObject(mask, "dog", confidence)]
        monkeypatch.setattr(acquisition, "named_objects", lambda *_: (objects, confidence))
        monkeypatch.setattr(acquisition, "_cost", lambda *_: cost)
        return acquisition.expected_clicks(predictor, PICTURE, names=("dog",)).saving

    return expected


def test_the_surer_and_the_costlier_the_more_may_be_saved(saving: Saving) -> None:
    assert saving(0.95, 4.0) > saving(0.95, 2.5) > saving(0.8, 2.5) > 0.0
    # one click leaves nothing to save, and what is hardly there promises nothing
    assert saving(0.95, 1.0) == saving(0.5, 5.0) == saving(0.4, 5.0) == 0.0


def scenes(count: int, shots: int, *, seed: int = 0) -> np.ndarray:
    """Descriptors of scenes, several shots of each after another."""
    random = np.random.default_rng(seed)
    centres = np.repeat(random.normal(size=(count, 32)), shots, axis=0)
    return centres + 0.05 * random.normal(size=centres.shape)


def test_no_near_duplicates_come_in_a_row() -> None:
    # given: six scenes of four shots; the more valuable a scene, the better all its shots
    descriptors = scenes(6, 4)
    scores = np.repeat([6.0, 5, 4, 3, 2, 1], 4)

    chosen = order(scores, descriptors)

    assert sorted(chosen) == list(range(24))
    scene = [place // 4 for place in chosen]
    assert all(one != other for one, other in pairwise(scene))
    # Every scene is seen before any is seen again, the best one first.
    assert scene[0] == 0
    assert len(set(scene[:6])) == 6


def test_where_nothing_is_alike_the_scores_decide() -> None:
    scores = [0.3, 9.0, 2.0, 5.0]

    assert order(scores, np.eye(4), weight=0.2) == [1, 3, 2, 0]
    assert order(scores, np.ones((4, 3)), weight=0.0) == [1, 3, 2, 0]


def test_pictures_that_are_all_the_same_are_still_ordered() -> None:
    assert order([1.0, 3.0, 2.0], np.ones((3, 5))) == [1, 2, 0]
    assert order([], np.zeros((0, 5))) == []
    assert order([1.0], np.ones((1, 5))) == [0]


@given(st.integers(1, 30), st.integers(0, 2**31), st.integers(1, 40))
def test_every_picture_comes_once_and_always_at_the_same_place(
    count: int, seed: int, front: int
) -> None:
    random = np.random.default_rng(seed)
    scores, descriptors = random.integers(0, 4, count), random.normal(size=(count, 6))

    chosen = order(scores, descriptors, front=front)

    assert sorted(chosen) == list(range(count))
    assert chosen == order(scores, descriptors, front=front)


@pytest.mark.timed
def test_ten_thousand_pictures_are_ordered_in_seconds() -> None:
    random = np.random.default_rng(0)
    started = time.perf_counter()

    order(random.random(10_000), random.normal(size=(10_000, 128)))

    assert time.perf_counter() - started < 30


def test_real_pictures_resemble_their_own_crops_more_than_others() -> None:
    import skimage.data

    predictor = Predictor(device="cpu", threads=1)
    pictures = [
        getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")
    ]
    views = []
    for picture in pictures:
        height, width = picture.shape[:2]
        crop = picture[height // 12 :, width // 12 :]
        lighter = np.clip(picture * 1.1 + 8, 0, 255).astype(np.uint8)
        views.extend([picture, np.ascontiguousarray(crop), lighter])
    table = np.stack([predictor.descriptor(predictor.encode(view)) for view in views])

    unit = acquisition._centred(table)
    alike = unit @ unit.T

    assert np.allclose(np.linalg.norm(table, axis=1), 1.0, atol=1e-5)
    for place in range(0, 12, 3):
        others = [i for i in range(12) if i // 3 != place // 3]
        assert alike[place, place + 1 : place + 3].min() > alike[place, others].max()
