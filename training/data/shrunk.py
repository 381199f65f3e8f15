"""A data set kept in memory at the size that training sees, for teams' few and large pictures.

Fine-tuning looks at the same few dozen pictures again and again, and teams label photographs of
many megapixels, which come through a cache on disk and masks out of a database. So each is read
once and kept smaller; what is evicted is read again.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray
from PIL import Image

from training.data.sample import Dataset, Expression, Sample, SampleObject

# Longest side kept: views have some 200 to 300 pixels, close ones are never enlarged threefold.
LONGEST = 1024
KEPT_BYTES = 384 * 2**20


class Shrunk:
    """The same samples with a longest side of at most ``longest`` pixels. Thread-safe."""

    def __init__(
        self, dataset: Dataset, *, longest: int = LONGEST, kept_bytes: int = KEPT_BYTES
    ) -> None:
        self.dataset = dataset
        self._longest = longest
        self._kept: LRUCache[int, Sample] = LRUCache(kept_bytes, _bytes)
        self._lock = threading.Lock()

    @property
    def sources(self) -> Sequence[str]:
        return self.dataset.sources

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        with self._lock:
            if (kept := self._kept.get(index)) is not None:
                return kept
        sample = shrunk(self.dataset[index], self._longest)
        with self._lock:
            if _bytes(sample) <= self._kept.maxsize:
                self._kept[index] = sample
        return sample

    def size(self, index: int) -> tuple[int, int]:
        """Of the picture as it is; its shape, which batches go by, is the same."""
        return self.dataset.size(index)

    def objects(self, index: int) -> tuple[SampleObject, ...]:
        return self.dataset.objects(index)

    def expressions(self, index: int) -> tuple[Expression, ...]:
        return self.dataset.expressions(index)


def shrunk(sample: Sample, longest: int) -> Sample:
    """The sample, its clicks too, with at most so many pixels along its longest side."""
    height, width = sample.instances.shape
    factor = longest / max(height, width)
    if factor >= 1.0:
        return sample
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    picture = Image.fromarray(sample.image)
    across, down = size[0] / width, size[1] / height
    return dataclasses.replace(
        sample,
        image=np.asarray(picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0)),
        instances=_nearest(sample.instances, size),
        objects=tuple(
            dataclasses.replace(
                each, clicks=tuple((x * across, y * down, good) for x, y, good in each.clicks)
            )
            for each in sample.objects
        ),
        masks={i: _nearest(mask.astype(np.uint8), size) > 0 for i, mask in sample.masks.items()},
    )


def _nearest(labels: NDArray[np.generic], size: tuple[int, int]) -> NDArray[np.int16]:
    """H,W ids at another size (width, height): each pixel that of the place in its middle."""
    height, width = labels.shape
    rows = ((np.arange(size[1]) + 0.5) * height / size[1]).astype(np.int64)
    columns = ((np.arange(size[0]) + 0.5) * width / size[0]).astype(np.int64)
    return np.ascontiguousarray(labels[np.ix_(rows, columns)]).astype(np.int16)


def _bytes(sample: Sample) -> int:
    masks = sum(mask.nbytes for mask in sample.masks.values())
    return sample.image.nbytes + sample.instances.nbytes + masks
