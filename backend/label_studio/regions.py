"""Regions of a ``result``, as annotations, drafts, predictions and requests hold it: the only place
that reads one, and the masks that are written into one.

A result is a flat list of items. Items with the same id are one region of the page: a mask with a
plain ``<Brush>`` and its ``<Labels>``, for example, is two items. :func:`parse_result` gives one
:class:`Region` per region, with the masks still encoded: most of them are never needed.
"""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from backend.errors import BackendError, RequestError
from backend.label_studio import rle
from backend.label_studio.controls import BrushControl, Label
from backend.label_studio.payloads import MAX_ITEMS, clean, whole_number
from backend.label_studio.shapes import (
    PART,
    drawn_over,
    image_of,
    mask_in_image,
    mask_of,
    outline_of,
)

Shape = Literal["brush", "keypoint", "rectangle", "ellipse", "polygon", "textarea", "other", ""]

_MAX_ID = 128
# Processor time. A page has hundreds of masks, each of them read in milliseconds.
_CLICK_S = 5.0
_RECTANGLES = ("rectangle", "rectanglelabels")
# Keys of a value that hold pixels: of a brush, of the magic wand's draft, of a bitmask.
_PIXELS = frozenset(["rle", "touches", "maskDataURL", "imageDataURL"])


@dataclass(frozen=True)
class Region:
    """One region of the page.

    Percentages and masks are those of the upright picture, also where the page was turned.
    """

    id: str
    control: str  # name of the control that drew it (``from_name``)
    image: str  # name of its <Image> (``to_name``)
    type: str  # as Label Studio writes it: brushlabels, keypoint, textarea, …
    shape: Shape  # what ``value`` holds; '' where that contradicts the type (the page's ghosts)
    labels: tuple[str, ...]  # as written in the result, without surrounding blanks
    value: Mapping[str, Any]  # geometry as sent: rle, touches, x, y, points, text, …
    width: int | None  # pixels of the upright picture
    height: int | None
    origin: str = ""  # manual, prediction, prediction-changed
    positive: bool | None = None  # of a key point; None where the page lost it
    score: float | None = None
    parts: tuple[Any, ...] = ()  # polygons of the same mask, which are regions of their own

    @property
    def label(self) -> str:
        """Its first label; '' for a region without one."""
        return self.labels[0] if self.labels else ""

    @property
    def rle(self) -> Any:
        """The encoded mask as sent, unchecked; None for a region without one."""
        return self.value.get("rle")

    @property
    def touches(self) -> Sequence[Any]:
        """Strokes of brush and eraser that a draft keeps beside the mask, oldest first."""
        strokes = self.value.get("touches")
        return strokes if isinstance(strokes, list) else ()

    @property
    def mask_image(self) -> str:
        """A PNG as a data URL: a bitmask, or what the magic wand drew in a draft; '' for none."""
        urls = (self.value.get(key) for key in ("imageDataURL", "maskDataURL"))
        return next((url for url in urls if isinstance(url, str)), "")

    @property
    def has_mask(self) -> bool:
        """Whether it is a brush or bitmask region with something drawn, or a polygon."""
        if self.shape == "polygon":
            return True
        drawn = "rle" in self.value or bool(self.touches) or bool(self.mask_image)
        return self.shape == "brush" and drawn

    @property
    def complete(self) -> bool:
        """Whether it has a mask that may be decoded."""
        return self.has_mask and bool(self.id and self.image and self.width and self.height)

    @property
    def outlines(self) -> Sequence[Any]:
        """The polygons of a region: its own, and those of its other parts."""
        if self.shape != "polygon":
            return ()
        return [self.value.get("points"), *self.parts]

    @property
    def drawn_by_hand(self) -> bool:
        """Whether no model made its mask: those have a score, which the page keeps."""
        return self.origin in ("", "manual") and self.score is None

    def saved_mask(self) -> NDArray[np.bool_]:
        """The mask as encoded or outlined, H,W, without the strokes over it; empty where a region
        was painted from nothing. Raises RequestError."""
        width, height = self.width or 0, self.height or 0
        image = self.mask_image
        if self.shape != "polygon" and (self.rle or not (self.touches or image)):
            mask = rle.decode(self.rle, width, height)
        elif not 0 < width * height <= rle.MAX_PIXELS:
            raise RequestError(f"A brush mask of {width}x{height} pixels cannot be read.")
        else:
            mask = mask_of(self.outlines, width, height)
        return mask | mask_in_image(image, width, height) if image else mask

    def mask(self) -> NDArray[np.bool_]:
        """The mask as the page shows it, H,W, with the strokes. Raises RequestError."""
        saved = self.saved_mask()
        return drawn_over(saved, self.touches) if self.touches else saved


def parse_result(items: object) -> tuple[Region, ...]:
    """The regions of a result, in order; nonsense is left out.

    Args:
        items: ``result`` of an annotation, draft, prediction or request, as it was sent. Where an
            item is repeated by the same control, the last one counts.
    """
    groups: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    anonymous = 0
    for item in list(items)[:MAX_ITEMS] if isinstance(items, list | tuple) else ():
        if not isinstance(item, Mapping) or not isinstance(item.get("value"), Mapping):
            continue
        identity, image = clean(item.get("id"))[:_MAX_ID], clean(item.get("to_name"))[:_MAX_ID]
        if not identity:
            anonymous += 1
        key = (identity or f"\0{anonymous}", image)
        groups.setdefault(key, {})[clean(item.get("from_name"))] = item
    regions = (
        _region("" if identity.startswith("\0") else identity, image, list(group.values()))
        for (identity, image), group in groups.items()
    )
    return _with_parts(tuple(regions))


def _with_parts(regions: tuple[Region, ...]) -> tuple[Region, ...]:
    """Polygons that are parts of one mask as one region, unless the first of them is gone."""
    polygons = {region.id: region for region in regions if region.shape == "polygon"}
    parts: dict[str, list[Region]] = {}
    for identity, region in polygons.items():
        whole, mark, number = identity.rpartition(PART)
        if mark and number.isdecimal() and whole in polygons:
            parts.setdefault(whole, []).append(region)
    if not parts:
        return regions
    joined = {part.id for several in parts.values() for part in several}
    return tuple(
        replace(region, parts=tuple(p.value.get("points") for p in parts.get(region.id, ())))
        for region in regions
        if region.id not in joined
    )


def saved_masks(regions: Iterable[Region]) -> Iterator[tuple[Region, NDArray[np.bool_]]]:
    """Those masks that can be read while a click waits; see ``Region.saved_mask``."""
    ends = time.thread_time() + _CLICK_S
    for region in regions:
        if time.thread_time() > ends:
            return
        with suppress(BackendError):
            yield region, region.saved_mask()


def _region(identity: str, image: str, items: list[Mapping[str, Any]]) -> Region:
    """One region from its items. The item that drew it is the one whose type fits the geometry:
    with "keep label selected" the page adds ghosts, such as a mask under a key point control. Of a
    mask and a rectangle around it, the mask counts."""
    drawn = [(item, _shape(item)) for item in items]
    main, shape = min(drawn, key=lambda one: (one[1] not in ("brush", "polygon"), not one[1]))
    if not shape and "rle" in main["value"] and main.get("type") in _RECTANGLES:
        shape = "brush"  # a box with the mask in it, as some scripts write it: the page draws that
    labels = dict.fromkeys(_labels(main))
    for item, its_shape in drawn:
        # What another tool's label says on a ghost is not a label of this region.
        if item.get("type") == "labels" or (shape and its_shape):
            labels.update(dict.fromkeys(_labels(item)))
    positive = main.get("is_positive")
    return Region(
        id=identity,
        control=clean(main.get("from_name")),
        image=image,
        type=clean(main.get("type"))[:_MAX_ID],
        shape=shape,
        labels=tuple(labels),
        value=main["value"],
        width=_side(main.get("original_width")),
        height=_side(main.get("original_height")),
        origin=clean(main.get("origin"))[:32],
        positive=positive if isinstance(positive, bool) else None,
        score=finite_number(main.get("score")),
    )


def _shape(item: Mapping[str, Any]) -> Shape:
    """What an item draws; '' where its type and its geometry do not agree."""
    kind = item.get("type")
    value = item["value"]
    drawn: Shape = "other"
    if _PIXELS & value.keys():
        drawn = "brush"
    elif "points" in value:
        drawn = "polygon"
    elif "radiusX" in value:
        drawn = "ellipse"
    elif "x" in value and "y" in value:
        drawn = "rectangle" if "height" in value else "keypoint"
    elif "text" in value:
        drawn = "textarea"
    tools = ("brush", "bitmask", "magicwand") if drawn == "brush" else (drawn,)
    return drawn if isinstance(kind, str) and kind.removesuffix("labels") in tools else ""


def _labels(item: Mapping[str, Any]) -> Iterator[str]:
    value = item["value"]
    kind = item.get("type")
    texts = value.get(kind) if isinstance(kind, str) and kind.endswith("labels") else None
    texts = value.get("labels") if texts is None else texts
    for text in texts if isinstance(texts, list) else [texts]:
        label = clean(text).strip() if isinstance(text, str) else ""
        if label:
            yield label


def finite_number(raw: object) -> float | None:
    """A number of JSON; None for anything else, and for what no float can hold."""
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    try:
        number = float(raw)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _side(raw: object) -> int | None:
    """Pixels; some scripts write 320.0."""
    number = whole_number(raw)
    return number if number is not None and 0 < number <= rle.MAX_SIDE else None


@dataclass(frozen=True)
class DrawnMask:
    """A mask as regions of the page. ``mask`` (H,W) is what they show: an outline has no holes and
    is not exact. ``holes``: how many it covers."""

    items: list[dict[str, Any]]
    mask: NDArray[np.bool_]
    holes: int = 0


def drawn_mask(
    region_id: str,
    mask: NDArray[np.bool_],
    *,
    brush: BrushControl,
    to_name: str,
    label: Label | None,
    score: float,
    tolerance: float,
) -> DrawnMask:
    """A mask, H,W, as the items that the page would write for it: one brush region or bitmask, or
    one polygon for each part, the first under the object's own id; none for an empty mask.

    Args:
        region_id: the id of a region on the page replaces that region.
        tolerance: of an outline, in pixels.
    """
    if not mask.any():
        return DrawnMask([], mask)
    height, width = mask.shape
    written = [] if label is None else [label.written]
    apart = brush.labels_control if written else ""  # the label is an item of its own
    tools = [(brush.name, brush.type, {brush.type: written} if written and not apart else {})]
    if apart:
        tools.append((apart, "labels", {"labels": written}))

    def items(identity: str, geometry: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [
            {
                "id": identity,
                "from_name": name,
                "to_name": to_name,
                "type": kind,
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {**geometry, **labels},
                "score": round(score, 6),
            }
            for name, kind, labels in tools
        ]

    if brush.tool == "bitmask":
        return DrawnMask(items(region_id, {"imageDataURL": image_of(mask)}), mask)
    if brush.tool != "polygon":
        return DrawnMask(items(region_id, {"format": "rle", "rle": rle.encode(mask)}), mask)
    outline = outline_of(mask, tolerance)
    polygons = [
        item
        for number, points in enumerate(outline.parts, 1)
        for item in items(
            region_id if number == 1 else f"{region_id}{PART}{number}",
            {"points": points, "closed": True},
        )
    ]
    return DrawnMask(polygons, mask_of(outline.parts, width, height), outline.holes)
