"""Methods without learning, on pictures where anybody can see what is meant."""

import builtins
from typing import Any

import numpy as np
import pytest

from training.errors import DataError
from training.evaluation.methods import BASELINES, Baseline
from training.evaluation.protocol import Target, follow, overlap


@pytest.mark.parametrize("name", list(BASELINES))
def test_a_plain_object_is_found_by_few_clicks(name: str, make_sample: Any) -> None:
    # given a picture with a little noise in it
    sample = make_sample("one")
    noise = np.random.default_rng(0).integers(-9, 10, sample.image.shape)
    noisy = np.clip(sample.image.astype(int) + noise, 0, 255).astype(np.uint8)
    sample.image[:] = noisy
    answer = Baseline(name).look_at(sample, "one")
    # when
    target = Target(sample.mask(3), sample.void, "")
    trajectory = follow(answer, target, "clicks")
    # then
    assert trajectory.needed(0.90) <= 3


@pytest.mark.parametrize("name", list(BASELINES))
def test_clicked_pixels_obey(name: str, make_sample: Any) -> None:
    sample = make_sample("one")
    answer = Baseline(name).look_at(sample, "one")
    inside, outside = (17.5, 16.5), (60.5, 16.5)
    mask = answer([(*inside, True), (*outside, False)], "", None)
    assert mask.shape == sample.instances.shape
    assert mask.dtype == bool
    assert mask[16, 17]
    assert not mask[16, 60]
    # a later click beside an older one of the other kind takes its pixel back
    again = answer([(*inside, True), (*outside, False), (59.5, 16.5, True)], "", mask)
    assert again[16, 59] or name == "random_walker", "its picture may be smaller than a click"
    assert again[16, 17]


@pytest.mark.parametrize("name", list(BASELINES))
def test_answers_are_the_same_each_time(name: str, make_sample: Any) -> None:
    sample = make_sample("one")
    clicks = [(17.5, 16.5, True), (60.5, 16.5, False)]
    first, second = (Baseline(name).look_at(sample, "one")(clicks, "", None) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", list(BASELINES))
def test_pictures_of_any_size_are_answered(name: str, make_sample: Any) -> None:
    sample = make_sample("one")
    small = type(sample)("tiny", "voc", sample.image[:3, :5], sample.instances[:3, :5], ())
    mask = Baseline(name).look_at(small, "tiny")([(2.5, 1.5, True)], "", None)
    assert mask.shape == (3, 5)
    assert overlap(mask, mask, np.zeros_like(mask)) == 1.0


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(DataError, match="grabcut, random_walker"):
        Baseline("watershed")


def test_without_opencv_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name == "cv2":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match="opencv-python-headless"):
        Baseline("grabcut")
    Baseline("random_walker")
