"""What a network itself takes for the objects of a picture that nobody has labeled.

Where the project's labels are names that it knows, each is asked for by its name alone; where they
are not, or none of them is found, clicks on a grid stand in for a person who points at things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.predictor import Click, Embedding, Prediction, Predictor

Mask = NDArray[np.bool_]

# A mask that is less likely right than wrong is no object to practise on, unless there is no other.
LEAST_CONFIDENCE = 0.4
# Two masks that share more than this are one object found twice.
SAME_OBJECT = 0.6
# A click's answer that covers more than this of the picture found the background, not a thing.
MOST_OF_PICTURE = 0.8
FEWEST_PIXELS = 50


@dataclass(frozen=True, eq=False)
class PseudoObject:
    """H,W bool, and what it was asked for by: a name, or a click ("")."""

    mask: Mask
    name: str
    confidence: float


def named_objects(
    predictor: Predictor, embedding: Embedding, names: Sequence[str]
) -> tuple[list[PseudoObject], float]:
    """Those found by name, the surest first, each once; and the greatest confidence of any name.

    The confidence is 0 where no name is known to the network.
    """
    answers = [
        (name, predictor.predict(embedding, [], name))
        for name in names
        if predictor.tokenizer.knows(name)
    ]
    answers.sort(key=lambda it: -it[1].confidence)
    surest = answers[0][1].confidence if answers else 0.0
    return _distinct(answers, 1.0), surest


def clicked_objects(
    predictor: Predictor, embedding: Embedding, across: int
) -> tuple[list[PseudoObject], float]:
    """Those found by one click each on a grid of ``across`` by ``across``, as `named_objects`."""
    spots = [
        ((column + 0.5) * embedding.width / across, (row + 0.5) * embedding.height / across)
        for row in range(across)
        for column in range(across)
    ]
    answers = [("", predictor.predict(embedding, [Click(x, y)])) for x, y in spots]
    answers.sort(key=lambda it: -it[1].confidence)
    return _distinct(answers, MOST_OF_PICTURE), answers[0][1].confidence


def overlap(one: Mask, other: Mask) -> float:
    """Intersection over union; 1 where both are empty."""
    either = int(np.count_nonzero(one | other))
    return int(np.count_nonzero(one & other)) / either if either else 1.0


def _distinct(answers: Sequence[tuple[str, Prediction]], largest: float) -> list[PseudoObject]:
    """The answers that are objects, given the surest first."""
    found: list[PseudoObject] = []
    for name, answer in answers:
        if answer.confidence < LEAST_CONFIDENCE:
            break
        mask = answer.mask()
        pixels = int(np.count_nonzero(mask))
        if pixels < FEWEST_PIXELS or pixels > largest * mask.size:
            continue
        if all(overlap(mask, other.mask) <= SAME_OBJECT for other in found):
            found.append(PseudoObject(mask, name, answer.confidence))
    return found
