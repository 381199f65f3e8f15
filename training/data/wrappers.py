"""Data sets made from other data sets: joined, filtered, renamed, shrunk, or safe to read.

`overlapping` finds the pictures of one data set that are also in another, to keep test pictures out
of training.

Synthetic scenes have a length like other data sets, so they can be joined, measured and used for
validation. Training asks them for new pictures instead (`endless`).
"""

from __future__ import annotations

import dataclasses
import logging
import re
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from model.spelling import split
from model.word_geometry import says
from training.data.sample import Dataset, Expression, Sample, SampleObject
from training.data.synthetic import SyntheticDataset
from training.data.transforms import nearest
from training.errors import DataError


class Derived:
    """Base of data sets whose pictures are those of other data sets.

    origins: for each picture, the data set that holds it and its index there.
    """

    def __init__(self, sources: Sequence[str], origins: Sequence[tuple[Dataset, int]]) -> None:
        self.sources = sources
        self._origins = origins

    def origin(self, index: int) -> tuple[Dataset, int]:
        """The data set that holds this picture, and the picture's index there."""
        return self._origins[index]

    def __len__(self) -> int:
        return len(self._origins)

    def __getitem__(self, index: int) -> Sample:
        dataset, place = self.origin(index)
        return dataset[place]

    def size(self, index: int) -> tuple[int, int]:
        dataset, place = self.origin(index)
        return dataset.size(place)

    def objects(self, index: int) -> tuple[SampleObject, ...]:
        dataset, place = self.origin(index)
        return dataset.objects(place)

    def expressions(self, index: int) -> tuple[Expression, ...]:
        dataset, place = self.origin(index)
        return dataset.expressions(place)


class Concatenated(Derived):
    """Several data sets, one after the other."""

    def __init__(self, parts: Sequence[Dataset]) -> None:
        sources = [source for part in parts for source in part.sources]
        super().__init__(sources, [(part, index) for part in parts for index in range(len(part))])


class Without(Derived):
    """A data set without the pictures of these indices, such as those of a test set."""

    def __init__(self, dataset: Dataset, indices: Collection[int]) -> None:
        sources = dataset.sources
        kept = sorted(set(range(len(dataset))) - set(indices))
        super().__init__([sources[index] for index in kept], [(dataset, index) for index in kept])


class Renamed(Derived):
    """A data set with another source name, by which recipes weigh and reports group pictures."""

    def __init__(self, dataset: Dataset, source: str) -> None:
        origins = [(dataset, index) for index in range(len(dataset))]
        super().__init__([source] * len(dataset), origins)

    def __getitem__(self, index: int) -> Sample:
        return dataclasses.replace(super().__getitem__(index), source=self.sources[index])


class Turned(Derived):
    """Every picture as it is, three times, and turned by 90, 180 and 270 degrees.

    A team's pictures are few, and many show no up and down: cells, fields, surfaces. A picture
    whose labels or phrases say where something is ("left mirror") is not turned.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._quarters: list[int] = []
        origins = []
        for index in range(len(dataset)):
            quarters = (0,) if _says_where(dataset, index) else (0, 0, 0, 1, 2, 3)
            self._quarters += quarters
            origins += [(dataset, index)] * len(quarters)
        super().__init__([dataset.sources[index] for _, index in origins], origins)

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        for _ in range(self._quarters[index]):
            sample = quarter_turn(sample)
        return sample

    def size(self, index: int) -> tuple[int, int]:
        width, height = super().size(index)
        return (height, width) if self._quarters[index] % 2 else (width, height)


def _says_where(dataset: Dataset, index: int) -> bool:
    texts = [expression.text for expression in dataset.expressions(index)]
    for about in dataset.objects(index):
        texts += [about.category or "", *about.phrases]
    return any(says(word, "about_place") for text in texts for word in split(text))


def quarter_turn(sample: Sample) -> Sample:
    """The sample, clicks and boxes included, turned by 90 degrees against the clock."""
    width = sample.instances.shape[1]
    return dataclasses.replace(
        sample,
        image=np.ascontiguousarray(np.rot90(sample.image)),
        instances=np.ascontiguousarray(np.rot90(sample.instances)),
        objects=_moved(sample.objects, lambda x, y: (y, width - x)),
        masks={number: np.ascontiguousarray(np.rot90(m)) for number, m in sample.masks.items()},
    )


def _moved(
    objects: Sequence[SampleObject], place: Callable[[float, float], tuple[float, float]]
) -> tuple[SampleObject, ...]:
    """The objects, with their clicks and boxes where ``place`` puts a point."""
    moved = []
    for about in objects:
        clicks = tuple((*place(x, y), positive) for x, y, positive in about.clicks)
        box = about.box
        if box is not None:
            (x1, y1), (x2, y2) = place(*box[:2]), place(*box[2:])
            box = min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
        moved.append(dataclasses.replace(about, clicks=clicks, box=box))
    return tuple(moved)


def endless(dataset: Dataset, index: int) -> SyntheticDataset | None:
    """The data set that makes pictures like the one at this index; None if it is read."""
    while isinstance(dataset, Derived):
        dataset, index = dataset.origin(index)
    return dataset if isinstance(dataset, SyntheticDataset) else None


def categories_by_source(dataset: Dataset) -> dict[str, set[str]]:
    """By source, every category that occurs; for endless data sets, every one that can occur."""
    categories: dict[str, set[str]] = {}
    for index, source in enumerate(dataset.sources):
        names = categories.setdefault(source, set())
        maker = endless(dataset, index)
        if maker is None:
            names.update(o.category for o in dataset.objects(index) if o.category is not None)
        else:
            names.update(maker.categories)
    return categories


def categories_of(dataset: Dataset) -> list[str]:
    """Every category of every source, sorted."""
    return sorted(set().union(*categories_by_source(dataset).values()) - {""})


log = logging.getLogger(__name__)


class Tolerant:
    """Samples of a data set, None for unreadable ones, so that one picture cannot end a long run.

    ``broken``: error by index. A broken picture is tried again each time, since a network drive may
    come back.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.broken: dict[int, str] = {}

    def get(self, index: int) -> Sample | None:
        """The sample, or None. The first failure of each is logged."""
        try:
            return self.dataset[index]
        except DataError as error:
            if index not in self.broken:
                log.warning("Skipped: %s", error)
                self.broken[index] = str(error)
            return None


# Longest side in pixels: views have 200 to 300 pixels, and close views enlarge less than threefold.
LONGEST = 1024
KEPT_BYTES = 384 * 2**20


class Downscaled(Derived):
    """Samples shrunk to a longest side of ``longest`` pixels and kept in memory. Thread-safe.

    For teams' data: fine-tuning reads the same few dozen large pictures again and again, through a
    cache on disk and masks in a database. Sizes are those of the original pictures.
    """

    def __init__(
        self, dataset: Dataset, *, longest: int = LONGEST, kept_bytes: int = KEPT_BYTES
    ) -> None:
        super().__init__(dataset.sources, [(dataset, index) for index in range(len(dataset))])
        self._longest = longest
        self._kept: LRUCache[int, Sample] = LRUCache(kept_bytes, _bytes)
        self._lock = threading.Lock()

    def __getitem__(self, index: int) -> Sample:
        with self._lock:
            if (kept := self._kept.get(index)) is not None:
                return kept
        sample = shrunk(super().__getitem__(index), self._longest)
        with self._lock:
            if _bytes(sample) <= self._kept.maxsize:
                self._kept[index] = sample
        return sample


def shrunk(sample: Sample, longest: int) -> Sample:
    """The sample, clicks included, with a longest side of at most ``longest`` pixels."""
    height, width = sample.instances.shape
    factor = longest / max(height, width)
    if factor >= 1.0:
        return sample
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    whole = (0.0, 0.0, float(width), float(height))
    picture = Image.fromarray(sample.image)
    across, down = size[0] / width, size[1] / height
    return dataclasses.replace(
        sample,
        image=np.asarray(picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0)),
        instances=nearest(sample.instances, whole, size),
        objects=_moved(sample.objects, lambda x, y: (x * across, y * down)),
        masks={number: nearest(mask, whole, size) for number, mask in sample.masks.items()},
    )


def _bytes(sample: Sample) -> int:
    masks = sum(mask.nbytes for mask in sample.masks.values())
    return sample.image.nbytes + sample.instances.nbytes + masks


Hash = NDArray[np.bool_]

# Bits that may differ between two copies of one photograph. Measured on 900 photographs: scaled and
# recompressed copies differ in at most 2 bits, crops by 5 % mostly in up to 10; of 400,000 pairs of
# different photographs only neighbouring video frames are below 12. With equal names more bits may
# differ, but not any number, since not every "0001" is the same picture.
DISTANCE = 10
NAMED_DISTANCE = 20
SIDE = 32
LOW = 8


def overlapping(train: Dataset, test: Dataset) -> list[int]:
    """The indices of the pictures of ``train`` that also occur in ``test``.

    Data sets share photographs under other names, sizes and compressions (VOC in SBD, BSDS in
    Berkeley, Flickr in many), so names and perceptual hashes are compared. The hashes of one
    picture, as it is or mirrored, differ in at most `DISTANCE` of 64 bits, or in at most
    `NAMED_DISTANCE` for equal names. Unreadable pictures are skipped.
    """
    known = _fingerprints(test)
    hashes = np.array([one for _, _, both in known for one in both], bool)
    named: dict[str, list[Hash]] = {}
    for _, name, both in known:
        named.setdefault(name, []).extend(both)
    return [
        index
        for index, name, (ours, _) in _fingerprints(train)
        if _nearest(ours, hashes) <= DISTANCE
        or _nearest(ours, named.get(name, ())) <= NAMED_DISTANCE
    ]


def _fingerprints(dataset: Dataset) -> list[tuple[int, str, tuple[Hash, Hash]]]:
    """Of each readable picture its index, its name, and its hash as it is and mirrored."""
    samples = Tolerant(dataset)

    def one(index: int) -> tuple[int, str, tuple[Hash, Hash]] | None:
        sample = samples.get(index)
        if sample is None:
            return None
        grey = np.asarray(Image.fromarray(sample.image).convert("L"))
        hashes = perceptual_hash(grey), perceptual_hash(grey[:, ::-1])
        return index, plain_name(sample.key), hashes

    with ThreadPoolExecutor(4) as pool:
        return [made for made in pool.map(one, range(len(dataset))) if made is not None]


def perceptual_hash(grey: NDArray[np.uint8]) -> Hash:
    """64 bool of an H,W picture: which low frequencies are above their median.

    They survive scaling, re-encoding and brightening (as in http://www.phash.org, Zauner 2010).
    """
    small = Image.fromarray(np.ascontiguousarray(grey)).resize(
        (SIDE, SIDE), Image.Resampling.LANCZOS
    )
    frequencies = dctn(np.asarray(small, np.float64), norm="ortho")[:LOW, :LOW].ravel()
    # The first one is the overall brightness, which is ignored.
    bits: Hash = frequencies > np.median(frequencies[1:])
    return bits


def plain_name(key: str) -> str:
    """The name of a photograph: its number in VOC or COCO if the key contains one, else the key.

    "voc-2008_000123" equals "2008_000123", "COCO_train2014_000000000009" equals "000000000009".
    """
    number = re.search(r"(?<!\d)((?:19|20)\d\d_\d{6}|\d{12})(?!\d)", key)
    return number[1] if number else key


def _nearest(ours: Hash, others: Hash | Sequence[Hash]) -> int:
    """The number of bits by which the nearest of the other hashes differs."""
    return int((np.asarray(others) != ours).sum(1).min()) if len(others) else LOW * LOW
