"""Views show what the sample shows, at the place where it says, and never with another hue."""

from dataclasses import replace

import numpy as np
import pytest

from training.data.sample import VOID, Sample, SampleObject
from training.data.transforms import Tint, ViewShares, cut, random_view
from training.prompts.scenes import colour_names
from training.prompts.vocabulary import COLOURS


@pytest.fixture
def sample() -> Sample:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)
    instances = np.zeros((90, 120), np.int16)
    instances[20:60, 10:50] = 1
    instances[30:80, 70:110] = 2
    instances[:3] = VOID
    image[instances == 1] = (215, 25, 25)
    image[instances == 2] = (25, 45, 215)
    objects = (SampleObject(1, "dog"), SampleObject(2, "dog"))
    return Sample("made", "voc", image, instances, objects)


def test_the_whole_picture_at_its_own_size_is_the_picture(sample: Sample) -> None:
    view = cut(sample, (0, 0, 120, 90), 90, 120, mirrored=False, kind="whole")
    assert np.array_equal(view.image, sample.image)
    assert np.array_equal(view.instances, sample.instances)
    assert np.array_equal(view.soft_mask((1,)) > 0.5, sample.mask(1))


def test_a_mirrored_view_mirrors_everything(sample: Sample) -> None:
    box = (5.0, 7.0, 101.0, 71.0)
    plain = cut(sample, box, 64, 96, mirrored=False, kind="part")
    mirrored = cut(sample, box, 64, 96, mirrored=True, kind="part")
    assert np.array_equal(plain.image[:, ::-1], mirrored.image)
    assert np.array_equal(plain.instances[:, ::-1], mirrored.instances)
    assert np.array_equal(plain.soft_mask((2,))[:, ::-1], mirrored.soft_mask((2,)))


@pytest.mark.parametrize("seed", range(30))
def test_masks_and_pixels_of_a_random_view_fit_together(sample: Sample, seed: int) -> None:
    view = random_view(sample, 96, 128, np.random.default_rng(seed), ViewShares(0.3, 0.4))
    left, top, right, bottom = view.box
    assert 0 <= left < right <= 120
    assert 0 <= top < bottom <= 90
    assert view.image.shape == (96, 128, 3)
    assert abs(np.log((right - left) / (bottom - top) / (128 / 96))) < 0.45
    red = (view.image[..., 0] > 190) & (view.image[..., 1:] < 60).all(2)
    soft = view.soft_mask((1,))
    assert red[soft > 0.99].mean() > 0.99 if (soft > 0.99).any() else True
    assert np.abs((soft > 0.5).astype(int) - (view.instances == 1)).mean() < 0.03


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_point_is_in_the_view_where_its_pixel_is(sample: Sample, mirrored: bool) -> None:
    # given one bright pixel, and a view of a part of the picture, enlarged
    sample.image[:] = 0
    sample.image[40, 30] = 255
    view = cut(sample, (20.0, 30.0, 52.0, 54.0), 96, 128, mirrored=mirrored, kind="part")
    # when
    place = view.place(30.5, 40.5)
    # then it is brightest where the point is said to lie
    assert view.shows(30.5, 40.5)
    row, column = np.unravel_index(int(view.image[..., 0].argmax()), view.image.shape[:2])
    assert abs(column + 0.5 - place[0]) <= 4
    assert abs(row + 0.5 - place[1]) <= 4
    # and what lies outside is not shown
    assert not view.shows(19.0, 40.0)
    assert not view.shows(30.0, 54.5)


def test_a_tint_keeps_the_names_of_plain_colours() -> None:
    names = {"red": (200, 30, 30), "blue": (30, 50, 200), "green": (40, 150, 40)}
    for name, pixel in names.items():
        image = np.full((4, 4, 3), pixel, np.uint8)
        kept = [
            COLOURS[int(colour_names(Tint.draw(np.random.default_rng(seed))(image))[0, 0])]
            for seed in range(100)
        ]
        # a few are turned grey on purpose, darkened ones may be called brown or black
        assert kept.count(name) >= 90
        assert not set(kept) & (set(names) - {name})


def test_a_detail_shows_a_part_of_the_border_of_its_object_cut_off_by_the_view() -> None:
    # given a large object
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (400, 500, 3), dtype=np.uint8)
    instances = np.zeros((400, 500), np.int16)
    instances[50:350, 60:440] = 1
    sample = Sample("made", "voc", image, instances, (SampleObject(1, "dog"),))
    for seed in range(30):
        # when
        shares = ViewShares(0.0, 0.0, 1.0)
        view = random_view(sample, 96, 128, np.random.default_rng(seed), shares)
        # then
        left, top, right, bottom = view.box
        assert view.kind == "detail"
        assert view.about == 1
        assert 0.25 * 380 <= max(right - left, bottom - top) <= 1.05 * 380
        inside = view.instances == 1
        assert inside.any()
        edges = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
        assert edges.any()


def test_a_coarse_view_is_blurred_and_keeps_its_exact_mask(sample: Sample) -> None:
    for seed in range(10):
        # given a close view
        sharp, coarse = (
            random_view(sample, 96, 128, np.random.default_rng(seed), ViewShares(0, 1, 0, share))
            for share in (0.0, 1.0)
        )
        # when it is coarse, then it has less detail, and shows the same
        noise = [np.abs(np.diff(view.image.astype(int), axis=1)).mean() for view in (sharp, coarse)]
        assert noise[1] < 0.8 * noise[0]
        assert abs(sharp.image.mean() - coarse.image.mean()) < 3
        assert np.array_equal(sharp.instances, coarse.instances)
        assert np.array_equal(sharp.soft_mask((1,)), coarse.soft_mask((1,)))


def test_a_picture_of_sided_parts_is_not_mirrored(sample: Sample) -> None:
    first, second = sample.objects
    sided = replace(sample, objects=(replace(first, category="left mirror"), second))
    shares = ViewShares(1.0, 0.0)
    views = [random_view(sided, 96, 128, np.random.default_rng(seed), shares) for seed in range(20)]
    assert not any(view.mirrored for view in views)
