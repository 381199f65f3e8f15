"""The pictures and questions of one step, and the network inputs made from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from model.network.click_maps import ClickBatch
from model.network.phrase_encoder import WordBatch
from model.tokenizer import Tokenizer
from training.prompts.boxes_and_masks import Box
from training.prompts.clicks import ClickNoise
from training.prompts.prompts import GivenMask


@dataclass
class Question:
    """One prompt of a batch, except its tensors. The annotator adds clicks (x, y, sign).

    rounds: corrections before the answer that enters the loss. phrase_from: the first round in
    which the phrase is known.
    """

    text: str
    attributes: tuple[str, ...]
    clicks: list[tuple[float, float, int]]
    clickable: bool
    noise: ClickNoise
    rounds: int = 0
    phrase_from: int = 0
    box: Box | None = None
    given: GivenMask = ""


@dataclass
class Batch:
    """P pictures and B questions about them.

    image: P,3,H,W uint8; on the device float in [0, 1]. picture_index: B. target: B,1,H,W in [0,
    1]. void: B,1,H,W bool. given: B,1,H,W previous masks that the network did not make, 0 for
    questions without one; None if no question has one. coarse_source: B bool, coarsely drawn
    borders. keys: names of the pictures. passed_over: errors of unreadable pictures.
    """

    image: Tensor
    picture_index: Tensor
    questions: list[Question]
    target: Tensor
    void: Tensor
    given: Tensor | None
    coarse_source: Tensor
    keys: list[str]
    passed_over: tuple[str, ...] = ()

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, for asynchronous copies to a GPU."""
        return self._changed(lambda tensor: tensor.pin_memory())

    def to(self, device: torch.device) -> Batch:
        """The batch on the device, with float pictures."""
        moved = self._changed(lambda tensor: tensor.to(device, non_blocking=True))
        return dataclasses.replace(moved, image=moved.image.float().div_(255.0))

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return dataclasses.replace(
            self,
            image=change(self.image),
            picture_index=change(self.picture_index),
            target=change(self.target),
            void=change(self.void),
            given=None if self.given is None else change(self.given),
            coarse_source=change(self.coarse_source),
        )


def word_batch(texts: Sequence[str], tokenizer: Tokenizer) -> WordBatch:
    """The word vectors of B phrases ("" is none), padded."""
    read = [torch.tensor(tokenizer.read(text).vectors) for text in texts]
    length = torch.tensor([len(vectors) for vectors in read])
    return WordBatch(pad_sequence(read, batch_first=True), length)


class PromptInputs(NamedTuple):
    """Inputs of ``PhraseClick.decode`` for B prompts. boxes: B,4 corners; None without a box."""

    clicks: ClickBatch
    words: WordBatch
    boxes: Tensor | None


def prompt_inputs(
    questions: Sequence[Question], texts: Sequence[str], tokenizer: Tokenizer, device: torch.device
) -> PromptInputs:
    """The clicks so far, these phrases and the boxes, on the device."""
    listed = [torch.tensor(question.clicks).reshape(-1, 3) for question in questions]
    clicks = pad_sequence(listed, batch_first=True).to(device)
    words = word_batch(texts, tokenizer)
    boxes = None
    if any(question.box is not None for question in questions):
        # A box of size 0 means no box.
        sides = [question.box or (0.0, 0.0, 0.0, 0.0) for question in questions]
        boxes = torch.tensor(sides, device=device)
    return PromptInputs(
        ClickBatch(clicks[..., :2], clicks[..., 2]),
        WordBatch(words.vectors.to(device), words.length.to(device)),
        boxes,
    )


def held_attributes(questions: Sequence[Question], attributes: Mapping[str, int]) -> Tensor:
    """B,A of 0 and 1: the attributes that each phrase names. attributes: index by name."""
    held = torch.zeros(len(questions), len(attributes))
    for row, question in enumerate(questions):
        for name in question.attributes:
            if name in attributes:
                held[row, attributes[name]] = 1.0
    return held
