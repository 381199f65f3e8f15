"""Which picture to label next: the one whose objects would cost an annotator most, as far as the
network itself can tell.

Nobody has labeled the picture, so its objects are those that the network finds (pseudo_objects.py).
For each, the annotator of the protocol is simulated, clicking less than exactly, until the answer
agrees with it; once on the picture and once on its mirror image, where the network has to find by
clicks alone what it has not seen so before. Where it knows a thing well, one click brings the same
mask back in both views; where it guesses, the views disagree and corrections are needed.

But a network that sees nothing of what is there agrees with itself easily. So the cost holds only
as far as it is sure of what it found; for the rest the protocol's most interactions are reckoned.
The sum is brought to the scale of true interactions by a curve that was fitted once (`CURVE`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.predictor import Click, Embedding, Predictor
from training.evaluation.protocol import MOST, Answer, Mask, Spot, Target, follow
from training.finetune.pseudo_objects import PseudoObject, clicked_objects, named_objects

GOAL = 0.85
# A person does not click at the very deepest point.
JITTER = 0.4
# From the reckoned cost of an object to the interactions that it really took: means of the shipped
# network on 58 validation pictures (RUNS.md), the rest a line to where both are at their most.
CURVE = ((1.0, 1.0), (2.6, 1.2), (4.4, 3.2), (6.2, 6.2), (7.7, 8.6), (10.5, 11.1), (20.0, 20.0))


@dataclass(frozen=True)
class Budget:
    """What a picture may cost: one to two seconds of one CPU core, whatever its size.

    names: labels that are asked for. grid: clicks across and down where no label is found.
    objects: so many of those found, the surest, are practised on. clicks: in each view of each
    object at most. side: pixels of the longest side that is looked at.
    """

    names: int = 20
    grid: int = 4
    objects: int = 4
    clicks: int = 4
    side: int = 640


@dataclass(frozen=True)
class Expectation:
    """What a picture promises.

    clicks: interactions expected for one of its objects to reach an IoU of 85 %, 1 to 20, on the
    average. uncertainty: 0 to 1, see `uncertainty`. objects: how many the network sees. named:
    whether they were found by name. saving: interactions of the surest object that a training may
    save: those beyond the first, as far as the network is surer than not that the object is there.
    Much of what is expensive stays so whatever is learned (clutter, specks); but what the network
    finds by name and not by clicks, or in one view and not in the other, it can learn.
    """

    clicks: float
    uncertainty: float
    objects: int
    named: bool
    saving: float = 0.0


def expected_clicks(
    predictor: Predictor,
    image: NDArray[np.uint8],
    key: str | None = None,
    names: Sequence[str] = (),
    *,
    seed: int = 0,
    budget: Budget = Budget(),
) -> Expectation:
    """How many interactions the picture's objects are expected to take, without any truth.

    image: H,W,3 uint8 RGB. key: names its content. names: of the project's labels, or the phrase
    that the task brings along. The same arguments give the same answer.
    """
    picture, name = _shrunk(image, key, budget.side)
    views = (
        predictor.encode(picture, name),
        predictor.encode(np.ascontiguousarray(picture[:, ::-1]), name and f"{name} mirrored"),
    )
    objects, surest = named_objects(predictor, views[0], names[: budget.names])
    named = bool(objects)
    if not objects:
        objects, clicked = clicked_objects(predictor, views[0], budget.grid)
        surest = surest or clicked
    rng = np.random.default_rng(seed)
    # Most of what a grid of clicks finds is ground and wall: only the surest is worth a try.
    chosen = objects[: budget.objects if named else 1]
    costs = [_cost(predictor, views, each, budget.clicks, rng) for each in chosen]
    cost = float(np.average(costs, weights=[it.confidence for it in chosen])) if costs else MOST
    sure = max(2.0 * chosen[0].confidence - 1.0, 0.0) if chosen else 0.0
    return Expectation(
        _calibrated(surest * cost + (1.0 - surest) * MOST),
        1.0 - surest,
        len(objects),
        named,
        sure * max(costs[0] - 1.0, 0.0) if costs else 0.0,
    )


def uncertainty(
    predictor: Predictor,
    image: NDArray[np.uint8],
    key: str | None = None,
    names: Sequence[str] = (),
    *,
    budget: Budget = Budget(),
) -> float:
    """The plain measure, 0 to 1: how unsure the network is of the name it is surest of.

    Where no name is known, of the click on a grid that it is surest of. Takes the same arguments.
    """
    picture, name = _shrunk(image, key, budget.side)
    embedding = predictor.encode(picture, name)
    _, surest = named_objects(predictor, embedding, names[: budget.names])
    if not surest:
        _, surest = clicked_objects(predictor, embedding, budget.grid)
    return 1.0 - surest


def descriptor(
    predictor: Predictor,
    image: NDArray[np.uint8],
    key: str | None = None,
    *,
    budget: Budget = Budget(),
) -> NDArray[np.float32]:
    """What the picture shows as a whole (`Predictor.descriptor`), for diversity."""
    picture, name = _shrunk(image, key, budget.side)
    return predictor.descriptor(predictor.encode(picture, name))


def _shrunk(
    image: NDArray[np.uint8], key: str | None, side: int
) -> tuple[NDArray[np.uint8], str | None]:
    """The picture with a longest side of at most ``side``, and a name of its own for the cache."""
    height, width = image.shape[:2]
    if max(height, width) <= side:
        return image, key
    scale = side / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = Image.fromarray(np.ascontiguousarray(image)).resize(
        size, Image.Resampling.BILINEAR, reducing_gap=2.0
    )
    return np.asarray(small), key and f"{key} at {side}"


def _cost(
    predictor: Predictor,
    views: tuple[Embedding, Embedding],
    wanted: PseudoObject,
    most: int,
    rng: np.random.Generator,
) -> float:
    """Interactions until the answers in both views agree with the object, on the average."""
    target = Target(wanted.mask, np.zeros_like(wanted.mask), wanted.name)
    total = 0.0
    for answer in (_plain(predictor, views[0]), _mirrored(predictor, views[1])):
        trajectory = follow(
            answer, target, "clicks", goal=GOAL, at_least=1, most=most, jitter=JITTER, rng=rng
        )
        reached = max(trajectory.ious) >= GOAL
        # The first answer's IoU settles ties: most objects need one click, or the same number.
        total += (len(trajectory.ious) if reached else most + 1) + (1.0 - trajectory.ious[0])
    return total / len(views)


def _plain(predictor: Predictor, embedding: Embedding) -> Answer:
    def answer(clicks: Sequence[Spot], phrase: str, before: Mask | None) -> Mask:
        return predictor.predict(embedding, [Click(*it) for it in clicks], phrase, before).mask()

    return answer


def _mirrored(predictor: Predictor, embedding: Embedding) -> Answer:
    """Answers about a picture, by its mirror image."""
    plain = _plain(predictor, embedding)

    def answer(clicks: Sequence[Spot], phrase: str, before: Mask | None) -> Mask:
        turned = [(embedding.width - x, y, positive) for x, y, positive in clicks]
        flipped = None if before is None else np.ascontiguousarray(before[:, ::-1])
        return np.ascontiguousarray(plain(turned, phrase, flipped)[:, ::-1])

    return answer


def _calibrated(raw: float) -> float:
    """From the simulated cost to expected interactions."""
    costs, clicks = zip(*CURVE, strict=True)
    return float(np.interp(raw, costs, clicks))
