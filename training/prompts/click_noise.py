"""How exactly one simulated annotator clicks, and what they do between clicks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# A simulated annotator sometimes lets an answer pass without a click.
SKIPPED_ROUND = 0.15
# How often the answer that is learned from is made without the previous mask.
FORGOTTEN_MASK = 0.12
# How often a previous mask keeps its probabilities; the predictor shows the network 0 and 1.
SOFT_MASK = 0.25
# How often a phrase without clicks is answered a second time, with its first answer shown.
SECOND_LOOK = 0.3
# The least exact annotator clicks anywhere that is at most this much less deep than the deepest
# point, as a share of its depth.
LARGEST_JITTER = 0.6


@dataclass(frozen=True)
class ClickNoise:
    """The noise of one prompt, drawn before anything is answered.

    So what happens to a prompt does not depend on the other prompts in its batch.

    jitter: how much less deep than the deepest point a click may be, 0 to 1. looks_again: a phrase
    without clicks is answered twice. soft: previous masks keep their probabilities. forgets: the
    last answer is made without the previous mask. skips: in which rounds nothing is clicked.
    places: for each round, which of the possible points, 0 to 1.
    """

    jitter: float
    looks_again: bool
    soft: bool
    forgets: bool
    skips: tuple[bool, ...]
    places: tuple[float, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator, rounds: int) -> ClickNoise:
        """Random noise for at most this many rounds of corrections (and a first click)."""
        again, soft, forgets = rng.random(3) < (SECOND_LOOK, SOFT_MASK, FORGOTTEN_MASK)
        count = rounds + 1
        return cls(
            float(rng.uniform(0.0, LARGEST_JITTER)),
            bool(again),
            bool(soft),
            bool(forgets),
            tuple((rng.random(count) < SKIPPED_ROUND).tolist()),
            tuple(rng.random(count).tolist()),
        )


EXACT = ClickNoise(0.0, False, False, False, (), ())
"""No noise and no rounds."""
