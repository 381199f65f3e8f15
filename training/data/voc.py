"""PASCAL VOC's segmentations, and SBD's, which annotate 11,355 of its pictures more coarsely.

VOC (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/): ``SegmentationObject/NAME.png`` numbers the
objects, ``SegmentationClass/NAME.png`` their categories, 255 is the undecided border;
``ImageSets/Segmentation/SPLIT.txt`` lists names. SBD (Hariharan et al., ICCV 2011):
``inst/NAME.mat`` and ``cls/NAME.mat`` hold the same two maps without a border, next to
``SPLIT.txt``. torchvision's VOCSegmentation and SBDataset only return the map of categories, so the
tests compare with them but the reader does not use them.

A picture's objects are known only after decoding its maps. This is done once on opening (a few
milliseconds each, several at a time), so broken files are found then.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.reading import (
    SkipCounter,
    decode_labels,
    decode_picture,
    picture_size,
    same_size,
)
from training.data.sample import VOID, Record, RecordDataset, Sample, SampleObject
from training.errors import DataError

log = logging.getLogger(__name__)

Labels = NDArray[np.uint8]

CATEGORIES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
BORDER = 255


@dataclass(frozen=True)
class Layout:
    """The folders of pictures, maps and lists of names, and the function that reads a map."""

    pictures: Path
    objects: Path
    classes: Path
    splits: Path
    suffix: str
    read: Callable[[Path], Labels]


class VocDataset(RecordDataset[Record]):
    """One split. Pictures with a broken or missing file are skipped, counted and logged."""

    def __init__(self, layout: Layout, source: str, split: str = "") -> None:
        """split: the name of a list, by default "train". Raises DataError."""
        skipping = SkipCounter(source)
        self._layout = layout
        names = _names(layout.splits, source, split)
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            read = list(pool.map(self._record, names))
        for result in read:
            if isinstance(result, DataError):
                skipping.add(result)
        records = [result for result in read if isinstance(result, Record)]
        super().__init__(source, records, skipping.finish())
        if not records:
            raise DataError(f"No picture of {layout.splits} has both its maps.")

    def __getitem__(self, index: int) -> Sample:
        record = self._records[index]
        path = self._picture(record.key)
        image = decode_picture(path, str(path))
        labels = self._map(self._layout.objects, record.key)
        same_size(labels, image, str(path))
        instances = labels.astype(np.int16)
        instances[labels == BORDER] = VOID
        return Sample(record.key, self.source, image, instances, record.objects)

    def _picture(self, key: str) -> Path:
        return self._layout.pictures / f"{key}.jpg"

    def _map(self, folder: Path, key: str) -> Labels:
        return self._layout.read(folder / f"{key}{self._layout.suffix}")

    def _record(self, key: str) -> Record | DataError:
        try:
            path = self._picture(key)
            width, height = picture_size(path, str(path))
            labels = self._map(self._layout.objects, key)
            classes = self._map(self._layout.classes, key)
            if not labels.shape == classes.shape == (height, width):
                raise DataError(
                    f"{path} measures {width}x{height}, its maps {labels.shape[1]}x"
                    f"{labels.shape[0]} and {classes.shape[1]}x{classes.shape[0]}."
                )
        except DataError as error:
            return error
        return Record(key, (width, height), _objects(labels, classes))


def open_voc(path: Path, *, split: str = "") -> VocDataset:
    """PASCAL VOC at a path. Raises DataError."""
    layout = voc_layout(path)
    if layout is None:
        raise DataError(f"{path}: expected SegmentationObject/ and SegmentationClass/ in it.")
    return VocDataset(layout, "voc", split)


def open_sbd(path: Path, *, split: str = "") -> VocDataset:
    """SBD at a path. Raises DataError."""
    layout = sbd_layout(path)
    if layout is None:
        raise DataError(f"{path}: expected inst/ and cls/ in it.")
    return VocDataset(layout, "sbd", split)


def voc_layout(path: Path) -> Layout | None:
    """VOC's folders at a path, or in VOC2012 of a VOCdevkit there; None if there are none."""
    for root in (path, path / "VOC2012", path / "VOCdevkit" / "VOC2012"):
        maps = root / "SegmentationObject", root / "SegmentationClass"
        if all(folder.is_dir() for folder in maps):
            splits = root / "ImageSets" / "Segmentation"
            return Layout(root / "JPEGImages", *maps, splits, ".png", _read_png)
    return None


def sbd_layout(path: Path) -> Layout | None:
    """SBD's folders at a path, or in the release unpacked there; None if there are none."""
    for root in (path, path / "dataset", path / "benchmark_RELEASE" / "dataset"):
        maps = root / "inst", root / "cls"
        if all(folder.is_dir() for folder in maps):
            own = root / "img"
            return Layout(
                own if own.is_dir() else root / "JPEGImages", *maps, root, ".mat", _read_mat
            )
    return None


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
    if not split:
        log.warning("%s: no split was named; 'train' is used, of %s.", source, ", ".join(known))
        split = "train"
    if split not in known:
        raise DataError(f"{folder} has no split '{split}', only {', '.join(known)}.")
    lines: Sequence[str] = (folder / f"{split}.txt").read_text(encoding="utf-8").split()
    if not lines:
        raise DataError(f"{folder / split}.txt lists no name.")
    return list(lines)


def _read_png(path: Path) -> Labels:
    return decode_labels(path, str(path))


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
