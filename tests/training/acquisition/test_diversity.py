"""The order of labeling: the valuable first, and no scene twice in a row."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.predictor import Predictor
from training.acquisition.diversity import order, similarities


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

    alike = similarities(table)

    assert np.allclose(np.linalg.norm(table, axis=1), 1.0, atol=1e-5)
    for place in range(0, 12, 3):
        others = [i for i in range(12) if i // 3 != place // 3]
        assert alike[place, place + 1 : place + 3].min() > alike[place, others].max()
