"""Decodes many clicks on one picture, each for its own object, in few passes.

The coarse half of the decoder sees the whole picture for every click. The fine half, which takes
most of the time, sees only a window around the coarse mask: fifty small objects cost less than half
of fifty clicks.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from model.confidence import implied_score
from model.inference import CERTAIN, Inference, Priority
from model.network.click_maps import ClickBatch
from model.network.late_decoder import MARGIN, Windows
from model.network.phrase_encoder import WordBatch
from model.network.phraseclick import Features

# Sides of windows in cells of stride 8; larger objects are decoded over the whole picture.
SIDES = (12, 16, 24)
# A window holds all cells connected to the click whose coarse logit is above this.
FAINT = 0.0
# Clicks per pass, which bounds how long an annotator's click waits.
CHUNK = 16

Cell = tuple[int, int]
"""Row and column in the grid of the network's mask."""


@dataclass(frozen=True, eq=False)
class Patch:
    """The answer to one click: logits h,w whose first cell is ``corner`` of the mask's grid.

    Nothing outside the patch is in the object. score: the expected IoU in logit space, -inf for
    an empty mask.
    """

    logits: NDArray[np.float32]
    corner: Cell
    score: float

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its place in the grid."""
        (top, left), (height, width) = self.corner, self.logits.shape
        return slice(top, top + height), slice(left, left + width)


@dataclass(frozen=True, eq=False)
class PointDecoder:
    """Answers single positive clicks on an encoded picture.

    vectors: L,D of a phrase that is read with every click; L may be 0.
    """

    inference: Inference
    features: Features
    vectors: NDArray[np.float32]

    def __call__(self, cells: Sequence[Cell]) -> list[Patch]:
        """One patch for each click, made at the centre of a cell of the mask's grid."""
        answers: list[Patch] = []
        for start in range(0, len(cells), CHUNK):
            chunk = cells[start : start + CHUNK]
            answers += self.inference.queue.run(
                Priority.PROMPT, functools.partial(self._decode, chunk)
            )
        return answers

    @torch.inference_mode()
    def _decode(self, cells: Sequence[Cell]) -> list[Patch]:
        stride = 2 if self.inference.network.config.form == "late" else 4
        xy = [[[(column + 0.5) * stride, (row + 0.5) * stride]] for row, column in cells]
        count = len(cells)
        clicks = ClickBatch(
            torch.tensor(xy, dtype=torch.float32, device=self.inference.device),
            torch.ones(count, 1, device=self.inference.device),
        )
        words = WordBatch(
            torch.from_numpy(self.vectors.copy()).to(self.inference.device).expand(count, -1, -1),
            torch.full((count,), len(self.vectors), device=self.inference.device),
        )
        first = torch.zeros(count, dtype=torch.int64, device=self.inference.device)
        if self.inference.network.config.form != "late":
            output = self.inference.network.decode(self.features, clicks, words, None, first)
            logits = output.mask_logits[:, 0].float().cpu().numpy()
            return [_patch(logits[i], (0, 0), cells[i], None) for i in range(count)]

        guess = self.inference.network.guess(self.features, clicks, words, first)
        coarse = guess.coarse[:, 0].float().cpu().numpy()
        answers: dict[int, Patch] = {}
        for size, chosen in _windows(coarse, cells).items():
            rows = torch.tensor([row for row, _ in chosen], device=self.inference.device)
            corners = torch.tensor([corner for _, corner in chosen], device=self.inference.device)
            mask, iou = self.inference.network.refine(
                self.features, clicks, words, guess, Windows(rows, corners, size)
            )
            logits = mask[:, 0].float().cpu().numpy()
            expected = None if iou is None else iou.float().cpu().numpy()
            for i, (row, (top, left)) in enumerate(chosen):
                score = None if expected is None else float(expected[i])
                answers[row] = _patch(logits[i], (4 * top, 4 * left), cells[row], score)
        return [answers[row] for row in range(count)]


def _windows(
    coarse: NDArray[np.float32], cells: Sequence[Cell]
) -> dict[tuple[int, int], list[tuple[int, Cell]]]:
    """By size of the window in cells of stride 8: which clicks have one, and its corner."""
    height, width = coarse.shape[1:]
    windows: dict[tuple[int, int], list[tuple[int, Cell]]] = {}
    for row, ((y, x), logits) in enumerate(zip(cells, coarse, strict=True)):
        at = min(y // 4, height - 1), min(x // 4, width - 1)
        inside = logits > FAINT
        inside[at] = True
        parts, _ = ndimage.label(inside)
        (box,) = ndimage.find_objects((parts == parts[at]).astype(np.int8))
        low = [side.start - MARGIN for side in box]
        needed = max(side.stop - side.start for side in box) + 2 * MARGIN
        side = next((side for side in SIDES if side >= needed), max(height, width))
        size = min(side, height), min(side, width)
        corner = [
            min(max(start - (side - needed) // 2, 0), total - length)
            for start, total, length in zip(low, (height, width), size, strict=True)
        ]
        windows.setdefault(size, []).append((row, (corner[0], corner[1])))
    return windows


def _patch(
    logits: NDArray[np.float32], corner: Cell, clicked: Cell, iou_logit: float | None
) -> Patch:
    """A patch whose clicked cell obeys its click."""
    logits = logits.copy()
    row, column = clicked[0] - corner[0], clicked[1] - corner[1]
    logits[row, column] = max(float(logits[row, column]), CERTAIN)
    score = implied_score(logits) if iou_logit is None else iou_logit
    return Patch(logits, corner, score)
