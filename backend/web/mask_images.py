"""Pictures of how an object was made: the photograph with one served mask and its click.

All pictures of one object show the same part of the photograph, close enough that a small object is
seen, so that they can be read as a story. The photograph is taken from the picture cache and never
fetched: a page of the dashboard must not make the backend ask other hosts. Where it is gone, the
mask is drawn on plain ground.
"""

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from sqlalchemy import Connection, Row, Table, select

from backend.db import sample_tables
from backend.db.engine import Database
from backend.db.models.core import EventRow
from backend.db.models.reports import RegionCostRow, ServedMaskRow
from backend.db.packed_mask import PackedMask
from backend.errors import PictureError, ReportError
from backend.images.loader import Pictures
from backend.label_studio.payloads import Project

_events: Table = EventRow.__table__  # type: ignore[assignment]
_served: Table = ServedMaskRow.__table__  # type: ignore[assignment]
_costs: Table = RegionCostRow.__table__  # type: ignore[assignment]

_WIDTH = 480
# Of the photograph's sides the least that is shown, and the room around what is in it.
_LEAST_SHARE = 0.28
_MARGIN = 0.3
_BLUE, _GREEN, _RED, _WHITE = (47, 123, 255), (12, 138, 69), (207, 45, 39), (255, 255, 255)
_GROUND = (126, 126, 122)
_TINT = 0.42
# Some 20 kB each; the photographs are shrunk to what is shown.
_KEPT_PICTURES, _KEPT_VIEWS = 400, 24

T = TypeVar("T")
Rgb = NDArray[np.uint8]
Box = tuple[int, int, int, int]
Place = tuple[object, ...]


@dataclass(frozen=True)
class _View:
    """The part of a photograph that an object's pictures show: ``box`` left, top, right, bottom in
    its pixels, and those pixels at the size they are shown; None where the photograph is gone."""

    box: Box
    size: tuple[int, int]
    pixels: Rgb | None


class MaskPictures:
    """Thread-safe. Keeps what it drew last."""

    def __init__(self, database: Database, pictures: Pictures) -> None:
        self._database = database
        self._pictures = pictures
        self._drawn: OrderedDict[Place, bytes] = OrderedDict()
        self._views: OrderedDict[Place, _View] = OrderedDict()
        self._lock = threading.Lock()
        # One after the other: a page asks for a dozen pictures of one photograph at once.
        self._turn = threading.Lock()

    def has_photograph(self, project: str, annotation: int) -> bool:
        """Whether the photograph under an annotation is at hand."""
        return self._photograph(project, annotation) is not None

    def after(self, project: str, annotation: int, region: str, event: int) -> bytes:
        """A JPEG of the mask that answered this event. Raises ReportError where none is kept."""
        place = (project, annotation, region, event)
        kept = self._look(self._drawn, place)
        if kept is not None:
            return kept
        with self._database.read() as connection:
            row = _event(connection, project, event)
            mask = _mask(connection, row)
        view = self._view(project, annotation, region, mask)
        click = None
        if row.kind in ("positive_click", "negative_click") and row.x_percent is not None:
            click = row.x_percent / 100, row.y_percent / 100, row.kind == "positive_click"
        drawn = _draw(view, mask, click)
        self._keep(self._drawn, place, drawn, _KEPT_PICTURES)
        return drawn

    def accepted(self, project: str, annotation: int, region: str) -> bytes:
        """A JPEG of the mask that was submitted. Raises ReportError where there is none."""
        with self._database.read() as connection:
            mask = _submitted(connection, project, annotation, region)
        if mask is None:
            raise ReportError("Nothing is kept of the mask that was submitted.")
        # An annotation can be edited: what is drawn is told apart by the mask itself.
        place = (project, annotation, region, mask.data)
        kept = self._look(self._drawn, place)
        if kept is not None:
            return kept
        drawn = _draw(self._view(project, annotation, region, mask), mask, None)
        self._keep(self._drawn, place, drawn, _KEPT_PICTURES)
        return drawn

    # -- inside

    def _view(self, project: str, annotation: int, region: str, mask: PackedMask) -> _View:
        place = (project, annotation, region, mask.width, mask.height)
        with self._turn:
            kept = self._look(self._views, place)
            if kept is not None:
                return kept
            with self._database.read() as connection:
                masks = _all_masks(connection, project, annotation, region)
            box = _around([*masks, mask], mask.width, mask.height)
            left, top, right, bottom = box
            size = _WIDTH, max(1, round(_WIDTH * (bottom - top) / (right - left)))
            photograph = self._photograph(project, annotation)
            pixels = None
            # A photograph that changed its size is another one.
            if photograph is not None and photograph.shape[:2] == (mask.height, mask.width):
                part = Image.fromarray(photograph[top:bottom, left:right])
                pixels = np.asarray(part.resize(size, Image.Resampling.LANCZOS))
            view = _View(box, size, pixels)
            self._keep(self._views, place, view, _KEPT_VIEWS)
            return view

    def _photograph(self, project: str, annotation: int) -> Rgb | None:
        query = select(
            sample_tables.pictures.c.key,
            sample_tables.pictures.c.address,
            sample_tables.annotations.c.task_id,
        )
        same = (sample_tables.annotations.c.project == sample_tables.pictures.c.project) & (
            sample_tables.annotations.c.annotation_id == sample_tables.pictures.c.annotation_id
        )
        query = query.join(sample_tables.annotations, same).where(
            sample_tables.pictures.c.project == project,
            sample_tables.pictures.c.annotation_id == annotation,
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

    def _look(self, kept: OrderedDict[Place, T], place: Place) -> T | None:
        with self._lock:
            if place in kept:
                kept.move_to_end(place)
            return kept.get(place)

    def _keep(self, kept: OrderedDict[Place, T], place: Place, made: T, most: int) -> None:
        with self._lock:
            kept[place] = made
            kept.move_to_end(place)
            while len(kept) > most:
                kept.popitem(last=False)


def _event(connection: Connection, project: str, number: int) -> Row[Any]:
    query = select(_events).where(_events.c.id == number, _events.c.project == project)
    row = connection.execute(query).first()
    if row is None:
        raise ReportError(f"Project {project} has no interaction {number}.")
    return row


def _mask(connection: Connection, event: Row[Any]) -> PackedMask:
    query = select(_served.c.width, _served.c.height, _served.c.mask).where(
        _served.c.request_id == event.request_id, _served.c.target_id == event.target_id
    )
    row = connection.execute(query.limit(1)).first() if event.request_id else None
    if row is None:
        raise ReportError("The mask of this step is kept no more, or none was served.")
    return PackedMask(row.width, row.height, bytes(row.mask))


def _submitted(
    connection: Connection, project: str, annotation: int, region: str
) -> PackedMask | None:
    it = sample_tables.samples.c
    query = select(it.width, it.height, it.mask).where(
        it.project == project, it.annotation_id == annotation, it.region_id == region
    )
    row = connection.execute(query.limit(1)).first()
    return None if row is None else PackedMask(row.width, row.height, bytes(row.mask))


def _all_masks(
    connection: Connection, project: str, annotation: int, region: str
) -> list[PackedMask]:
    """Served and submitted, of one object."""
    query = select(_costs.c.targets).where(
        _costs.c.project == project,
        _costs.c.annotation_id == annotation,
        _costs.c.region_id == region,
    )
    targets = connection.execute(query.limit(1)).scalar() or []
    found = connection.execute(
        select(_served.c.width, _served.c.height, _served.c.mask)
        .where(_served.c.target_id.in_(targets))
        .limit(50)
    )
    masks = [PackedMask(row.width, row.height, bytes(row.mask)) for row in found]
    submitted = _submitted(connection, project, annotation, region)
    return masks if submitted is None else [*masks, submitted]


def _around(masks: list[PackedMask], width: int, height: int) -> Box:
    """What is worth seeing, in the photograph's own shape: all masks with a margin."""
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


def _draw(view: _View, mask: PackedMask, click: tuple[float, float, bool] | None) -> bytes:
    """The mask in blue with a white border, the click as a dot with a sign. click: x, y as shares
    of the photograph, and whether it says "more"."""
    left, top, right, bottom = view.box
    shown = Image.fromarray(mask.unpack()[top:bottom, left:right].astype(np.uint8) * 255)
    soft = shown.resize(view.size, Image.Resampling.BILINEAR)
    inside = np.asarray(soft) > 127
    wide, tall = view.size
    ground = np.full((tall, wide, 3), _GROUND, np.uint8) if view.pixels is None else view.pixels
    tinted = (1 - _TINT) * ground + _TINT * np.array(_BLUE)
    drawn = np.where(inside[..., None], tinted, ground).astype(np.uint8)
    grown = np.asarray(
        Image.fromarray(inside.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(5))
    )
    drawn[(grown > 0) & ~inside] = _WHITE
    picture = Image.fromarray(drawn)
    if click is not None:
        x = (click[0] * mask.width - left) * wide / (right - left)
        y = (click[1] * mask.height - top) * tall / (bottom - top)
        _dot(picture, x, y, positive=click[2])
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=82, optimize=True)
    return stream.getvalue()


def _dot(picture: Image.Image, x: float, y: float, *, positive: bool) -> None:
    canvas = ImageDraw.Draw(picture)
    # A click may lie a little outside of what is shown.
    x, y = min(max(x, 12), picture.width - 12), min(max(y, 12), picture.height - 12)
    canvas.circle((x, y), 11, fill=_GREEN if positive else _RED, outline=_WHITE, width=2)
    canvas.line((x - 5, y, x + 5, y), fill=_WHITE, width=3)
    if positive:
        canvas.line((x, y - 5, x, y + 5), fill=_WHITE, width=3)
