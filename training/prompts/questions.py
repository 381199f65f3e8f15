"""The questions of one step: pictures, prompts, network inputs, and simulated corrections.

Before the answer that enters the loss, the network answers and clicks correct it, so training sees
clicks where this network errs, which cannot be sampled in advance. Pictures are encoded once; a
round costs one decoder pass without gradients over the prompts that are still being corrected.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from model.network.click_maps import ClickBatch
from model.network.phrase_encoder import WordBatch, padded_words
from model.network.phraseclick import Features, PhraseClick
from model.tokenizer import Tokenizer
from training.data.transforms import Box
from training.prompts.clicks import ClickNoise, corrections
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
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        changed: dict[str, Any] = {name: change(tensor) for name, tensor in tensors.items()}
        return dataclasses.replace(self, **changed)


def word_batch(texts: Sequence[str], tokenizer: Tokenizer) -> WordBatch:
    """The word vectors of B phrases ("" is none), padded."""
    return padded_words([tokenizer.read(text).vectors for text in texts])


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


# Errors are measured on every second pixel, and on every fourth in inputs of at least this size.
LARGE_INPUT = 224 * 224
# Decoded prompts are padded to a multiple of this. A CPU prepares its convolutions for each new
# shape, which takes longer than decoding a few prompts twice.
ROWS = 4


@torch.no_grad()
def simulate_corrections(
    network: PhraseClick, tokenizer: Tokenizer, features: Features, batch: Batch
) -> Tensor | None:
    """Run each question's rounds of corrections, and add the clicks to the batch's questions.

    Returns the previous masks B,1,H,W for the answer that enters the loss, or None if no question
    has one.
    """
    questions = batch.questions
    _click_unprompted(batch)
    if not any(_rounds(question) for question in questions):
        return batch.given
    previous = torch.zeros_like(batch.target)
    if batch.given is not None:
        opening = [row for row, question in enumerate(questions) if question.given == "first"]
        previous[opening] = batch.given[opening]
    # These answers must not change the statistics of norms.
    learning = network.training
    network.eval()
    held = Features(tuple(feature.detach() for feature in features.maps), *features[1:])
    for number in range(max(_rounds(question) for question in questions)):
        rows = [row for row, question in enumerate(questions) if number < _rounds(question)]
        logits = _answers(network, tokenizer, held, batch, rows, previous, number)
        answers = logits > 0
        shown = answers.to(previous.dtype)
        soft = [place for place, row in enumerate(rows) if questions[row].noise.soft]
        shown[soft] = torch.sigmoid(logits[soft]).to(previous.dtype)
        previous[rows] = shown
        # A question without a prompt is never skipped.
        clicking = [
            place
            for place, question in enumerate(questions[row] for row in rows)
            if question.clickable
            and not (question.noise.skips[number] and (question.clicks or question.box))
        ]
        _click(batch, [rows[place] for place in clicking], answers[clicking], number)
    network.train(learning)
    forgotten = [
        row for row, question in enumerate(questions)
        if _rounds(question) and question.noise.forgets
    ]  # fmt: skip
    previous[forgotten] = 0.0
    if batch.given is not None:
        closing = [row for row, question in enumerate(questions) if question.given == "last"]
        previous[closing] = batch.given[closing]
    return previous


def _rounds(question: Question) -> int:
    """How often the question is answered before the answer that enters the loss.

    A phrase alone mostly has none; sometimes it is answered twice.
    """
    if question.clickable:
        return question.rounds
    return min(question.rounds, 3) if question.noise.looks_again else 0


def _click_unprompted(batch: Batch) -> None:
    """A first click for questions that start with a phrase but have no round left for the click."""
    rows = [
        row
        for row, question in enumerate(batch.questions)
        if question.clickable and not (question.clicks or question.box or question.rounds)
    ]
    _click(batch, rows, torch.zeros_like(batch.target[rows], dtype=torch.bool), 0)


def _answers(
    network: PhraseClick,
    tokenizer: Tokenizer,
    features: Features,
    batch: Batch,
    rows: Sequence[int],
    previous: Tensor,
    number: int,
) -> Tensor:
    """N,1,H,W logits of these questions in this round."""
    device = batch.target.device
    padded = [*rows, *[rows[0]] * (-len(rows) % ROWS)]
    questions = [batch.questions[row] for row in padded]
    texts = [question.text if number >= question.phrase_from else "" for question in questions]
    clicks, words, boxes = prompt_inputs(questions, texts, tokenizer, device)
    index = batch.picture_index[torch.tensor(padded, device=device)]
    shown = previous[padded] if number or batch.given is not None else None
    output = network.decode(features, clicks, words, shown, index, boxes)
    return output.logits_full()[: len(rows)]


def _click(batch: Batch, rows: Sequence[int], answers: Tensor, number: int) -> None:
    """Add one click to each of these questions, correcting their answers N,1,H,W."""
    if not rows:
        return
    device = batch.target.device
    chosen: list[Question] = [batch.questions[row] for row in rows]
    where = torch.tensor(rows, device=device)
    height, width = batch.target.shape[2:]
    clicks = corrections(
        batch.target[where, 0] > 0.5,
        answers[:, 0],
        batch.void[where, 0],
        torch.tensor([question.noise.jitter for question in chosen], device=device),
        torch.tensor([question.noise.places[number] for question in chosen], device=device),
        stride=4 if height * width >= LARGE_INPUT else 2,
    )
    for question, (x, y, sign) in zip(chosen, clicks.tolist(), strict=True):
        if sign:
            question.clicks.append((x, y, int(sign)))
