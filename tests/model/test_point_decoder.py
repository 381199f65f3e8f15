"""Many clicks at once: the same answers as one by one, in less time."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from model.inference import Inference, InferenceQueue
from model.network.click_maps import ClickBatch
from model.network.late_decoder import MARGIN, Guess, Windows
from model.network.phrase_encoder import WordBatch
from model.network.phraseclick import PhraseClick
from model.point_decoder import PointDecoder

SIZE = 256
NO_WORDS = np.zeros((0, 8), np.float32)


def words(count: int) -> WordBatch:
    return WordBatch(torch.zeros(count, 0, 8), torch.zeros(count, dtype=torch.int64))


def test_each_click_is_answered_as_if_it_were_alone(small_network: PhraseClick) -> None:
    # given
    torch.manual_seed(4)
    with torch.inference_mode():
        features = small_network.encode(torch.rand(1, 3, SIZE, SIZE))
    cells = [(10, 20), (64, 64), (127, 3), (90, 120)]
    inference = Inference(small_network, torch.device("cpu"), InferenceQueue())
    decode = PointDecoder(inference, features, NO_WORDS)

    # when
    answers = decode(cells)

    # then
    for (row, column), answer in zip(cells, answers, strict=True):
        assert answer is not None
        at = torch.tensor([[[2.0 * column + 1.0, 2.0 * row + 1.0]]])
        with torch.inference_mode():
            alone = small_network.decode(features, ClickBatch(at, torch.ones(1, 1)), words(1))
        expected = alone.mask_logits[0, 0].numpy()[answer.slices]
        inner = _inner(answer.logits.shape)
        different = np.abs(answer.logits - expected) > 1e-3
        different[row - answer.corner[0], column - answer.corner[1]] = False  # obeys its click
        assert not different[inner].any()
        assert answer.logits[row - answer.corner[0], column - answer.corner[1]] > 0


def test_what_the_phrase_does_not_mean_or_was_clicked_before_is_not_decoded(
    small_network: PhraseClick,
) -> None:
    # given a phrase that means the left half, two clicks at one place there and two on the right
    torch.manual_seed(4)
    with torch.inference_mode():
        features = small_network.encode(torch.rand(1, 3, SIZE, SIZE))
    inference = Inference(small_network, torch.device("cpu"), InferenceQueue())
    probability = np.zeros((SIZE // 2, SIZE // 2), np.float32)
    probability[:, : SIZE // 4] = 1.0
    coarse = np.full((4, 1, SIZE // 8, SIZE // 8), -4.0, np.float32)
    coarse[:2, :, 10:14, 4:8] = coarse[2:3, :, 10:14, 20:24] = 4.0
    guess = small_network.guess

    def guessed(*arguments: Any) -> Guess:
        return guess(*arguments)._replace(coarse=torch.from_numpy(coarse))

    # when
    with patch.object(small_network, "guess", guessed):
        decode = PointDecoder(inference, features, NO_WORDS, probability)
        first, again, beside, small = decode([(48, 24), (46, 22), (48, 88), (80, 88)])

    # then
    assert first is not None
    assert again is None
    assert beside is None
    assert small is not None  # one cell says little


def test_a_window_shows_what_the_whole_picture_would(small_network: PhraseClick) -> None:
    # given
    torch.manual_seed(5)
    clicks = ClickBatch(torch.tensor([[[100.0, 80.0]], [[200.0, 30.0]]]), torch.ones(2, 1))
    first = torch.zeros(2, dtype=torch.int64)
    windows = Windows(torch.tensor([1, 0]), torch.tensor([[0, 18], [5, 6]]), (12, 14))
    with torch.inference_mode():
        features = small_network.encode(torch.rand(1, 3, SIZE, SIZE))
        whole = small_network.decode(features, clicks, words(2), None, first).mask_logits

        # when
        guess = small_network.guess(features, clicks, words(2), first)
        parts, _ = small_network.refine(features, clicks, words(2), guess, windows)

    # then
    assert parts.shape == (2, 1, 48, 56)
    edge = 4 * MARGIN
    for part, row, (top, left) in zip(parts, (1, 0), ((0, 18), (5, 6)), strict=True):
        expected = whole[row, :, 4 * top : 4 * top + 48, 4 * left : 4 * left + 56]
        inside = slice(edge if top else 0, -edge), slice(edge, -edge)
        assert torch.allclose(part[0][inside], expected[0][inside], atol=1e-4)


def _inner(shape: tuple[int, ...]) -> tuple[slice, slice]:
    """All of the whole picture; of a window all but the margin."""
    if shape == (SIZE // 2, SIZE // 2):
        return slice(None), slice(None)
    return slice(4 * MARGIN, -4 * MARGIN), slice(4 * MARGIN, -4 * MARGIN)
