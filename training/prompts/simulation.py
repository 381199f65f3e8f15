"""The conversation before an answer is learned from: the network answers, the annotator corrects.

Clicks gathered this way lie where this very network errs, which no sampling beforehand can know.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.network.phraseclick import Features, PhraseClick
from model.tokenizer import Tokenizer
from training.data.batch import Batch, Question, told
from training.prompts.corrections import corrections


@torch.no_grad()
def corrected(
    network: PhraseClick, tokenizer: Tokenizer, features: Features, batch: Batch
) -> Tensor | None:
    """Let the annotator click for the batch's rounds; B,1,H,W of the last answers, None without.

    The clicks are added to the batch's questions.
    """
    questions, device = batch.questions, batch.target.device
    # A phrase alone is mostly answered at once, sometimes looked at again (a closer look).
    asked = [row for row, q in enumerate(questions) if q.clickable or q.hand.looks_again]
    if batch.rounds == 0 or not asked:
        # The phrase was to come first, but no round is left for the first click.
        first = [row for row, q in enumerate(questions) if q.clickable and not q.clicks]
        _click(batch, first, torch.zeros_like(batch.target[first], dtype=torch.bool), 0)
        return batch.stale
    rows = torch.tensor(asked, device=device)
    soft = torch.tensor([questions[row].hand.soft for row in asked], device=device)
    previous = torch.zeros_like(batch.target)
    # Norms neither learn from these answers nor count them.
    learning = network.training
    network.eval()
    index = batch.picture_index[rows]
    held = Features(tuple(each.detach() for each in features.maps), *features[1:])
    for number in range(batch.rounds):
        chosen = [questions[row] for row in asked]
        texts = [q.text if number >= q.phrase_from else "" for q in chosen]
        clicks, words = told(chosen, texts, tokenizer, device)
        shown_before = previous[rows] if number else None
        logits = network.decode(held, clicks, words, shown_before, index).logits_full()
        answers = logits > 0
        shown = torch.where(soft[:, None, None, None], torch.sigmoid(logits), answers.to(logits))
        previous[rows] = shown.to(previous.dtype)
        clicking = [
            place
            for place, q in enumerate(chosen)
            if q.clickable and not (q.hand.skips[number] and q.clicks)
        ]
        _click(batch, [asked[place] for place in clicking], answers[clicking], number)
    network.train(learning)
    forgotten = [row for row in asked if questions[row].hand.forgets]
    previous[forgotten] = 0.0
    if batch.stale is not None:
        stale = [row for row, question in enumerate(questions) if question.has_stale]
        previous[stale] = batch.stale[stale]
    return previous


def _click(batch: Batch, rows: Sequence[int], answers: Tensor, number: int) -> None:
    """One click each on these questions, whose answers N,1,H,W are what is to be corrected."""
    if not rows:
        return
    device = batch.target.device
    chosen: list[Question] = [batch.questions[row] for row in rows]
    where = torch.tensor(rows, device=device)
    clicks = corrections(
        batch.target[where, 0] > 0.5,
        answers[:, 0],
        batch.void[where, 0],
        torch.tensor([q.hand.jitter for q in chosen], device=device),
        torch.tensor([q.hand.places[number] for q in chosen], device=device),
    )
    for question, (x, y, sign) in zip(chosen, clicks.tolist(), strict=True):
        if sign:
            question.clicks.append((x, y, int(sign)))
