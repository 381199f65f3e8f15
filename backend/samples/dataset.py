"""A project's accepted samples as a data set for training and evaluation, and exported as a shard.

Pictures come from the picture cache, masks from the database, each when it is needed. An object's
label is its category, the typed phrase its phrase, and its real clicks are included.

A shard is a WebDataset tar (see ``training.data.pack``): picture, map of object ids, JSON. The map
has one id per pixel, so overlapping objects get records of their own, with the picture again. A few
border pixels that two masks share go to the smaller one.
"""

import io
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from backend.db.engine import Database
from backend.db.models import SampleRow
from backend.errors import PictureError
from backend.images.loader import Pictures
from backend.label_studio.payloads import number_of
from backend.label_studio.projects import LabelStudioHosts, Projects
from backend.label_studio.rle import PackedMask
from backend.samples.image_check import ImageCheck, LabeledPicture
from backend.samples.rules import Labeled, Split, labeled
from backend.settings import Settings
from model.files import atomic_file
from training.data.masks import layered
from training.data.pack import members_of
from training.data.sample import Record, RecordDataset, Sample
from training.data.wrappers import shrunk
from training.errors import DataError

SOURCE = "team"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record(Record):
    labeled: Labeled


class AcceptedSamples(RecordDataset[_Record]):
    """The samples of a project, or of one side of its split, as of now.

    Objects are numbered from 1 in the order of the annotation. The list does not change during a
    run: only masks and pictures are read later, and a sample that was deleted or changed since
    raises DataError, as does a picture that cannot be read.
    """

    def __init__(
        self, database: Database, image_check: ImageCheck, project: str, split: Split | None = None
    ) -> None:
        """``project`` is a key; ``split`` None: both sides."""
        super().__init__(SOURCE, [])
        self._database = database
        self._image_check = image_check
        for picture in labeled(database, project):
            if picture.reason or picture.split is None or split not in (None, picture.split):
                continue
            place = picture.place
            annotation = f"task-{place.task_id}-annotation-{place.annotation_id}"
            key = f"project-{number_of(project)}-{annotation}-{place.image}"
            objects = tuple(region.scene_object for region in picture.regions)
            size = picture.regions[0].size
            self._records.append(_Record(key, size, objects, labeled=picture))

    @property
    def unreached(self) -> int:
        """Number of pictures whose host was down when they were last read."""
        return self._image_check.unreached

    def __getitem__(self, index: int) -> Sample:
        record = self._records[index]
        try:
            image = self._image_check.read(record.labeled.place).array
        except PictureError as error:
            raise DataError(f"{record.key}: {error}") from error
        masks = self._masks(record.labeled)
        if any(mask.shape != image.shape[:2] for mask in masks.values()):
            raise DataError(f"{record.key}: the picture has another size than its masks.")
        instances, covered = layered(masks, image.shape[:2])
        return Sample(record.key, SOURCE, image, instances, record.objects, masks=covered)

    def place(self, index: int) -> LabeledPicture:
        """The picture, with its annotation and task."""
        return self._records[index].labeled.place

    def updated_at(self, index: int) -> datetime:
        """When its annotation was updated, on Label Studio's clock."""
        return self._records[index].labeled.updated_at

    def split(self, index: int) -> Split:
        split = self._records[index].labeled.split
        assert split is not None, "unchecked pictures are left out"
        return split

    def _masks(self, labeled_image: Labeled) -> dict[int, NDArray[np.bool_]]:
        place = labeled_image.place
        with self._database.read() as connection:
            rows = connection.execute(select(SampleRow).where(place.samples))
            kept = {(row.number, row.region_id): row for row in rows}
        masks = {}
        for region in labeled_image.regions:
            row = kept.get((region.number, region.region_id))
            if row is None:
                raise DataError(
                    f"Annotation {place.annotation_id} of task {place.task_id} was changed or "
                    "deleted in Label Studio since this data set was opened."
                )
            packed = PackedMask(row.width, row.height, bytes(row.mask))
            masks[region.scene_object.id] = packed.unpack()
        return masks


def open_samples(
    settings: Settings, database: Database, project: str, split: Split | None = None
) -> AcceptedSamples:
    """The accepted samples of a project (its key), reading pictures as the server does."""
    hosts = LabelStudioHosts(settings, Projects(database).announced)
    return AcceptedSamples(
        database, ImageCheck(database, Pictures(settings, hosts)), project, split
    )


# Share of the smaller mask: the strokes of neighbours may meet in a few pixels.
_SHARED = 0.05
# 255 is void in the pack's format.
_MOST_OBJECTS = 254
# Looks the same; lossless would be ten times as large.
_QUALITY = 95

Mask = NDArray[np.bool_]


def export(
    dataset: AcceptedSamples,
    path: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    only: Sequence[int] | None = None,
    longest: int | None = None,
) -> tuple[int, list[str]]:
    """Write samples to ``path``, atomically.

    Args:
        only: indices of the samples to write; None: all.
        longest: shrink pictures to this side, in pixels; None: keep their size.

    Returns:
        The number of objects written, and a sentence for each sample that could not be read.
    """
    wanted = range(len(dataset)) if only is None else only
    missing: list[str] = []
    written = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file, tarfile.open(fileobj=file, mode="w") as archive:
        for done, index in enumerate(wanted, 1):
            try:
                sample = dataset[index]
            except DataError as error:
                missing.append(str(error))
            else:
                if longest is not None:
                    sample = shrunk(sample, longest)
                written += _add(archive, sample, dataset.split(index))
            progress(done, len(wanted))
    return written, missing


def _add(archive: tarfile.TarFile, sample: Sample, split: Split) -> int:
    """Write one sample, as several records where its objects overlap; returns how many objects."""
    masks = {one.id: sample.mask(one.id) for one in sample.objects}
    written = 0
    alone = len(masks) <= _MOST_OBJECTS and not sample.masks
    for number, layer in enumerate([set(masks)] if alone else _layers(masks)):
        kept = [one for one in sample.objects if one.id in layer]
        shown = {order: masks[one.id] for order, one in enumerate(kept, 1)}
        record = replace(
            sample,
            # In the format, the first dot ends the name.
            key=f"{sample.key}-{number}".replace(".", "_").replace("/", "_"),
            instances=layered(shown, sample.instances.shape)[0],
            objects=tuple(replace(one, id=order) for order, one in enumerate(kept, 1)),
        )
        for suffix, content in members_of(record, _QUALITY, split=split).items():
            entry = tarfile.TarInfo(f"{record.key}.{suffix}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        written += len(layer)
    return written


def _layers(masks: Mapping[int, Mask]) -> Iterator[set[int]]:
    """Groups of objects that do not overlap, greedily."""
    left = dict(masks)
    areas = {number: int(mask.sum()) for number, mask in masks.items()}
    while left:
        layer: set[int] = set()
        for number, mask in left.items():
            overlaps = (
                int((mask & left[other]).sum()) > _SHARED * min(areas[number], areas[other])
                for other in layer
            )
            if len(layer) < _MOST_OBJECTS and not any(overlaps):
                layer.add(number)
        yield layer
        left = {number: mask for number, mask in left.items() if number not in layer}
