"""A project's accepted samples as a data set for training and evaluation.

Pictures come from the picture cache, masks from the database, each when it is needed. An object's
label is its category, the typed phrase its phrase, and its real clicks are included.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
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
from training.data.masks import layered
from training.data.sample import Expression, Sample, SampleObject
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
