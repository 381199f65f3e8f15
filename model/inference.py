"""The network behind a queue: pictures to features, features and prompts to logits.

Forward passes run on a few threads of their own, clicks before new pictures. A few, because each
thread that runs passes keeps scratch memory and a pool of OpenMP threads (sixteen request threads
cost 150 MB more than one), and because passes that share a core each take twice as long. Clicks
first, because an annotator waits for a mask that takes a moment, while a new picture takes several
times as long.

The threads belong to a ``ThreadPoolExecutor``, which Python joins before it tears down the
interpreter. A daemon thread could be stopped inside torch's C++ code, which aborts the process. So
the threads that ask run no torch code at all: even ``permute``, or freeing a tensor, gives up
Python's lock and may never get it back.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import IntEnum
from queue import PriorityQueue
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model.crop import Box
from model.errors import CheckpointError
from model.mask_upsampling import LogitGrid
from model.network.click_maps import ClickBatch, no_clicks
from model.network.late_decoder import Guess, Windows
from model.network.phrase_encoder import WordBatch, padded_words
from model.network.phraseclick import Features, PhraseClick
from model.prompt import Click, Prompt
from model.tokens import Tokens

T = TypeVar("T")


class Priority(IntEnum):
    """Lower values run first."""

    PROMPT = 0
    PICTURE = 1


_Job = tuple[Priority, int, Callable[[], Any], "Future[Any]"]


class InferenceQueue:
    """Runs functions on a few threads, in order of priority. The threads end with this object."""

    def __init__(self, threads: int = 1) -> None:
        self._waiting: PriorityQueue[_Job] = PriorityQueue()
        self._numbers = itertools.count()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="inference")

    def run(self, priority: Priority, work: Callable[[], T]) -> T:
        """Wait for this function's turn, run it, and return or raise what it does.

        Among equal priorities the first comes first. Raises RuntimeError while the interpreter
        shuts down.
        """
        future: Future[T] = Future()
        self._waiting.put((priority, next(self._numbers), work, future))
        # One task per job. It runs the first job at that time, which may be another one.
        self._executor.submit(_run_first, self._waiting)
        return future.result()


def _run_first(waiting: PriorityQueue[_Job]) -> None:
    _, _, work, future = waiting.get()
    try:
        result = work()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)


STRIDE = 32  # the network's input is a multiple of it
# Logits next to a click are raised or lowered to this, so that a clicked pixel obeys its click.
CERTAIN = 4.0
# A phrase whose coarse logits are all below this means nothing in the picture (*choice*). Of 189
# labels' names on 73 pictures, those that found an object had 1.1 or more.
NOTHING = -1.0
# Phrases in one pass, which bounds how long an annotator's click waits.
AT_ONCE = 8


@dataclass(frozen=True)
class Answer:
    """One decoder pass over a box.

    before: h,w bool, the grid's cells that were in the mask before; None without one. iou_logit:
    the predicted IoU before the sigmoid; None without an IoU head. newest: the mean logit at the
    newest click before it was forced to obey; None without a click in the box.
    """

    grid: LogitGrid
    before: NDArray[np.bool_] | None
    iou_logit: float | None
    newest: float | None = None


@dataclass(frozen=True, eq=False)
class Inference:
    """A network for serving, its device and its queue. priority: of prompts in the queue."""

    network: PhraseClick
    device: torch.device
    queue: InferenceQueue
    priority: Priority = Priority.PROMPT

    def behind_clicks(self) -> Inference:
        """The same with the priority of new pictures, for searches that take many passes."""
        return replace(self, priority=Priority.PICTURE)

    def encode(self, picture: Image.Image, size: tuple[int, int], priority: Priority) -> Features:
        """Encode a picture, stretched to ``size``: height and width of the network's input.

        The picture is stretched to multiples of 32 instead of padded, so the network need not learn
        a border, and a point is scaled by one factor in each direction.
        """
        height, width = size
        # The gap lets Pillow shrink by whole pixels first: four times as fast, no visible loss.
        small = picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
        values = np.array(small)

        @torch.inference_mode()
        def encode() -> Features:
            pixels = torch.from_numpy(values).permute(2, 0, 1)[None]
            return self.network.encode(pixels.to(self.device).float().div_(255.0))

        return self.queue.run(priority, encode)

    def decode(
        self,
        features: Features,
        box: Box,
        prompt: Prompt,
        previous: NDArray[np.float32] | None,
    ) -> Answer:
        """Answer a prompt over the box that was encoded.

        previous: h,w in [0, 1] at the network's input size. Clicks outside the box are ignored.
        Clicked pixels obey their clicks.
        """
        across, down = features.width / box.width, features.height / box.height
        clicks = [click for click in prompt.clicks if box.holds(click.x, click.y)]
        points = [((c.x - box.left) * across, (c.y - box.top) * down) for c in clicks]
        signs = [1.0 if click.positive else -1.0 for click in clicks]
        vectors = prompt.tokens.vectors
        corners = None
        if prompt.box is not None and self.network.config.box_prompts:
            x1, y1, x2, y2 = prompt.box
            corners = [
                [
                    (x1 - box.left) * across,
                    (y1 - box.top) * down,
                    (x2 - box.left) * across,
                    (y2 - box.top) * down,
                ]
            ]

        @torch.inference_mode()
        def decode() -> tuple[NDArray[np.float32], float | None]:
            output = self.network.decode(
                features,
                ClickBatch(self._tensor([points]).view(1, -1, 2), self._tensor([signs])),
                padded_words([vectors], self.device),
                None if previous is None else self._tensor(previous)[None, None],
                boxes=None if corners is None else self._tensor(corners),
            )
            logits = own_array(output.mask_logits[0, 0])
            expected = output.iou_logits
            return logits, None if expected is None else float(expected[0])

        logits, iou_logit = self.queue.run(self.priority, decode)
        newest = None
        if clicks and clicks[-1] is prompt.clicks[-1]:
            newest = float(logits[clicked_cells(clicks[-1], box, logits.shape)].mean())
        obey(logits, clicks, box)
        before = None if previous is None else pooled(previous, logits.shape) > 0.5
        return Answer(LogitGrid(logits, box), before, iou_logit, newest)

    def phrases(self, features: Features, box: Box, phrases: Sequence[Tokens]) -> list[Answer]:
        """Answer phrases alone over the box that was encoded.

        The coarse half of the decoder reads some of them at once. A phrase that means nothing
        there, whose coarse logits are below NOTHING everywhere, is answered with these.
        """
        if self.network.config.form != "late":
            return [self.decode(features, box, Prompt((), tokens), None) for tokens in phrases]
        parts = [phrases[start : start + AT_ONCE] for start in range(0, len(phrases), AT_ONCE)]
        return [answer for part in parts for answer in self._phrases(features, box, part)]

    def _phrases(self, features: Features, box: Box, phrases: Sequence[Tokens]) -> list[Answer]:
        clicks = no_clicks(len(phrases), self.device)

        @torch.inference_mode()
        def guess() -> tuple[WordBatch, Guess, NDArray[np.float32]]:
            words = padded_words([tokens.vectors for tokens in phrases], self.device)
            first = torch.zeros(len(phrases), dtype=torch.int64, device=self.device)
            guess = self.network.guess(features, clicks, words, first)
            return words, guess, own_array(guess.coarse[:, 0])

        words, guesses, coarse = self.queue.run(self.priority, guess)

        @torch.inference_mode()
        def fine(row: int) -> Answer:
            corner = torch.zeros(1, 2, dtype=torch.int64, device=self.device)
            rows = torch.tensor([row], device=self.device)
            windows = Windows(rows, corner, (coarse.shape[1], coarse.shape[2]))
            mask, expected = self.network.refine(features, clicks, words, guesses, windows)
            logits = own_array(mask[0, 0])
            return Answer(
                LogitGrid(logits, box), None, None if expected is None else float(expected)
            )

        return [
            self.queue.run(self.priority, functools.partial(fine, row))
            if logits.max() > NOTHING
            else Answer(LogitGrid(logits, box), None, None)
            for row, logits in enumerate(coarse)
        ]

    def _tensor(self, values: object) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float32).to(self.device)


def own_array(tensor: torch.Tensor) -> NDArray[np.float32]:
    """A float32 array that shares no memory with the tensor, so freeing it runs no torch code."""
    values: NDArray[np.float32] = tensor.float().cpu().numpy().copy()
    return values


MOST_PASSES = 4


def passes_for(device: torch.device) -> int:
    """How many forward passes the processor has room for: its cores, divided by torch's threads.

    At most MOST_PASSES; one on a GPU.
    """
    if device.type != "cpu":
        return 1
    # Not all systems say which cores a process may use.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(MOST_PASSES, (cores or 1) // torch.get_num_threads()))


def device_named(name: str) -> torch.device:
    """The device "cpu", "cuda", "cuda:1", or for "auto" a GPU where there is one.

    Raises CheckpointError where nothing can be loaded there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"The model cannot be loaded on the device {name!r}: {reason}. Choose auto or cpu."
        ) from error


def input_size(box: Box, longest: int) -> tuple[int, int]:
    """Height and width of the network's input for a box, in multiples of 32, near its shape."""
    scale = longest / max(box.width, box.height)
    return (
        max(round(box.height * scale / STRIDE), 1) * STRIDE,
        max(round(box.width * scale / STRIDE), 1) * STRIDE,
    )


def coverage(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.float32]:
    """h,w in [0, 1]: the share of each of h x w cells over a mask that is in the mask."""
    height, width = size
    pixels = Image.fromarray(np.ascontiguousarray(mask).view(np.uint8) * np.uint8(255))
    small = pixels.resize((width, height), Image.Resampling.BOX, reducing_gap=1.0)
    return np.asarray(small, np.float32) / np.float32(255.0)


def pooled(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """h,w: means over equal blocks."""
    height, width = shape
    rows, columns = values.shape[0] // height, values.shape[1] // width
    mean: NDArray[np.float32] = values.reshape(height, rows, width, columns).mean(
        axis=(1, 3), dtype=np.float32
    )
    return mean


def obey(logits: NDArray[np.float32], clicks: Sequence[Click], box: Box) -> None:
    """Set, in place, the four cells around the centre of each clicked pixel to the click's sign.

    Interpolated logits at the pixel then have this sign. Of two clicks at one place the later one
    wins.
    """
    for click in clicks:
        cells = logits[clicked_cells(click, box, logits.shape)]
        if click.positive:
            np.maximum(cells, CERTAIN, out=cells)
        else:
            np.minimum(cells, -CERTAIN, out=cells)


def clicked_cells(click: Click, box: Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of the (up to) four cells whose centres surround the clicked pixel's."""
    height, width = shape
    column = math.floor((math.floor(click.x) + 0.5 - box.left) * width / box.width - 0.5)
    row = math.floor((math.floor(click.y) + 0.5 - box.top) * height / box.height - 0.5)
    return slice(max(row, 0), max(row + 2, 1)), slice(max(column, 0), max(column + 2, 1))
