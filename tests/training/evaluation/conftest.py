"""Pictures in memory, and methods of whom it is known what they answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.conftest import Pictures
from training.data import Dataset, Expression, Sample, SampleObject
from training.evaluation.cases import Case
from training.evaluation.measurement import Result
from training.evaluation.protocol import Answer, ClickPoint, Mask, Trajectory

DOG, OTHER_DOG, CAT = SampleObject(1, "dog"), SampleObject(2, "dog"), SampleObject(3, "cat")


def sample(
    key: str,
    objects: Sequence[SampleObject] = (DOG, OTHER_DOG, CAT),
    source: str = "voc",
    expressions: Sequence[Expression] = (),
) -> Sample:
    """A red and a blue dog side by side over a green cat; a void row at the top."""
    image = np.full((60, 80, 3), 128, np.uint8)
    instances = np.zeros((60, 80), np.int16)
    colours = ((215, 25, 25), (25, 45, 215), (30, 170, 40))
    boxes = (
        (slice(6, 26), slice(5, 30)),
        (slice(6, 26), slice(45, 75)),
        (slice(34, 56), slice(20, 60)),
    )
    for about, box, colour in zip(objects, boxes, colours, strict=False):
        instances[box] = about.id
        image[box] = colour
    instances[:2] = -1
    return Sample(key, source, image, instances, tuple(objects), tuple(expressions))


def result(
    ious: Sequence[float],
    category: str | None = "dog",
    source: str = "voc",
    *,
    area: float = 0.1,
    index: int = 0,
) -> Result:
    """The result of a case that took this trajectory."""
    clicks = tuple((float(n), 0.5, n == 0) for n in range(len(ious)))
    trajectory = Trajectory(tuple(ious), tuple(5.0 for _ in ious), clicks)
    return Result(Case(index, source, (1,), category, category or ""), "key", area, trajectory)


class Scripted:
    """Answers as a function of the picture, the clicks and the phrase."""

    categories: frozenset[str] | None = frozenset({"dog"})

    def __init__(
        self, name: str, script: Callable[[Sample, Sequence[ClickPoint], str], NDArray[np.bool_]]
    ) -> None:
        self.name = name
        self._script = script

    def look_at(self, picture: Sample, key: str, label: str = "") -> Answer:
        def answer(clicks: Sequence[ClickPoint], phrase: str, before: Mask | None) -> Mask:
            return self._script(picture, clicks, phrase)

        return answer


def whole_objects(picture: Sample, clicks: Sequence[ClickPoint], phrase: str) -> NDArray[np.bool_]:
    """What clicks hit, and by a phrase alone all of that category."""
    if not clicks:
        return picture.mask(*(o.id for o in picture.objects if o.category == phrase))
    at = [(picture.instances[int(y), int(x)], positive) for x, y, positive in clicks]
    unwanted = {number for number, positive in at if not positive}
    return picture.mask(*{int(n) for n, positive in at if positive and n > 0} - unwanted)


def left_half_first(
    picture: Sample, clicks: Sequence[ClickPoint], phrase: str
) -> NDArray[np.bool_]:
    """The clicked object after two clicks, three quarters of it after one."""
    mask = whole_objects(picture, clicks, phrase)
    if len(clicks) < 2:
        columns = np.flatnonzero(mask.any(0))
        mask = mask.copy()
        if len(columns):
            mask[:, columns[0] + 3 * len(columns) // 4 :] = False
    return mask


@pytest.fixture
def two_pictures() -> Dataset:
    return Pictures([sample("one"), sample("two")])


@pytest.fixture
def oracle() -> Scripted:
    """Finds any object at the first click and any category by its name."""
    return Scripted("oracle", whole_objects)


@pytest.fixture
def slow() -> Scripted:
    """Needs two clicks for everything."""
    return Scripted("slow", left_half_first)
