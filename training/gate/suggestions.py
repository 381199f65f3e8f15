"""What the next picture costs: both sides suggest regions, and a simulated annotator finishes them.

The gate decides by clicks and phrases (`training.gate.rules`); this is what people will see of it:
interactions per accepted object before and after (`training.evaluation.interactions`), and the same
pictures with the suggestions of both. Champion on the left, candidate on the right: the targets as
white lines, the suggested regions in blue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from training.data import Dataset, Sample, Tolerant
from training.evaluation.interactions import (
    PictureCost,
    Suggesting,
    annotatable,
    annotate,
    labels_of,
    summary,
)
from training.evaluation.statistics import paired_difference
from training.gate.examples import Answered, save_side_by_side

# Pictures measured, and objects of each. More would cost more time than the clicks. *choice*
_PICTURES = 12
_OBJECTS = 3
_SHOWN = 3


def compare_suggestions(
    candidate: Suggesting,
    champion: Suggesting,
    dataset: Dataset,
    *,
    most_clicks: int,
    seed: int,
    folder: Path | None = None,
    check: Callable[[], None] | None = None,
) -> dict[str, Any] | None:
    """Annotate some pictures with both: the figures of ``candidate`` and ``champion``, their paired
    ``difference``, and ``examples``, the pictures with the largest gains. None without an object.

    folder: for the examples' images; without one none are drawn. check: called before each picture;
    an exception ends the comparison.
    """
    labels = labels_of(dataset)
    samples = Tolerant(dataset)
    pairs: list[tuple[PictureCost, PictureCost]] = []
    for index in (int(i) for i in np.random.default_rng(seed).permutation(len(dataset))):
        if len(pairs) == _PICTURES:
            break
        if check:
            check()
        sample = samples.get(index)
        ids = [] if sample is None else [about.id for about in annotatable(sample)]
        if sample is None or not ids:
            continue
        drawn = np.random.default_rng([seed, index]).permutation(ids)[:_OBJECTS].tolist()
        mine, theirs = (
            annotate(model, sample, index, labels, ids=drawn, most_clicks=most_clicks)
            for model in (candidate, champion)
        )
        pairs.append((mine, theirs))
    if not pairs:
        return None
    mine_all, theirs_all = [a for a, _ in pairs], [b for _, b in pairs]
    difference = paired_difference(
        [value for cost in mine_all for value in cost.per_object],
        [value for cost in theirs_all for value in cost.per_object],
        [cost.index for cost in mine_all for _ in cost.objects],
    )
    best = sorted(pairs, key=lambda pair: -_gain(*pair))[:_SHOWN]
    examples = []
    for number, (mine, theirs) in enumerate(best, 1):
        name = ""
        if folder is not None:
            if check:
                check()
            name = f"suggested-{number}.jpg"
            _draw(folder / name, dataset[mine.index], mine.index, (champion, candidate), labels)
        examples.append(
            {
                "gain": round(_gain(mine, theirs), 4),
                "key": mine.key,
                "objects": mine.present,
                "candidate": _described(mine),
                "champion": _described(theirs),
                "picture": name,
            }
        )
    return {
        "candidate": summary(mine_all),
        "champion": summary(theirs_all),
        "difference": asdict(difference),
        "examples": examples,
    }


def _gain(mine: PictureCost, theirs: PictureCost) -> float:
    return float(np.mean(theirs.per_object) - np.mean(mine.per_object))


def _described(cost: PictureCost) -> dict[str, Any]:
    return {
        "interactions": round(float(np.mean(cost.per_object)), 4),
        "regions": cost.regions,
        "deletions": cost.deletions,
    }


def _draw(
    path: Path, sample: Sample, index: int, models: Sequence[Suggesting], labels: Sequence[str]
) -> None:
    key = f"{sample.source}:{sample.key}:{index}"
    answered = []
    for model in models:
        # Without its outermost pixels, so that regions that touch can be told apart.
        inner = [ndimage.binary_erosion(r.mask) for r in model.suggest(sample, key, labels)]
        mask = np.logical_or.reduce([np.zeros(sample.instances.shape, bool), *inner])
        answered.append(Answered(mask, ()))
    wanted = sample.mask(*(about.id for about in annotatable(sample)))
    height, width = sample.instances.shape
    save_side_by_side(path, sample.image, wanted, answered, (0, 0, width, height))
