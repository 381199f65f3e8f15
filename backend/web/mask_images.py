"""Images of how an object was made: the photograph with one served mask and its click.

All images of one object show the same part of the photograph, close enough to see a small object,
so that they read as a story. The photograph comes from the picture cache and is never fetched: a
page of the dashboard must not make the backend contact other hosts. If it is gone, the mask is
drawn on a plain background.
"""

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import select

from backend.db.engine import Database
from backend.db.models.core import AnnotatedPictureRow, AnnotationRow, EventRow
from backend.db.models.reports import RegionCostRow, ServedMaskRow
from backend.db.packed_mask import PackedMask
from backend.errors import PictureError, ReportError
from backend.images.loader import Pictures
from backend.images.overlay import Click, overlay
from backend.label_studio.payloads import Project
from backend.reports.regions import accepted_mask

_WIDTH = 480
# The smallest share of the photograph's sides that is shown, and the margin around the masks.
_LEAST_SHARE = 0.28
_MARGIN = 0.3
_BACKGROUND = (126, 126, 122)
# Views in memory, about half a MB each; and masks that a view makes room for.
_VIEWS, _MASKS = 24, 50

Rgb = NDArray[np.uint8]
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class _View:
    """The part of a photograph that an object's images show.

    ``box``: left, top, right, bottom in the photograph's pixels. ``pixels``: that part at the size
    it is shown, H,W,3.
    """

    box: Box
    pixels: Rgb


class MaskImages:
    """Thread-safe."""

    def __init__(self, database: Database, pictures: Pictures) -> None:
        self._database = database
        self._pictures = pictures
        self._view = lru_cache(_VIEWS)(self._make_view)
        # A page asks for a dozen images of one photograph at once: one of them makes the view.
        self._making = threading.Lock()

    def has_photograph(self, project: str, annotation: int) -> bool:
        """Whether the photograph of an annotation is in the picture cache."""
        return self._photograph(project, annotation) is not None

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
        click = None
        if row.kind in ("positive_click", "negative_click") and row.x_percent is not None:
            x, y = row.x_percent * mask.width / 100, row.y_percent * mask.height / 100
            click = x, y, row.kind == "positive_click"
        return self._draw(project, annotation, region, mask, click)

    def accepted(self, project: str, annotation: int, region: str) -> bytes:
        """A JPEG of the mask that was submitted. Raises ReportError if there is none."""
        with self._database.read() as connection:
            mask = accepted_mask(connection, project, annotation, region)
        if mask is None:
            raise ReportError("The submitted mask no longer exists.")
        return self._draw(project, annotation, region, mask, None)

    def _draw(
        self, project: str, annotation: int, region: str, mask: PackedMask, click: Click | None
    ) -> bytes:
        """click: in the photograph's pixels."""
        with self._making:
            view = self._view(project, annotation, region, mask.width, mask.height)
        left, top, right, bottom = view.box
        tall, wide = view.pixels.shape[:2]
        part = Image.fromarray(mask.unpack()[top:bottom, left:right].astype(np.uint8) * 255)
        inside = np.asarray(part.resize((wide, tall), Image.Resampling.BILINEAR)) > 127
        clicks: list[Click] = []
        if click is not None:
            x, y, positive = click
            clicks = [
                ((x - left) * wide / (right - left), (y - top) * tall / (bottom - top), positive)
            ]
        stream = io.BytesIO()
        overlay(view.pixels, inside, clicks).save(stream, "JPEG", quality=82, optimize=True)
        return stream.getvalue()

    def _make_view(
        self, project: str, annotation: int, region: str, width: int, height: int
    ) -> _View:
        box = _around(self._masks(project, annotation, region), width, height)
        left, top, right, bottom = box
        size = _WIDTH, max(1, round(_WIDTH * (bottom - top) / (right - left)))
        photograph = self._photograph(project, annotation)
        # A photograph of another size is another one.
        if photograph is None or photograph.shape[:2] != (height, width):
            return _View(box, np.full((size[1], size[0], 3), _BACKGROUND, np.uint8))
        part = Image.fromarray(photograph[top:bottom, left:right])
        return _View(box, np.asarray(part.resize(size, Image.Resampling.LANCZOS)))

    def _masks(self, project: str, annotation: int, region: str) -> list[PackedMask]:
        """The served masks of an object and the submitted one."""
        of_region = select(RegionCostRow.targets).where(
            RegionCostRow.project == project,
            RegionCostRow.annotation_id == annotation,
            RegionCostRow.region_id == region,
        )
        row = ServedMaskRow
        with self._database.read() as connection:
            targets = connection.execute(of_region.limit(1)).scalar() or []
            served = select(row.width, row.height, row.mask).where(row.target_id.in_(targets))
            masks = [
                PackedMask(width, height, bytes(mask))
                for width, height, mask in connection.execute(served.limit(_MASKS))
            ]
            submitted = accepted_mask(connection, project, annotation, region)
        return masks if submitted is None else [*masks, submitted]

    def _photograph(self, project: str, annotation: int) -> Rgb | None:
        same = (AnnotationRow.project == AnnotatedPictureRow.project) & (
            AnnotationRow.annotation_id == AnnotatedPictureRow.annotation_id
        )
        query = (
            select(AnnotatedPictureRow.key, AnnotatedPictureRow.address, AnnotationRow.task_id)
            .join(AnnotationRow, same)
            .where(
                AnnotatedPictureRow.project == project,
                AnnotatedPictureRow.annotation_id == annotation,
            )
        )
        with self._database.read() as connection:
            row = connection.execute(query.limit(1)).first()
        if row is None:
            return None
        try:
            key = row.key
            if not key:
                known = self._pictures.key_of(row.address, Project.read(project).id, row.task_id)
                key = known.key if known is not None else ""
            picture = self._pictures.kept(key) if key else None
        except PictureError:
            return None
        return None if picture is None else picture.array


def _around(masks: Sequence[PackedMask], width: int, height: int) -> Box:
    """The part with all masks and a margin, in the photograph's aspect ratio."""
    together = np.zeros((height, width), bool)
    for mask in masks:
        if (mask.width, mask.height) == (width, height):
            together |= mask.unpack()
    columns, lines = np.flatnonzero(together.any(axis=0)), np.flatnonzero(together.any(axis=1))
    if not len(columns):
        return 0, 0, width, height
    left, right, top, bottom = columns[0], columns[-1] + 1, lines[0], lines[-1] + 1
    share = (1 + 2 * _MARGIN) * max((right - left) / width, (bottom - top) / height)
    share = max(share, _LEAST_SHARE)
    if share > 0.9:
        return 0, 0, width, height
    wide, tall = max(1, round(share * width)), max(1, round(share * height))
    x = int(min(max((left + right - wide) // 2, 0), width - wide))
    y = int(min(max((top + bottom - tall) // 2, 0), height - tall))
    return x, y, x + wide, y + tall
