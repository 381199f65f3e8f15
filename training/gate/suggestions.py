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
from PIL import Image
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
from training.evaluation.overlay import WHITE, crop, crop_mask, overlay
from training.evaluation.statistics import paired_difference
from training.gate.examples import GAP, QUALITY, WIDTH

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
            folder.mkdir(parents=True, exist_ok=True)
            image = _side_by_side(dataset[mine.index], mine.index, (champion, candidate), labels)
            image.save(folder / name, quality=QUALITY, optimize=True)
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


def _side_by_side(
    sample: Sample, index: int, models: Sequence[Suggesting], labels: Sequence[str]
) -> Image.Image:
    key = f"{sample.source}:{sample.key}:{index}"
    height, width = sample.instances.shape
    view = (0, 0, width, height)
    pixels = crop(sample.image, view, WIDTH)
    wanted = sample.mask(*(about.id for about in annotatable(sample)))
    halves = []
    for model in models:
        regions = np.zeros((height, width), bool)
        for region in model.suggest(sample, key, labels):
            # Without its outermost pixels, so that regions that touch can be told apart.
            regions |= ndimage.binary_erosion(region.mask)
        halves.append(
            overlay(
                pixels,
                crop_mask(regions, view, pixels.shape),
                [],
                target=crop_mask(wanted, view, pixels.shape),
            )
        )
    both = Image.new("RGB", (2 * WIDTH + GAP, halves[0].height), WHITE)
    both.paste(halves[0], (0, 0))
    both.paste(halves[1], (WIDTH + GAP, 0))
    return both
