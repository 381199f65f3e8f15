"""A project's accepted samples as a data set for training and evaluation, and exported as a shard.

Pictures come from the picture cache, masks from the database, each when it is needed. An object's
label is its category, the typed phrase its phrase, and its real clicks are included.

A shard is a WebDataset tar (see ``training.data.pack``): picture, map of object ids, JSON. The map
has one id per pixel, so overlapping objects get records of their own, with the picture again. A few
border pixels that two masks share go to the smaller one.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import select

from backend.db.engine import Database
from backend.db.models import SampleRow
from backend.db.packed_mask import PackedMask
from backend.errors import PictureError
from backend.images.loader import Pictures
from backend.label_studio.payloads import number_of
from backend.label_studio.projects import LabelStudioHosts, Projects
from backend.samples.image_check import ImageCheck, LabeledPicture
from backend.samples.rules import Labeled, Region, Split, labeled
from backend.settings import Settings
from model.files import atomic_file
from training.data.masks import layered
from training.data.sample import Expression, Sample, SampleObject
from training.data.wrappers import shrunk
from training.errors import DataError

SOURCE = "team"


@dataclass(frozen=True)
class Click:
    """A click of an annotator: x, y in pixels of the upright picture."""

    x: float
    y: float
    positive: bool


class AcceptedSamples:
    """The samples of a project, or of one side of its split, as of now.

    Objects are numbered from 1 in the order of the annotation. The list does not change during a
    run: only masks and pictures are read later, and a sample that was deleted or changed since
    raises DataError, as does a picture that cannot be read.
    """

    def __init__(
        self, database: Database, image_check: ImageCheck, project: str, split: Split | None = None
    ) -> None:
        """``project`` is a key; ``split`` None: both sides."""
        self.project = project
        self._database = database
        self._image_check = image_check
        self._labeled = tuple(
            image
            for image in labeled(database, project)
            if not image.reason and image.split is not None and split in (None, image.split)
        )
        self._sources = [SOURCE] * len(self._labeled)

    @property
    def sources(self) -> Sequence[str]:
        return self._sources

    @property
    def unreached(self) -> int:
        """Number of pictures whose host was down when they were last read."""
        return self._image_check.unreached

    def __len__(self) -> int:
        return len(self._labeled)

    def __getitem__(self, index: int) -> Sample:
        labeled_image = self._labeled[index]
        key = self.key(index)
        try:
            image = self._image_check.read(labeled_image.place).array
        except PictureError as error:
            raise DataError(f"{key}: {error}") from error
        masks = self._masks(labeled_image)
        if any(mask.shape != image.shape[:2] for mask in masks.values()):
            raise DataError(f"{key}: the picture has another size than its masks.")
        instances, covered = layered(masks, image.shape[:2])
        return Sample(key, SOURCE, image, instances, self.objects(index), masks=covered)

    def key(self, index: int) -> str:
        """The name of a sample; it never changes."""
        place = self._labeled[index].place
        annotation = f"task-{place.task_id}-annotation-{place.annotation_id}"
        return f"project-{number_of(self.project)}-{annotation}-{place.image}"

    def size(self, index: int) -> tuple[int, int]:
        """Width and height of the picture, without decoding it."""
        first = self._labeled[index].regions[0]
        return first.width, first.height

    def objects(self, index: int) -> tuple[SampleObject, ...]:
        """The accepted regions, without decoding the picture."""
        clicks = self.clicks(index)
        return tuple(
            SampleObject(
                id=number,
                category=region.category,
                phrases=(region.phrase,) if region.phrase else (),
                clicks=tuple((click.x, click.y, click.positive) for click in clicks[number]),
                box=_pixels(region),
            )
            for number, region in enumerate(self._labeled[index].regions, 1)
        )

    def expressions(self, index: int) -> tuple[Expression, ...]:
        """None: a phrase in Label Studio belongs to one region."""
        return ()

    def clicks(self, index: int) -> dict[int, tuple[Click, ...]]:
        """By object id, the clicks that made it, oldest first; none if it was drawn by hand."""
        return {
            number: tuple(
                Click(x / 100 * region.width, y / 100 * region.height, positive)
                for x, y, positive in region.clicks
            )
            for number, region in enumerate(self._labeled[index].regions, 1)
        }

    def place(self, index: int) -> LabeledPicture:
        """The picture, with its annotation and task."""
        return self._labeled[index].place

    def updated_at(self, index: int) -> datetime:
        """When its annotation was updated, on Label Studio's clock."""
        return self._labeled[index].updated_at

    def split(self, index: int) -> Split:
        """The side that the picture is on."""
        split = self._labeled[index].split
        assert split is not None, "unchecked pictures are left out"
        return split

    def _masks(self, labeled_image: Labeled) -> dict[int, NDArray[np.bool_]]:
        place = labeled_image.place
        columns = (
            SampleRow.number,
            SampleRow.region_id,
            SampleRow.width,
            SampleRow.height,
        )
        query = select(*columns, SampleRow.mask).where(
            SampleRow.project == place.project,
            SampleRow.annotation_id == place.annotation_id,
            SampleRow.image == place.image,
        )
        with self._database.read() as connection:
            kept = {(row.number, row.region_id): row for row in connection.execute(query)}
        masks = {}
        for number, region in enumerate(labeled_image.regions, 1):
            row = kept.get((region.number, region.region_id))
            if row is None:
                raise DataError(
                    f"Annotation {place.annotation_id} of task {place.task_id} was changed or "
                    "deleted in Label Studio since this data set was opened."
                )
            masks[number] = PackedMask(row.width, row.height, bytes(row.mask)).unpack()
        return masks


def _pixels(region: Region) -> tuple[float, float, float, float] | None:
    """The box that an annotator drew, in pixels."""
    if region.box is None:
        return None
    left, top, right, bottom = (part / 100 for part in region.box)
    return left * region.width, top * region.height, right * region.width, bottom * region.height


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
# WebP's own limit; larger pictures are written as PNG.
_WEBP_SIDE = 16383
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
    masks = {one.id: sample.mask(one.id) for one in sample.objects}
    suffix, picture = _picture(sample.image)
    written = 0
    alone = len(masks) <= _MOST_OBJECTS and not sample.masks
    for number, layer in enumerate([set(masks)] if alone else _layers(masks)):
        # In the format, the first dot ends the name.
        name = f"{sample.key}-{number}".replace(".", "_").replace("/", "_")
        about = {
            "source": sample.source,
            "split": split,
            "objects": [
                {
                    "id": order,
                    "category": one.category,
                    "semantic": one.semantic,
                    "phrases": list(one.phrases),
                    "clicks": [[round(x, 2), round(y, 2), good] for x, y, good in one.clicks],
                    "box": [round(side, 2) for side in one.box] if one.box else None,
                }
                for order, one in enumerate((o for o in sample.objects if o.id in layer), 1)
            ],
        }
        ordered = {order: masks[one] for order, one in enumerate(sorted(layer), 1)}
        instances, _ = layered(ordered, sample.instances.shape)
        _member(archive, f"{name}.{suffix}", picture)
        _member(archive, f"{name}.inst.png", _png(instances.astype(np.uint8)))
        _member(archive, f"{name}.json", json.dumps(about, ensure_ascii=False).encode())
        written += len(layer)
    return written


def _layers(masks: Mapping[int, Mask]) -> Iterator[set[int]]:
    """Groups of objects that do not overlap, greedily."""
    left = dict(masks)
    while left:
        layer: set[int] = set()
        for number, mask in left.items():
            if len(layer) < _MOST_OBJECTS and not any(
                _overlap(mask, left[other]) for other in layer
            ):
                layer.add(number)
        yield layer
        left = {number: mask for number, mask in left.items() if number not in layer}


def _overlap(one: Mask, other: Mask) -> bool:
    return int((one & other).sum()) > _SHARED * min(int(one.sum()), int(other.sum()))


def _picture(image: NDArray[np.uint8]) -> tuple[str, bytes]:
    if max(image.shape[:2]) > _WEBP_SIDE:
        return "png", _png(image)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "WEBP", quality=_QUALITY)
    return "webp", stream.getvalue()


def _png(image: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def _member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
