"""Which pictures to label next: those whose objects would cost an annotator most, as estimated by
the network itself, in an order that avoids repetition.

A picture without labels has no objects, so those that the network finds are used: by the project's
labels, or by clicks on a grid if it knows or finds none of them. For each object, the protocol's
annotator is simulated with inexact clicks until the answer agrees with it: once on the picture and
once on its mirror image. What the network knows well gets the same mask in both views at the first
click; where it guesses, the views disagree and corrections are needed.

A network that sees nothing agrees with itself easily. So the cost counts only as far as the network
is sure of what it found; the rest counts as the protocol's maximum. A curve that was fitted once
(`CURVE`) maps the sum to true interactions.

The most valuable pictures are often neighbours, such as frames of one film. So `order` is greedy
(maximal marginal relevance): the next picture has the most value after subtracting its similarity
to earlier ones, and a near-duplicate of the last one waits as long as there is another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from model.predictor import Click, Embedding, Prediction, Predictor
from training.evaluation.cases import FEWEST_PIXELS
from training.evaluation.measurement import answers
from training.evaluation.protocol import (
    GOAL,
    MOST,
    Answer,
    ClickPoint,
    Mask,
    Target,
    follow,
    overlap,
)

Method = Literal["clicks", "saving", "uncertainty", "random"]
METHODS: tuple[Method, ...] = ("clicks", "saving", "uncertainty", "random")

# People do not click exactly at the deepest point.
JITTER = 0.4
# From the estimated cost of an object to the interactions it took: means of the shipped network on
# 58 validation pictures (RUNS.md), then a line to the maximum of both.
CURVE = ((1.0, 1.0), (2.6, 1.2), (4.4, 3.2), (6.2, 6.2), (7.7, 8.6), (10.5, 11.1), (20.0, 20.0))


@dataclass(frozen=True)
class Budget:
    """Limits per picture: one to two seconds of one CPU core for any size.

    names: number of labels that are asked for. grid: clicks across and down if no label is found.
    objects: number of found objects, the surest, that are simulated. clicks: per view of an object
    at most. side: longest side in pixels.
    """

    names: int = 20
    grid: int = 4
    objects: int = 4
    clicks: int = 4
    side: int = 640


@dataclass(frozen=True)
class Expectation:
    """The estimate of a picture.

    clicks: mean interactions expected for one of its objects to reach an IoU of 85 %, 1 to 20.
    uncertainty: 0 to 1, see `value`. saving: interactions of the surest object that training
    may save: those beyond the first, weighted by how sure the network is of the object. Clutter and
    specks stay expensive, but an object found by name and not by clicks, or in one view only, can
    be learned.
    """

    clicks: float
    uncertainty: float
    saving: float


def value(
    predictor: Predictor,
    image: NDArray[np.uint8],
    key: str | None,
    names: Sequence[str],
    method: Method,
    *,
    seed: int = 0,
    budget: Budget = Budget(),
) -> tuple[float, float]:
    """How valuable a label of the picture is, by this method, and the network's uncertainty.

    The plain uncertainty, 0 to 1, is 1 - confidence of the surest name, or else click on a grid.
    """
    if method == "random":
        return float(np.random.default_rng(seed).random()), 0.0
    if method == "uncertainty":
        embedding = predictor.encode(*_shrunk(image, key, budget.side))
        _, surest = named_objects(predictor, embedding, names[: budget.names])
        if not surest:
            _, surest = clicked_objects(predictor, embedding, budget.grid)
        return 1.0 - surest, 1.0 - surest
    expected = expected_clicks(predictor, image, key, names, seed=seed, budget=budget)
    return expected.clicks if method == "clicks" else expected.saving, expected.uncertainty


def expected_clicks(
    predictor: Predictor,
    image: NDArray[np.uint8],
    key: str | None = None,
    names: Sequence[str] = (),
    *,
    seed: int = 0,
    budget: Budget = Budget(),
) -> Expectation:
    """The interactions that the picture's objects are expected to take, without labels.

    image: H,W,3 uint8 RGB. key: identifies its content. names: the project's labels, or the task's
    phrase. The same arguments give the same result.
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
    # A grid of clicks mostly finds ground and walls, so only the surest object is simulated.
    chosen = objects[: budget.objects if named else 1]
    costs = [_cost(predictor, views, wanted, budget.clicks, rng) for wanted in chosen]
    weights = [wanted.confidence for wanted in chosen]
    cost = float(np.average(costs, weights=weights)) if costs else MOST
    sure = max(2.0 * chosen[0].confidence - 1.0, 0.0) if chosen else 0.0
    return Expectation(
        float(np.interp(surest * cost + (1.0 - surest) * MOST, *np.array(CURVE).T)),
        1.0 - surest,
        sure * max(costs[0] - 1.0, 0.0) if costs else 0.0,
    )


def descriptor(
    predictor: Predictor,
    image: NDArray[np.uint8],
    key: str | None = None,
    *,
    budget: Budget = Budget(),
) -> NDArray[np.float32]:
    """The descriptor of the whole picture (`Predictor.descriptor`), for diversity."""
    return predictor.descriptor(predictor.encode(*_shrunk(image, key, budget.side)))


def _shrunk(
    image: NDArray[np.uint8], key: str | None, side: int
) -> tuple[NDArray[np.uint8], str | None]:
    """The picture with a longest side of at most ``side``, and a cache key of its own."""
    height, width = image.shape[:2]
    if max(height, width) <= side:
        return image, key
    scale = side / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    whole = Image.fromarray(np.ascontiguousarray(image))
    small = whole.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small), key and f"{key} at {side}"


def _cost(
    predictor: Predictor,
    views: tuple[Embedding, Embedding],
    wanted: PseudoObject,
    most: int,
    rng: np.random.Generator,
) -> float:
    """Mean interactions until the answers in both views agree with the object."""
    target = Target(wanted.mask, np.zeros_like(wanted.mask), wanted.name)
    total = 0.0
    for answer in (answers(predictor, views[0]), _mirrored(predictor, views[1])):
        trajectory = follow(
            answer, target, "clicks", goal=GOAL, at_least=1, most=most, jitter=JITTER, rng=rng
        )
        reached = max(trajectory.ious) >= GOAL
        # The first answer's IoU breaks ties, since most objects need the same number of clicks.
        total += (len(trajectory.ious) if reached else most + 1) + (1.0 - trajectory.ious[0])
    return total / len(views)


def _mirrored(predictor: Predictor, embedding: Embedding) -> Answer:
    """Answers for a picture, from its mirror image."""
    plain = answers(predictor, embedding)

    def answer(clicks: Sequence[ClickPoint], phrase: str, before: Mask | None) -> Mask:
        turned = [(embedding.width - x, y, positive) for x, y, positive in clicks]
        flipped = None if before is None else np.ascontiguousarray(before[:, ::-1])
        return np.ascontiguousarray(plain(turned, phrase, flipped)[:, ::-1])

    return answer


# A mask with less confidence is more likely wrong than right.
LEAST_CONFIDENCE = 0.4
# Two masks with a larger IoU are one object that was found twice.
SAME_OBJECT = 0.6
# An answer to a click that covers more of the picture than this is the background.
MOST_OF_PICTURE = 0.8


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
    known = [name for name in names if predictor.tokenizer.knows(name)]
    return _found([(name, predictor.predict(embedding, [], name)) for name in known], 1.0)


def clicked_objects(
    predictor: Predictor, embedding: Embedding, across: int
) -> tuple[list[PseudoObject], float]:
    """Objects found by clicks on a grid of ``across`` by ``across``; as `named_objects`."""
    spots = [
        Click((column + 0.5) * embedding.width / across, (row + 0.5) * embedding.height / across)
        for row in range(across)
        for column in range(across)
    ]
    answers = [("", predictor.predict(embedding, [spot])) for spot in spots]
    return _found(answers, MOST_OF_PICTURE)


def _found(
    answers: list[tuple[str, Prediction]], largest: float
) -> tuple[list[PseudoObject], float]:
    """The answers that are different objects, and the highest confidence of all."""
    answers.sort(key=lambda answer: -answer[1].confidence)
    objects: list[PseudoObject] = []
    for name, answer in answers:
        if answer.confidence < LEAST_CONFIDENCE:
            break
        mask = answer.mask()
        if not FEWEST_PIXELS <= np.count_nonzero(mask) <= largest * mask.size:
            continue
        if all(overlap(mask, other.mask) <= SAME_OBJECT for other in objects):
            objects.append(PseudoObject(mask, name, answer.confidence))
    return objects, answers[0][1].confidence if answers else 0.0


# Share of its value that a picture loses if it repeats an earlier one entirely.
WEIGHT = 0.5
# The same if a whole kind of pictures is valuable except near-duplicates.
MILD = 0.25
# From this similarity on, two pictures show the same scene.
SAME_SCENE = 0.85
# Pictures that are compared with all earlier ones; the time grows with their square.
FRONT = 3000


def order(
    scores: ArrayLike,
    descriptors: NDArray[np.floating],
    *,
    weight: float = WEIGHT,
    front: int = FRONT,
) -> list[int]:
    """The indices of N pictures in the order in which to label them.

    scores: N, higher is more valuable; only ranks count. descriptors: N,D from
    `Predictor.descriptor`. weight: 0 for scores only, 1 for diversity only. front: pictures that
    are ordered so; the others follow by score. Ties are broken by index.
    """
    values = np.asarray(scores, float)
    if not len(values):
        return []
    by_score = np.argsort(-values, kind="stable")
    left = by_score[:front]
    near = _centred(descriptors)[left]
    # Ranks, so that neither single large scores nor the scale decide.
    worth = 1.0 - np.arange(len(left)) / len(left)
    repeated = np.zeros(len(left))
    last = np.full(len(left), -1.0)
    open_ = np.ones(len(left), bool)
    picked = []
    for _ in left:
        gain = (1.0 - weight) * worth - weight * np.maximum(repeated, 0.0)
        unlike = open_ & (last < SAME_SCENE)
        candidates = unlike if unlike.any() else open_
        pick = int(np.flatnonzero(candidates)[gain[candidates].argmax()])
        picked.append(int(left[pick]))
        open_[pick] = False
        last = near @ near[pick]
        repeated = np.maximum(repeated, last)
    return picked + [int(place) for place in by_score[front:]]


def _centred(descriptors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Unit descriptors without what all pictures of this set share."""
    table = np.asarray(descriptors, float)
    table = table - table.mean(0) if len(table) > 2 else table
    unit: NDArray[np.float64] = table / np.linalg.norm(table, axis=1, keepdims=True).clip(1e-9)
    return unit
