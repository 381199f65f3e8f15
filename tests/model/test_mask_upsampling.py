"""The quick mask is the slow probability's mask, at every pixel."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy import ndimage

from model.crop import Box
from model.mask_upsampling import Layer, LogitGrid, MaskLayers, sigmoid

values = st.one_of(
    st.floats(-6, 6, width=32),
    st.sampled_from([0.0, -0.0, 1e-9, -1e-9, 5e-8, 1e-38, 100.0, -100.0, 3e4]),
)


@st.composite
def fields(draw: st.DrawFn) -> MaskLayers:
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    layers = []
    for _ in range(draw(st.integers(0, 3))):
        left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        right, bottom = draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))
        shape = (draw(st.integers(1, 12)), draw(st.integers(1, 12)))
        logits = draw(arrays.arrays(np.float32, shape, elements=values, fill=st.just(-1.0)))
        grid = LogitGrid(logits, Box(left, top, right, bottom))
        cells = draw(st.none() | arrays.arrays(np.bool_, draw(st.sampled_from([shape, (3, 2)]))))
        layers.append(Layer(draw(st.sampled_from([grid, grid.smoothed()])), cells))
    base = draw(st.none() | arrays.arrays(np.bool_, (height, width)))
    return MaskLayers(width, height, tuple(layers), base)


@settings(deadline=None, max_examples=300)
@given(field=fields())
def test_mask_is_probability_above_half(field: MaskLayers) -> None:
    probability = field.probability()

    assert probability.shape == (field.height, field.width)
    assert probability.dtype == np.float32
    assert np.array_equal(field.mask(), probability > 0.5)
    assert bool(((probability >= 0) & (probability <= 1)).all())


def test_rounding_takes_no_pixel_to_a_sign_that_no_cell_has() -> None:
    # given two positive cells, whose difference in float32 loses the second
    logits = np.array([[100.0, 1e-9]], np.float32)
    field = MaskLayers(4, 1, (Layer(LogitGrid(logits, Box(0, 0, 4, 1))),))
    # then all pixels are positive, those beyond the second cell's centre as well
    assert field.mask().all()
    assert (field.probability() > 0.5).all()


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

    ours = LogitGrid(logits, box).sample(box, height, width)

    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None, None], size=(height, width), mode="bilinear"
    )[0, 0].numpy()
    assert np.allclose(ours, theirs, atol=1e-4)


def test_later_grids_lie_over_earlier_ones() -> None:
    below = LogitGrid(np.full((2, 2), 3.0, np.float32), Box(0, 0, 10, 10))
    above = LogitGrid(np.full((2, 2), -3.0, np.float32), Box(2, 3, 5, 6))

    mask = MaskLayers(10, 10, (Layer(below), Layer(above))).mask()

    assert mask.sum() == 100 - 9
    assert not mask[3:6, 2:5].any()


@settings(deadline=None, max_examples=60)
@given(layers=fields(), data=st.data())
def test_a_part_of_the_mask_is_cut_from_the_whole(layers: MaskLayers, data: st.DataObject) -> None:
    left, top = (data.draw(st.integers(0, n - 1)) for n in (layers.width, layers.height))
    right = data.draw(st.integers(left + 1, layers.width))
    bottom = data.draw(st.integers(top + 1, layers.height))

    part = layers.mask(Box(left, top, right, bottom))

    assert np.array_equal(part, layers.mask()[top:bottom, left:right])


def test_what_no_layer_covers_stays_as_it_was() -> None:
    base = np.random.default_rng(0).random((40, 40)) > 0.5
    cells = np.zeros((4, 4), bool)
    cells[1, 2] = True
    layer = Layer(LogitGrid(np.full((8, 8), 3.0, np.float32), Box(0, 0, 40, 40)), cells)

    mask = MaskLayers(40, 40, (layer,), base).mask()

    assert mask[10:20, 20:30].all()
    mask[10:20, 20:30] = base[10:20, 20:30]
    assert np.array_equal(mask, base)


def test_a_smoothed_border_has_smaller_stairs() -> None:
    """A disk in cells of 10 pixels: the radius of its border varies less."""
    rows, columns = np.mgrid[0:40, 0:40] + 0.5
    inside = np.hypot(rows - 20, columns - 20) < 12.3
    grid = LogitGrid(np.where(inside, 9.0, -9.0).astype(np.float32), Box(0, 0, 400, 400))
    rows, columns = np.mgrid[0:400, 0:400] + 0.5
    radius = np.hypot(rows - 200, columns - 200)

    def variation(mask: NDArray[np.bool_]) -> float:
        return float(radius[mask & ~ndimage.binary_erosion(mask)].std())

    assert variation(grid.smoothed().positive(grid.box)) < 0.85 * variation(grid.positive(grid.box))


def test_a_single_pair_of_cells_survives_smoothing() -> None:
    logits = np.full((20, 20), -9.0, np.float32)
    logits[9:11, 9:11] = 4.0
    grid = LogitGrid(logits, Box(0, 0, 100, 100)).smoothed()

    assert grid.positive(grid.box)[46:54, 46:54].all()


def test_sampling_a_part_is_a_part_of_the_whole() -> None:
    logits = np.random.default_rng(0).normal(size=(6, 9)).astype(np.float32)
    grid = LogitGrid(logits, Box(0, 0, 90, 60))
    whole = grid.sample(grid.box, 60, 90)

    part = grid.sample(Box(20, 10, 50, 40), 30, 30)

    assert np.allclose(part, whole[10:40, 20:50], atol=1e-5)


def test_sigmoid_is_above_half_exactly_where_logits_are_positive() -> None:
    logits = np.array([1e-30, 1e-9, 0.0, -0.0, -1e-9, 90.0, -90.0], np.float32)

    assert (sigmoid(logits) > 0.5).tolist() == (logits > 0).tolist()
