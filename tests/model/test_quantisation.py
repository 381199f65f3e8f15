"""Eight bits for a coordinate of a word vector."""

from __future__ import annotations

import numpy as np

from model.quantisation import dequantise, quantise


def test_the_rounding_is_small_and_happens_once() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32)
    vectors[3] = 0

    stored = dequantise(*quantise(vectors))

    largest = np.abs(vectors).max(1, keepdims=True)
    assert (np.abs(stored - vectors) <= largest / 250).all()
    assert np.array_equal(dequantise(*quantise(stored)), stored)
