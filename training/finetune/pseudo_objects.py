"""The objects that a network finds in a picture without labels.

If it knows the project's labels, it is asked for each by its name alone. If it does not, or finds
none of them, it is asked by clicks on a grid instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.predictor import Click, Embedding, Prediction, Predictor

Mask = NDArray[np.bool_]

# A mask with less confidence is more likely wrong than right.
LEAST_CONFIDENCE = 0.4
# Two masks with a larger IoU are one object that was found twice.
SAME_OBJECT = 0.6
# An answer to a click that covers more of the picture than this is the background.
MOST_OF_PICTURE = 0.8
FEWEST_PIXELS = 50


@dataclass(frozen=True, eq=False)
class PseudoObject:
    """H,W bool. name: by which it was found; "" for a click."""

    mask: Mask
    name: str
    confidence: float


def named_objects(
    predictor: Predictor, embedding: Embedding, names: Sequence[str]
) -> tuple[list[PseudoObject], float]:
    """Objects found by these names, the most confident first, and the highest confidence.

    The confidence is 0 if the network knows none of the names.
    """
    answers = [
        (name, predictor.predict(embedding, [], name))
        for name in names
        if predictor.tokenizer.knows(name)
    ]
    answers.sort(key=lambda answer: -answer[1].confidence)
    highest = answers[0][1].confidence if answers else 0.0
    return _distinct(answers, 1.0), highest


def clicked_objects(
    predictor: Predictor, embedding: Embedding, across: int
) -> tuple[list[PseudoObject], float]:
    """Objects found by clicks on a grid of ``across`` by ``across``; as `named_objects`."""
    spots = [
        ((column + 0.5) * embedding.width / across, (row + 0.5) * embedding.height / across)
        for row in range(across)
        for column in range(across)
    ]
    answers = [("", predictor.predict(embedding, [Click(x, y)])) for x, y in spots]
    answers.sort(key=lambda answer: -answer[1].confidence)
    return _distinct(answers, MOST_OF_PICTURE), answers[0][1].confidence


def overlap(one: Mask, other: Mask) -> float:
    """Intersection over union; 1 where both are empty."""
    either = int(np.count_nonzero(one | other))
    return int(np.count_nonzero(one & other)) / either if either else 1.0


def _distinct(answers: Sequence[tuple[str, Prediction]], largest: float) -> list[PseudoObject]:
    """The answers that are different objects; answers: the most confident first."""
    objects: list[PseudoObject] = []
    for name, answer in answers:
        if answer.confidence < LEAST_CONFIDENCE:
            break
        mask = answer.mask()
        pixels = int(np.count_nonzero(mask))
        if pixels < FEWEST_PIXELS or pixels > largest * mask.size:
            continue
        if all(overlap(mask, other.mask) <= SAME_OBJECT for other in objects):
            objects.append(PseudoObject(mask, name, answer.confidence))
    return objects
