"""Simulated corrections: the network answers, and clicks correct it, before the answer in the loss.

So training sees clicks where this network errs, which cannot be sampled in advance. Pictures are
encoded once; a round costs one decoder pass without gradients over the prompts that are still
being corrected.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.network.phraseclick import Features, PhraseClick
from model.tokenizer import Tokenizer
from training.data.batch import Batch, Question, prompt_inputs
from training.prompts.clicks import corrections

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
        clicking = [place for place, row in enumerate(rows) if _is_clicked(questions[row], number)]
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


def _is_clicked(question: Question, number: int) -> bool:
    """Whether the annotator clicks in this round; a question without a prompt is not skipped."""
    skips = question.noise.skips[number] and bool(question.clicks or question.box)
    return question.clickable and not skips


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
