"""The quick mask is the slow probability's mask, at every pixel."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from model.crop import Box
from model.mask_upsampling import Grid, MaskLayers, sigmoid

values = st.one_of(
    st.floats(-6, 6, width=32),
    st.sampled_from([0.0, -0.0, 1e-9, -1e-9, 5e-8, 1e-38, 100.0, -100.0, 3e4]),
)


@st.composite
def fields(draw: st.DrawFn) -> MaskLayers:
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    grids = []
    for _ in range(draw(st.integers(0, 3))):
        left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        right, bottom = draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))
        shape = (draw(st.integers(1, 12)), draw(st.integers(1, 12)))
        logits = draw(arrays.arrays(np.float32, shape, elements=values, fill=st.just(-1.0)))
        grids.append(Grid(logits, Box(left, top, right, bottom)))
    return MaskLayers(width, height, tuple(grids))


@settings(deadline=None, max_examples=300)
@given(field=fields())
def test_mask_is_probability_above_half(field: MaskLayers) -> None:
    probability = field.probability()

    assert probability.shape == (field.height, field.width)
    assert probability.dtype == np.float32
    assert np.array_equal(field.mask(), probability > 0.5)
    assert bool(((probability >= 0) & (probability <= 1)).all())


@settings(deadline=None, max_examples=50)
@given(
    logits=arrays.arrays(np.float32, (5, 8), elements=st.floats(-5, 5, width=32)),
    height=st.integers(5, 90),
    width=st.integers(8, 90),
)
def test_stretching_is_torchs_bilinear(
    logits: NDArray[np.float32], height: int, width: int
) -> None:
    box = Box(0, 0, width, height)

    ours = Grid(logits, box).sample(box, height, width)

    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None, None], size=(height, width), mode="bilinear"
    )[0, 0].numpy()
    assert np.allclose(ours, theirs, atol=1e-4)


def test_later_grids_lie_over_earlier_ones() -> None:
    below = Grid(np.full((2, 2), 3.0, np.float32), Box(0, 0, 10, 10))
    above = Grid(np.full((2, 2), -3.0, np.float32), Box(2, 3, 5, 6))

    mask = MaskLayers(10, 10, (below, above)).mask()

    assert mask.sum() == 100 - 9
    assert not mask[3:6, 2:5].any()


def test_sampling_a_part_is_a_part_of_the_whole() -> None:
    logits = np.random.default_rng(0).normal(size=(6, 9)).astype(np.float32)
    grid = Grid(logits, Box(0, 0, 90, 60))
    whole = grid.sample(grid.box, 60, 90)

    part = grid.sample(Box(20, 10, 50, 40), 30, 30)

    assert np.allclose(part, whole[10:40, 20:50], atol=1e-5)


def test_sigmoid_is_above_half_exactly_where_logits_are_positive() -> None:
    logits = np.array([1e-30, 1e-9, 0.0, -0.0, -1e-9, 90.0, -90.0], np.float32)

    assert (sigmoid(logits) > 0.5).tolist() == (logits > 0).tolist()
