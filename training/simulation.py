"""The conversation before an answer is learned from: the network answers, the annotator corrects.

Clicks gathered this way lie where this very network errs, which no sampling beforehand can know.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.network import Features, PhraseClick
from model.phrase_reader import PhraseReader
from training.annotator import correction
from training.batches import Batch, click_batch, word_batch
from training.prompts import Prompt

# A simulated annotator sometimes lets an answer pass without a click.
SKIPPED_ROUND = 0.15
# How often the answer learned from is made without the previous mask.
FORGOTTEN_MASK = 0.12
# How often a previous mask keeps its probabilities; the predictor shows the network 0 and 1.
SOFT_MASK = 0.25
# How often a phrase without clicks is answered a second time, with its first answer shown.
SECOND_LOOK = 0.3


@torch.no_grad()
def corrected(
    network: PhraseClick,
    reader: PhraseReader,
    features: Features,
    batch: Batch,
    chances: Sequence[float],
) -> Tensor | None:
    """Let the annotator click for some rounds; B,1,H,W of the last answers, None without any.

    ``chances``: of 0, 1, 2, ... rounds. The clicks are appended to the batch's prompts.
    """
    rng, prompts = batch.rng, batch.prompts
    rounds = int(rng.choice(len(chances), p=np.array(chances) / sum(chances)))
    jitters = rng.uniform(0.0, 0.6, len(prompts))
    # A phrase alone is mostly answered at once, sometimes looked at again (a closer look).
    asked = [
        row for row, prompt in enumerate(prompts) if prompt.clickable or rng.random() < SECOND_LOOK
    ]
    soft = torch.from_numpy(rng.random(len(prompts)) < SOFT_MASK)[asked, None, None, None]
    for row in asked:
        if rounds == 0 and prompts[row].clickable and not prompts[row].clicks:
            # The phrase was to come first, but no round is left for the first click.
            _click(prompts[row], np.zeros_like(prompts[row].void), rng, jitters[row])
    stale = [row for row, prompt in enumerate(prompts) if prompt.stale is not None]
    previous = torch.zeros_like(batch.target)
    if rounds == 0 or not asked:
        return _with_stale(previous, prompts, stale) if stale else None
    # Norms neither learn from these answers nor count them.
    network.eval()
    index = batch.picture_index[asked]
    held = Features(tuple(each.detach() for each in features.maps), *features[1:])
    for number in range(rounds):
        chosen = [prompts[row] for row in asked]
        texts = [p.text if number >= p.phrase_from else "" for p in chosen]
        output = network.decode(
            held,
            click_batch(chosen),
            word_batch(texts, reader),
            previous[asked] if number else None,
            index,
        )
        logits = output.logits_full()
        previous[asked] = torch.where(soft, torch.sigmoid(logits), (logits > 0).float())
        answers = (logits[:, 0] > 0).numpy()
        for place, row in enumerate(asked):
            prompt = prompts[row]
            skipped = rng.random() < SKIPPED_ROUND and prompt.clicks
            if prompt.clickable and not skipped:
                _click(prompt, answers[place], rng, jitters[row])
    network.train()
    for row in asked:
        if rng.random() < FORGOTTEN_MASK:
            previous[row] = 0.0
    return _with_stale(previous, prompts, stale)


def _click(
    prompt: Prompt, answer: NDArray[np.bool_], rng: np.random.Generator, jitter: float
) -> None:
    spot = correction(prompt.mask, answer, prompt.void, rng, jitter=jitter, stride=2)
    if spot is not None:
        prompt.clicks.append((spot[0], spot[1], 1 if spot[2] else -1))


def _with_stale(previous: Tensor, prompts: list[Prompt], rows: list[int]) -> Tensor:
    """Previous masks that belong to another phrase, where the prompt has one."""
    for row in rows:
        previous[row, 0] = torch.from_numpy(prompts[row].stale)
    return previous
