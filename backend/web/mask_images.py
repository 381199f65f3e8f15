"""Images of how an object was made: the photograph with one served mask and its click.

All images of one object show the same part of the photograph, close enough to see a small object,
so that they read as a story. The photograph comes from the picture cache and is never fetched: a
page of the dashboard must not make the backend contact other hosts. If it is gone, the mask is
drawn on a plain background.
"""

import io
import threading
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from backend.db.engine import Database
from backend.db.models import (
    AnnotatedPictureRow,
    AnnotationRow,
    EventRow,
    RegionCostRow,
    SampleRow,
    ServedMaskRow,
    same_annotation,
)
from backend.errors import PictureError, ReportError
from backend.images.loader import Pictures
from backend.label_studio.payloads import Project
from backend.label_studio.rle import PackedMask
from backend.reports.click_curve import served_for
from backend.reports.regions import accepted_mask
from training.evaluation.overlay import Click, View, around, crop, overlay_view

_WIDTH = 480
_BACKGROUND = (126, 126, 122)
# Views in memory, about half a MB each; and masks that a view makes room for.
_VIEWS, _MASKS = 24, 50

Rgb = NDArray[np.uint8]


class MaskImages:
    """Thread-safe."""

    def __init__(self, database: Database, pictures: Pictures) -> None:
        self._database = database
        self._pictures = pictures
        self._view = lru_cache(_VIEWS)(self._make_view)
        # A page asks for a dozen images of one photograph at once: one of them makes the view.
        self._making = threading.Lock()

    def has_photograph(self, project: str, annotation: int, region: str) -> bool:
        """Whether the photograph under a region is in the picture cache."""
        return self._photograph(project, annotation, region) is not None

    def after(self, project: str, annotation: int, region: str, event: int) -> bytes:
        """A JPEG of the mask that answered an event. Raises ReportError if there is none."""
        query = select(
            EventRow.kind,
            EventRow.x_percent,
            EventRow.y_percent,
            ServedMaskRow.width,
            ServedMaskRow.height,
            ServedMaskRow.mask,
        ).join(
            ServedMaskRow,
            (ServedMaskRow.request_id == EventRow.request_id)
            & (ServedMaskRow.target_id == EventRow.target_id),
        )
        only = (EventRow.id == event, EventRow.project == project, EventRow.request_id != "")
        with self._database.read() as connection:
            row = connection.execute(query.where(*only).limit(1)).first()
        if row is None:
            raise ReportError("The mask of this step has expired, or none was served.")
        mask = PackedMask(row.width, row.height, bytes(row.mask))
        clicks: list[Click] = []
        if row.kind in ("positive_click", "negative_click") and row.x_percent is not None:
            x, y = row.x_percent * mask.width / 100, row.y_percent * mask.height / 100
            clicks = [(x, y, row.kind == "positive_click")]
        return self._draw(project, annotation, region, mask, clicks)

    def accepted(self, project: str, annotation: int, region: str) -> bytes:
        """A JPEG of the mask that was submitted. Raises ReportError if there is none."""
        with self._database.read() as connection:
            mask = accepted_mask(connection, project, annotation, region)
        if mask is None:
            raise ReportError("The submitted mask no longer exists.")
        return self._draw(project, annotation, region, mask, [])

    def _draw(
        self, project: str, annotation: int, region: str, mask: PackedMask, clicks: list[Click]
    ) -> bytes:
        """clicks: in the photograph's pixels."""
        with self._making:
            view, pixels = self._view(project, annotation, region, mask.width, mask.height)
        image = overlay_view(pixels, view, mask.unpack(), clicks)
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=82, optimize=True)
        return stream.getvalue()

    def _make_view(
        self, project: str, annotation: int, region: str, width: int, height: int
    ) -> tuple[View, Rgb]:
        """The part of the photograph that all images of an object show, and its pixels."""
        together = np.zeros((height, width), bool)
        for mask in self._masks(project, annotation, region):
            if (mask.width, mask.height) == (width, height):
                together |= mask.unpack()
        view = around([together], [])
        photograph = self._photograph(project, annotation, region)
        # A photograph of another size is another one.
        if photograph is None or photograph.shape[:2] != (height, width):
            size = max(1, round(_WIDTH * view[3] / view[2])), _WIDTH, 3
            return view, np.full(size, _BACKGROUND, np.uint8)
        return view, crop(photograph, view, _WIDTH)

    def _masks(self, project: str, annotation: int, region: str) -> list[PackedMask]:
        """The served masks of an object and the submitted one."""
        of_region = select(RegionCostRow.targets).where(
            RegionCostRow.project == project,
            RegionCostRow.annotation_id == annotation,
            RegionCostRow.region_id == region,
        )
        with self._database.read() as connection:
            targets = connection.execute(of_region.limit(1)).scalar() or []
            masks = [served.mask for served in served_for(connection, targets)][:_MASKS]
            submitted = accepted_mask(connection, project, annotation, region)
        return masks if submitted is None else [*masks, submitted]

    def _photograph(self, project: str, annotation: int, region: str) -> Rgb | None:
        query = (
            select(AnnotatedPictureRow.key, AnnotatedPictureRow.address, AnnotationRow.task_id)
            .join(AnnotationRow, same_annotation(AnnotationRow, AnnotatedPictureRow))
            .join(SampleRow, same_annotation(SampleRow, AnnotatedPictureRow))
            .where(
                AnnotatedPictureRow.project == project,
                AnnotatedPictureRow.annotation_id == annotation,
                AnnotatedPictureRow.image == SampleRow.image,
                SampleRow.region_id == region,
            )
        )
        with self._database.read() as connection:
            row = connection.execute(query.limit(1)).first()
        if row is None:
            return None
        try:
            key = row.key or self._pictures.key_of(row.address, Project.read(project), row.task_id)
            picture = self._pictures.kept(key) if key else None
        except PictureError:
            return None
        return None if picture is None else picture.array
