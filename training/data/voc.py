"""PASCAL VOC's segmentations, and SBD's, which annotate 11,355 of its pictures more coarsely.

VOC (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/) has PNGs that number the objects and name
their categories; 255 is the undecided border. SBD (Hariharan et al., ICCV 2011) has the same two
maps without a border as .mat files. torchvision's readers return the map of categories only, so the
tests compare with them but the reader does not use them.

A picture's objects are known only after decoding its maps. This is done once on opening (a few
milliseconds each, several at a time), so broken files are found then.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data import reading
from training.data.sample import VOID, Record, RecordDataset, Sample, SampleObject
from training.errors import DataError

Labels = NDArray[np.uint8]

CATEGORIES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
BORDER = 255


@dataclass(frozen=True)
class Layout:
    """Where a release keeps its files. roots: folders that may hold all others. pictures: folders
    of pictures, of which the first that exists counts. objects, classes: of the two maps. splits:
    of lists of names. suffix: of a map.
    """

    source: str
    roots: tuple[str, ...]
    pictures: tuple[str, ...]
    objects: str
    classes: str
    splits: str
    suffix: str

    def root(self, path: Path) -> Path | None:
        """The folder at or below this path that holds both maps."""
        for root in (path / name for name in self.roots):
            if (root / self.objects).is_dir() and (root / self.classes).is_dir():
                return root
        return None


class VocDataset(RecordDataset[Record]):
    """One split. Pictures with a broken or missing file are skipped, counted and logged."""

    def __init__(self, path: Path, layout: Layout, split: str = "") -> None:
        """split: the name of a list, by default "train". Raises DataError."""
        root = layout.root(path)
        if root is None:
            raise DataError(f"{path}: expected {layout.objects}/ and {layout.classes}/ in it.")
        self._root, self._layout = root, layout
        folders = [root / name for name in layout.pictures]
        self._pictures = next((folder for folder in folders if folder.is_dir()), folders[0])
        skipping = reading.SkipCounter(layout.source)
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            read = list(pool.map(self._record, _names(root / layout.splits, layout.source, split)))
        for result in read:
            if isinstance(result, DataError):
                skipping.add(result)
        records = [result for result in read if isinstance(result, Record)]
        super().__init__(layout.source, records, skipping.finish())
        if not records:
            raise DataError(f"No picture of {root / layout.splits} has both its maps.")

    def __getitem__(self, index: int) -> Sample:
        record = self._records[index]
        path = self._pictures / f"{record.key}.jpg"
        image = reading.decode_picture(path, str(path))
        labels = self._map(self._layout.objects, record.key)
        reading.same_size(labels.shape, image.shape, str(path))
        instances = labels.astype(np.int16)
        instances[labels == BORDER] = VOID
        return Sample(record.key, self.source, image, instances, record.objects)

    def _map(self, folder: str, key: str) -> Labels:
        path = self._root / folder / f"{key}{self._layout.suffix}"
        return _read_mat(path) if path.suffix == ".mat" else reading.decode_labels(path, str(path))

    def _record(self, key: str) -> Record | DataError:
        try:
            path = self._pictures / f"{key}.jpg"
            width, height = reading.picture_size(path, str(path))
            labels = self._map(self._layout.objects, key)
            classes = self._map(self._layout.classes, key)
            for drawn in (labels, classes):
                reading.same_size(drawn.shape, (height, width), str(path))
        except DataError as error:
            return error
        return Record(key, (width, height), _objects(labels, classes))


def _objects(labels: Labels, classes: Labels) -> tuple[SampleObject, ...]:
    """Every object with the category that most of its pixels have."""
    counts = np.bincount(
        labels.ravel().astype(np.int64) * 256 + classes.ravel(), minlength=256 * 256
    ).reshape(256, 256)
    named = counts[:, 1 : len(CATEGORIES) + 1]
    return tuple(
        SampleObject(int(n), CATEGORIES[named[n].argmax()] if named[n].any() else None)
        for n in np.flatnonzero(counts.any(1))
        if n not in (0, BORDER)
    )


def _names(folder: Path, source: str, split: str) -> list[str]:
    known = sorted(path.stem for path in folder.glob("*.txt"))
    if not known:
        raise DataError(f"{folder}: expected lists of names such as train.txt in it.")
    split = reading.chosen_split(split, known, source, folder)
    return (folder / f"{split}.txt").read_text(encoding="utf-8").split()


def _read_mat(path: Path) -> Labels:
    """The one map in a .mat of SBD, the field Segmentation of GTinst or GTcls."""
    from scipy.io import loadmat  # only needed here

    try:
        content = loadmat(str(path), struct_as_record=False, squeeze_me=False)
        name = next(key for key in ("GTinst", "GTcls") if key in content)
        return np.asarray(content[name].flat[0].Segmentation, np.uint8)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing.") from error
    except Exception as error:
        # scipy raises nearly any error for broken bytes.
        raise DataError(f"{path} is not a map of SBD: {error!r}.") from error


VOC = Layout(
    "voc",
    (".", "VOC2012", "VOCdevkit/VOC2012"),
    ("JPEGImages",),
    "SegmentationObject",
    "SegmentationClass",
    "ImageSets/Segmentation",
    ".png",
)
SBD = Layout(
    "sbd",
    (".", "dataset", "benchmark_RELEASE/dataset"),
    ("img", "JPEGImages"),
    "inst",
    "cls",
    ".",
    ".mat",
)
