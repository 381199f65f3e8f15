"""Rehearsal without base data: on a team's pictures the network also learns the base's answers.

A team's pictures show much that the team never labels. There, at random places and with the base
model's own words, the network is pulled towards the base model's answers ("learning without
forgetting", Li and Hoiem 2016). Base data, if there are any, teach this better (`replay` in
fine_tune.py). It is light: much of it keeps the team's own kinds from being learned (RUNS.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from model.checkpoint import Checkpoint
from model.network.phraseclick import Features, PhraseClick
from model.tokenizer import Tokenizer
from training.data.sample import pick
from training.prompts.clicks import EXACT
from training.prompts.questions import Batch, Question, prompt_inputs
from training.prompts.vocabulary import concept_of, every_word_for
from training.train.words import trained_before

# Shares of the questions: a click alone, a phrase alone; the rest are a click with a phrase.
CLICK_ALONE, PHRASE_ALONE = 0.4, 0.3
# How often a second click, of either sign, corrects the base model's first answer.
SECOND_CLICK = 0.4


class Distillation:
    """Questions about a batch's pictures, and how far the answers are from the base model's.

    weight: of its loss. every: in which steps; the loss of the others is 0. seed: of the questions,
    which depend on it and on the step's number alone.
    """

    def __init__(
        self,
        base: Checkpoint,
        tokenizer: Tokenizer,
        device: torch.device,
        *,
        weight: float = 1.0,
        every: int = 1,
        seed: int = 1,
    ) -> None:
        self.tokenizer, self.device = tokenizer, device
        self.weight, self.every, self.seed = weight, every, seed
        self._teacher = base.network().to(device).for_serving()
        self._teacher_tokenizer = base.tokenizer()
        concepts = sorted({concept_of(name) for name in trained_before(base)})
        self._words = tuple(word for concept in concepts for word in every_word_for(concept))

    def __call__(self, network: PhraseClick, features: Features, batch: Batch, step: int) -> Tensor:
        """The loss of one question per picture; features: the batch's pictures, encoded."""
        if step % self.every:
            return torch.zeros((), device=batch.image.device)
        rng = np.random.default_rng([self.seed, step, 7])
        questions = [self._question(place, batch, rng) for place in range(len(batch.image))]
        previous: Tensor | None = None
        with torch.no_grad():
            known = self._teacher.encode(batch.image)
            wanted = self._answers(self._teacher, known, questions, None)
            if rng.random() < SECOND_CLICK:
                previous = (wanted > 0).to(wanted.dtype)
                previous = functional.interpolate(previous, size=batch.image.shape[2:])
                for place, question in enumerate(questions):
                    question.clicks.append(_anywhere(batch, place, rng, int(rng.choice((-1, 1)))))
                wanted = self._answers(self._teacher, known, questions, previous)
            wanted = torch.sigmoid(wanted.float())
        answers = self._answers(network, features, questions, previous).float()
        # Cross-entropy minus the base model's own entropy: 0 where both agree.
        loss = functional.binary_cross_entropy_with_logits(answers, wanted)
        return self.weight * (loss - functional.binary_cross_entropy(wanted, wanted))

    def _answers(
        self,
        network: PhraseClick,
        features: Features,
        questions: Sequence[Question],
        previous: Tensor | None,
    ) -> Tensor:
        texts = [question.text for question in questions]
        # The base model may use other word vectors than the network that learns.
        is_teacher = network is self._teacher
        tokenizer = self._teacher_tokenizer if is_teacher else self.tokenizer
        clicks, words, _ = prompt_inputs(questions, texts, tokenizer, self.device)
        return network.decode(features, clicks, words, previous).mask_logits

    def _question(self, place: int, batch: Batch, rng: np.random.Generator) -> Question:
        chance = rng.random()
        text = ""
        if chance >= CLICK_ALONE and self._words:
            text = pick(self._words, rng)
        alone = bool(text) and chance < CLICK_ALONE + PHRASE_ALONE
        clicks = [] if alone else [_anywhere(batch, place, rng, 1)]
        return Question(text, (), clicks, not alone, EXACT)


def _anywhere(
    batch: Batch, place: int, rng: np.random.Generator, sign: int
) -> tuple[float, float, int]:
    """A click on a random pixel of this picture, outside of what the batch asks for if possible.

    On what the team labeled, the team's masks are right, not the base model's.
    """
    labeled = (batch.target[batch.picture_index == place, 0] > 0.25).any(0)
    height, width = batch.image.shape[2:]
    x = y = 0
    for _ in range(8):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        if not bool(labeled[y, x]):
            break
    return x + 0.5, y + 0.5, sign
