"""Annotations and drafts as Label Studio sends them: the only place that reads a ``result``.

A result is a flat list of items. Items with the same id are one region of the page: a mask with a
plain ``<Brush>`` and its ``<Labels>``, for example, is two items. :func:`parse_result` gives one
:class:`Region` per region, with the masks still encoded: most of them are never needed.

Nothing here depends on when or in which order things arrive: the same annotation always gives the
same :class:`Annotation`.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from backend.db.packed_mask import PackedMask
from backend.errors import RequestError
from backend.label_studio import rle
from backend.label_studio.config import LabelConfig
from backend.label_studio.outlines import PART, mask_of
from backend.label_studio.payloads import (
    MAX_ITEMS,
    Project,
    WebhookRequest,
    clean,
    moment,
    task_number,
    whole_number,
)
from backend.label_studio.strokes import drawn_over

# A draft says something about an object only if it was saved this long after the answer: the page
# needs up to 0.7 s for each large mask to draw an answer, and clocks of two machines differ.
DRAFT_MARGIN = timedelta(seconds=5)

# Why a region is no sample. Counted, and shown by ``phraseclick samples``.
EMPTY = "empty mask"
UNREADABLE = "unreadable mask"
OTHER_SHAPE = "other shape than a brush mask or polygon"

Shape = Literal["brush", "keypoint", "rectangle", "ellipse", "polygon", "textarea", "other", ""]

_OTHER_SHAPES = frozenset(
    name
    for shape in ("rectangle", "ellipse", "polygon", "vector", "bitmask", "cuboid")
    for name in (shape, f"{shape}labels")
)
_SAVED = frozenset({"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED"})
_MAX_ID = 128
_MAX_SIDE = 100_000
_MAX_OWNER = 254
_MAX_SECONDS = 1e9


@dataclass(frozen=True)
class Region:
    """One region of the page.

    Percentages and masks are those of the upright picture, also where ``rotation`` is not 0.
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
    rotation: float = 0.0  # degrees; how the page was turned when it saved
    origin: str = ""  # manual, prediction, prediction-changed
    positive: bool | None = None  # of a key point; None where the page lost it
    score: float | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
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
    def has_mask(self) -> bool:
        """Whether it is a brush region with an encoded mask or strokes, or a polygon."""
        if self.shape == "polygon":
            return True
        return self.shape == "brush" and ("rle" in self.value or bool(self.touches))

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
        if self.shape != "polygon" and (self.rle or not self.touches):
            return rle.decode(self.rle, width, height)
        if not 0 < width * height <= rle.MAX_PIXELS:
            raise RequestError(f"A brush mask of {width}x{height} pixels cannot be read.")
        return mask_of(self.outlines, width, height)

    def mask(self) -> NDArray[np.bool_]:
        """The mask as the page shows it, H,W, with the strokes. Raises RequestError."""
        saved = self.saved_mask()
        return drawn_over(saved, self.touches) if self.touches else saved


@dataclass(frozen=True)
class Annotation:
    """One version of an annotation. ``digest`` identifies its content."""

    id: int
    task_id: int
    updated_at: datetime
    created_at: datetime | None
    annotator: int | None
    skipped: bool
    ground_truth: bool
    regions: tuple[Region, ...]  # all of them: masks, clicks, phrases; none if skipped
    addresses: Mapping[str, str]  # image -> the picture's address; '' if unknown
    digest: str
    # How it was made, not what it says: neither digest nor comparison includes these.
    lead_time: float | None = field(default=None, compare=False)  # Label Studio's own seconds
    owner: str = field(default="", compare=False)  # the annotator as drafts name a user
    draft_created_at: datetime | None = field(default=None, compare=False)
    data: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)  # the task's

    @property
    def masks(self) -> tuple[Region, ...]:
        """Brush regions with a mask that may be decoded."""
        return tuple(region for region in self.regions if region.has_mask and _complete(region))

    @property
    def left_out(self) -> dict[str, int]:
        """Reason -> regions that cannot be samples, as far as is known without decoding."""
        counts: Counter[str] = Counter()
        for region in self.regions:
            if region.type in _OTHER_SHAPES and not region.has_mask:
                counts[OTHER_SHAPE] += 1
            elif region.has_mask and not _complete(region):
                counts[UNREADABLE] += 1
        return dict(counts)

    def decode_masks(self) -> tuple[list[tuple[Region, PackedMask, int]], dict[str, int]]:
        """Regions with mask and area in pixels; and the number of those left out, by reason."""
        decoded, left_out = [], Counter(self.left_out)
        for region in self.masks:
            try:
                mask = region.mask()
            except RequestError:
                left_out[UNREADABLE] += 1
                continue
            area = int(mask.sum())
            if area:
                decoded.append((region, PackedMask.pack(mask), area))
            else:
                left_out[EMPTY] += 1
        return decoded, dict(left_out)


@dataclass(frozen=True)
class LabelChange:
    """What one webhook changes about accepted labels."""

    project: Project
    annotations: tuple[Annotation, ...] = ()
    gone_annotations: tuple[int, ...] = ()
    gone_tasks: tuple[int, ...] = ()
    project_gone: bool = False
    label_config: str = ""
    config_at: datetime | None = None  # when the project was last changed


# -- a result


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


def _region(identity: str, image: str, items: list[Mapping[str, Any]]) -> Region:
    """One region from its items. The item that drew it is the one whose type fits the geometry:
    with "keep label selected" the page adds ghosts, such as a mask under a key point control."""
    main = next((item for item in items if _shape(item)), items[0])
    shape = _shape(main)
    labels: dict[str, None] = {}
    for item in [main, *items]:
        # What another tool's label says on a ghost is not a label of this region.
        if item is main or item.get("type") == "labels" or (shape and _shape(item) == shape):
            labels.update(dict.fromkeys(_labels(item)))
    positive, meta = main.get("is_positive"), main.get("meta")
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
        rotation=finite_number(main.get("image_rotation")) or 0.0,
        origin=clean(main.get("origin"))[:32],
        positive=positive if isinstance(positive, bool) else None,
        score=finite_number(main.get("score")),
        meta=meta if isinstance(meta, Mapping) else {},
    )


def _shape(item: Mapping[str, Any]) -> Shape:
    """What an item draws; '' where its type and its geometry do not agree."""
    kind = item.get("type")
    value = item["value"]
    drawn: Shape = "other"
    if "rle" in value or "touches" in value:
        drawn = "brush"
    elif "points" in value:
        drawn = "polygon"
    elif "radiusX" in value:
        drawn = "ellipse"
    elif "x" in value and "y" in value:
        drawn = "rectangle" if "height" in value else "keypoint"
    elif "text" in value:
        drawn = "textarea"
    return drawn if kind in (drawn, f"{drawn}labels") else ""


def _labels(item: Mapping[str, Any]) -> Iterator[str]:
    value = item["value"]
    kind = item.get("type")
    texts = value.get(kind) if isinstance(kind, str) and kind.endswith("labels") else None
    for text in texts if isinstance(texts, list) else value.get("labels") or ():
        label = clean(text).strip() if isinstance(text, str) else ""
        if label:
            yield label


def _complete(region: Region) -> bool:
    return bool(region.id and region.image and region.width and region.height)


# -- an annotation


def read_annotation(
    raw: object, task_id: int | None, data: object, config: LabelConfig | None
) -> Annotation | None:
    """One annotation of a task with this data; None where it has no id, task or time.

    Args:
        config: the project's labeling config, None if this backend cannot serve it.
    """
    if not isinstance(raw, Mapping):
        return None
    number, task = whole_number(raw.get("id")), whole_number(task_id)
    updated = moment(raw.get("updated_at"))
    if number is None or task is None or updated is None:
        return None
    skipped = raw.get("was_cancelled") is True
    config = config.of(data) if config is not None else None
    annotation = Annotation(
        id=number,
        task_id=task,
        updated_at=updated,
        created_at=moment(raw.get("created_at")),
        annotator=_user(raw.get("completed_by")),
        skipped=skipped,
        ground_truth=raw.get("ground_truth") is True,
        regions=() if skipped else _known_first(parse_result(raw.get("result")), config),
        addresses={},
        digest="",
        lead_time=_seconds(raw.get("lead_time")),
        draft_created_at=moment(raw.get("draft_created_at")),
        data=data if isinstance(data, Mapping) else {},
    )
    images = {region.image for region in annotation.masks}
    annotation = replace(
        annotation,
        addresses={name: _address(config, name, data) for name in images},
        owner=_owner(raw, annotation.annotator),
    )
    return replace(annotation, digest=_digest(annotation))


def read_label_change(
    hook: WebhookRequest, body: Mapping[str, Any], config: LabelConfig | None
) -> LabelChange:
    """What a webhook's body says about labels. ``config``: see :func:`read_annotation`."""
    raw = body.get("project")
    change = LabelChange(
        hook.project,
        label_config=hook.label_config,
        config_at=moment(raw.get("updated_at")) if isinstance(raw, Mapping) else None,
    )
    if hook.action in _SAVED:
        return replace(change, annotations=tuple(_saved(body, config)))
    if hook.action in ("ANNOTATIONS_DELETED", "ANNOTATION_DELETED"):
        ids = (number for number in hook.annotation_ids if whole_number(number) is not None)
        return replace(change, gone_annotations=tuple(ids))
    if hook.action == "TASKS_DELETED":
        ids = (task.id for task in hook.tasks if task.id is not None)
        return replace(change, gone_tasks=tuple(ids))
    return replace(change, project_gone=hook.action == "PROJECT_DELETED")


def _saved(body: Mapping[str, Any], config: LabelConfig | None) -> Iterator[Annotation]:
    """The annotations of a body with one of them and its task, or with lists of both."""
    tasks = {task_number(task.get("id")): task for task in _objects(body.get("task"))}
    for raw in _objects(body.get("annotation")):
        named = task_number(raw.get("task"))
        task = tasks.get(named) or (next(iter(tasks.values())) if len(tasks) == 1 else {})
        number = named if named is not None else task_number(task.get("id"))
        annotation = read_annotation(raw, number, task.get("data"), config)
        if annotation is not None:
            yield annotation


def _known_first(regions: tuple[Region, ...], config: LabelConfig | None) -> tuple[Region, ...]:
    """Of several labels of a region, those that the config knows come first."""
    brushes = [brush for image in config.images for brush in image.brushes] if config else []

    def unknown(label: str) -> bool:
        return not any(brush.label(label) for brush in brushes)

    return tuple(replace(r, labels=tuple(sorted(r.labels, key=unknown))) for r in regions)


def _objects(raw: object) -> list[Mapping[str, Any]]:
    several = raw if isinstance(raw, list) else [raw]
    return [one for one in several if isinstance(one, Mapping)]


def _digest(annotation: Annotation) -> str:
    """Identifies what the annotation says about samples."""
    content = {
        name: getattr(annotation, name)
        for name in (
            *("id", "task_id", "updated_at", "created_at", "annotator"),
            *("skipped", "ground_truth", "addresses", "left_out"),
        )
    }
    content["regions"] = [
        [r.id, r.control, r.image, r.labels, r.origin, r.width, r.height, r.rle]
        + ([r.touches] if r.touches else [])
        + ([r.outlines] if r.outlines else [])
        for r in annotation.masks
    ]
    text = json.dumps(content, sort_keys=True, default=str)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _address(config: LabelConfig | None, image: str, data: object) -> str:
    if config is None or not isinstance(data, Mapping):
        return ""
    named = next((one for one in config.images if one.name == image), None)
    return clean(named.address(data)) if named is not None else ""


def _user(raw: object) -> int | None:
    """Label Studio names a user by number or, in some answers, as an object."""
    return whole_number(raw.get("id") if isinstance(raw, Mapping) else raw)


def _owner(raw: Mapping[str, Any], annotator: int | None) -> str:
    """Label Studio writes "ann@example.com, 7" beside the user's number, or names an object."""
    by = raw.get("completed_by")
    if isinstance(by, Mapping):
        return clean(by.get("email")).strip()[:_MAX_OWNER]
    name, comma, number = clean(raw.get("created_username")).strip().rpartition(",")
    fits = comma and number.strip() == str(annotator)
    return name.strip()[:_MAX_OWNER] if fits else ""


# -- numbers


def finite_number(raw: object) -> float | None:
    """A number of JSON; None for anything else, and for what no float can hold."""
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    try:
        number = float(raw)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _seconds(raw: object) -> float | None:
    number = finite_number(raw)
    return number if number is not None and 0 <= number < _MAX_SECONDS else None


def _side(raw: object) -> int | None:
    """Pixels; some scripts write 320.0."""
    number = whole_number(raw)
    return number if number is not None and 0 < number <= _MAX_SIDE else None
