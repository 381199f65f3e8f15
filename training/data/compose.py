"""Combines two samples, so that pictures with several objects of a kind are common.

Only pictures with two dogs teach which one is left, and that a click means one of them, and they
are rare. So a second picture with something of the same kind is put beside the first, or
its object is pasted into it (Ghiasi et al. 2021, "Simple Copy-Paste"). Phrases are made from the
result, so they are true of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from model.crop import Box, mask_box
from training.data.sample import VOID, Dataset, Sample, SampleObject, pick
from training.data.transforms import nearest, placed

# Sources whose objects are single things; regions cannot be counted.
COUNTED = frozenset(
    {"voc", "sbd", "coco", "refcoco", "refcoco+", "refcocog", "grefcoco", "pennfudan", "cats"}
)
# Least share of the picture of an object that is combined.
LARGE_ENOUGH = 0.02
# An object with less than this share left uncovered is dropped.
LEFT_OVER = 0.35


class Composer:
    """Finds a second picture for a first one, and combines them."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        # source and concept to pictures that show it
        self._showing: dict[tuple[str, str], list[int]] = {}
        for index, source in enumerate(dataset.sources):
            if source in COUNTED:
                for concept in sorted(_concepts(dataset.objects(index))):
                    self._showing.setdefault((source, concept), []).append(index)

    def composed(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample with something of another one, or unchanged if nothing fits."""
        concepts = sorted(_concepts(sample.objects))
        if sample.source not in COUNTED or not concepts:
            return sample
        concept = pick(concepts, rng)
        others = self._showing.get((sample.source, concept), [])
        if len(others) < 2:
            return sample
        other = self._dataset[pick(others, rng)]
        if rng.random() < 0.5:
            return beside(sample, other, concept, rng)
        return pasted(sample, other, concept, rng)


def beside(first: Sample, second: Sample, concept: str, rng: np.random.Generator) -> Sample:
    """A part of each picture around an object of the concept, side by side or stacked.

    Returns ``first`` unchanged if one of them has no large enough object.
    """
    chosen = [(sample, _large_object(sample, concept, rng)) for sample in (first, second)]
    axis = 0 if rng.random() < 0.2 else 1
    whole = first.instances.shape
    # The border between the two parts is random too.
    border = round(whole[axis] * float(rng.uniform(0.38, 0.62)))
    parts = []
    for (sample, found), length in zip(chosen, (border, whole[axis] - border), strict=True):
        if found is None:
            return first
        size = (length, whole[1]) if axis == 0 else (whole[0], length)
        parts.append(_cut(sample, _shaped(found[1], sample, size, rng), size))
    if rng.random() < 0.5:
        parts.reverse()
    shift = max(_next_id(first), _next_id(second))
    parts = [_renumbered(part, by) for part, by in zip(parts, (0, shift), strict=True)]
    masks = {}
    for place, part in enumerate(parts):
        nothing = np.zeros(parts[1 - place].instances.shape, bool)
        for number, mask in part.masks.items():
            halves = [nothing, mask] if place else [mask, nothing]
            masks[number] = np.concatenate(halves, axis)
    return _sample(
        first,
        np.concatenate([part.image for part in parts], axis),
        np.concatenate([part.instances for part in parts], axis),
        [about for part in parts for about in part.objects],
        masks,
    )


def pasted(first: Sample, second: Sample, concept: str, rng: np.random.Generator) -> Sample:
    """The first picture with an object of the concept from the second one pasted in."""
    found = _large_object(second, concept, rng)
    if found is None:
        return first
    about, (left, top, right, bottom) = found
    height, width = first.instances.shape
    mask = second.mask(about.id)[top:bottom, left:right]
    high, wide = mask.shape
    # A typical size: a fifth to two thirds of the picture's height or width.
    scale = float(rng.uniform(0.2, 0.65)) * min(height / high, width / wide)
    size = max(round(wide * scale), 4), max(round(high * scale), 4)
    cut = Image.fromarray(second.image[top:bottom, left:right]).resize(size, _SMOOTH)
    alpha = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, _SMOOTH)
    if rng.random() < 0.5:
        cut, alpha = cut.transpose(_MIRROR), alpha.transpose(_MIRROR)
    inside = np.asarray(alpha) > 127
    if inside.sum() < LARGE_ENOUGH / 2 * height * width:
        return first
    x = int(rng.integers(-size[0] // 6, width - size[0] + size[0] // 6 + 1))
    y = int(rng.integers(-size[1] // 6, height - size[1] + size[1] // 6 + 1))
    picture = Image.fromarray(first.image)
    soft = alpha.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.2))))
    picture.paste(cut, (x, y), soft)
    rows = slice(max(y, 0), min(y + size[1], height))
    columns = slice(max(x, 0), min(x + size[0], width))
    seen = inside[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    instances = first.instances.copy()
    number = _next_id(first)
    before = np.bincount(instances[instances >= 0], minlength=number)
    instances[rows, columns][seen] = number
    after = np.bincount(instances[instances >= 0], minlength=number)
    objects = [
        kept
        for kept in first.objects
        if after[kept.id] >= LEFT_OVER * before[kept.id] and after[kept.id] > 0
    ]
    for gone in set(first.objects) - set(objects):
        instances[instances == gone.id] = VOID
    uncovered = instances != number
    masks = {
        kept.id: first.masks[kept.id] & uncovered for kept in objects if kept.id in first.masks
    }
    objects.append(SampleObject(number, about.category))
    return _sample(first, np.asarray(picture), instances, objects, masks)


_SMOOTH = Image.Resampling.BILINEAR
_MIRROR = Image.Transpose.FLIP_LEFT_RIGHT


def _concepts(objects: Sequence[SampleObject]) -> set[str]:
    return {about.concept for about in objects if about.concept and not about.semantic}


def _large_object(
    sample: Sample, concept: str, rng: np.random.Generator
) -> tuple[SampleObject, Box] | None:
    """A random object of this concept that is large enough, and its bounding box."""
    fitting = []
    for about in sample.objects:
        if about.concept == concept and not about.semantic:
            mask = sample.mask(about.id)
            box = mask_box(mask)
            if box is not None and mask.mean() >= LARGE_ENOUGH:
                fitting.append((about, box))
    return pick(fitting, rng) if fitting else None


def _shaped(
    box: Box, sample: Sample, size: tuple[int, int], rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """A window with the aspect ratio of ``size`` (height, width) around the box."""
    left, top, right, bottom = box
    height, width = sample.instances.shape
    aspect = size[1] / size[0]
    high = max(bottom - top, (right - left) / aspect) * float(rng.uniform(1.05, 1.6))
    high = min(high, height, width / aspect)
    wide = high * aspect
    x = (left + right) / 2 + rng.normal(0, 0.06) * wide
    y = (top + bottom) / 2 + rng.normal(0, 0.06) * high
    return placed(wide, high, x, y, sample)


def _cut(sample: Sample, box: tuple[float, float, float, float], size: tuple[int, int]) -> Sample:
    """The box of the sample, resized to ``size`` (height, width)."""
    place = (size[1], size[0])
    image = Image.fromarray(sample.image).resize(place, _SMOOTH, box)
    masks = {number: nearest(mask, box, place) for number, mask in sample.masks.items()}
    instances = nearest(sample.instances, box, place)
    return replace(sample, image=np.asarray(image), instances=instances, masks=masks)


def _renumbered(part: Sample, shift: int) -> Sample:
    """The sample with ids raised by ``shift``, without objects that are out of view."""
    instances = part.instances
    shown = set(np.unique(instances[instances > 0]).tolist())
    return replace(
        part,
        instances=np.where(instances > 0, instances + shift, instances).astype(np.int16),
        objects=tuple(
            replace(about, id=about.id + shift) for about in part.objects if about.id in shown
        ),
        masks={number + shift: mask for number, mask in part.masks.items() if number in shown},
    )


def _next_id(sample: Sample) -> int:
    return max([int(sample.instances.max())] + [about.id for about in sample.objects]) + 1


def _sample(
    first: Sample,
    image: NDArray[np.uint8],
    instances: NDArray[np.int16],
    objects: Sequence[SampleObject],
    masks: Mapping[int, NDArray[np.bool_]],
) -> Sample:
    # Written phrases may be untrue in the combined picture.
    unspoken = tuple(SampleObject(o.id, o.category, o.semantic) for o in objects)
    return Sample(
        first.key, first.source, np.ascontiguousarray(image), instances, unspoken, masks=masks
    )
