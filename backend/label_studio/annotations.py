"""An annotation as Label Studio tells it, by webhook or API, understood as far as samples need it.

Nothing here depends on when or in which order it is told: the same annotation gives the same
``Annotation``. Its masks stay unread until it is clear that this version is wanted. What a label
means in the project's config of the day is a matter for whoever reads the samples.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from backend.db.packed_mask import PackedMask
from backend.errors import RequestError
from backend.label_studio import rle
from backend.label_studio.config import LabelConfig
from backend.label_studio.payloads import MAX_ITEMS, Project, WebhookRequest, clean, moment

# A draft counts about an object only when it was saved this long after the answer: the page needs
# up to 0.7 s for each large mask to draw an answer, and clocks of two machines differ.
DRAFT_MARGIN = timedelta(seconds=5)

# Why a region is no sample. Counted, and shown by ``phraseclick samples``.
EMPTY = "empty mask"
UNREADABLE = "unreadable mask"
ROTATED = "drawn on a rotated picture"
OTHER_SHAPE = "other shape than a brush mask"

_BRUSHES = frozenset({"brush", "brushlabels"})
_SHAPES = frozenset(
    name
    for shape in ("rectangle", "ellipse", "polygon", "vector", "bitmask", "cuboid")
    for name in (shape, f"{shape}labels")
)
_SAVED = frozenset({"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED"})
_MAX_ID = 128
_MAX_SIDE = 100_000
_MAX_NUMBER = 2**63
_MAX_OWNER = 254
_MAX_SECONDS = 1e9


@dataclass(frozen=True)
class Region:
    """A brush region as it was sent; ``rle`` is unread."""

    id: str
    image: str  # the name of its <Image>
    brush: str
    label: str  # as written into the result; '' for a plain <Brush>
    origin: str  # manual, prediction, prediction-changed
    width: int
    height: int
    rle: Any


@dataclass(frozen=True)
class Annotation:
    """One version of an annotation. ``digest`` names all that it says."""

    id: int
    task_id: int
    updated_at: datetime
    created_at: datetime | None
    annotator: int | None
    skipped: bool
    ground_truth: bool
    regions: tuple[Region, ...]
    addresses: Mapping[str, str]  # image -> the picture's address; '' where it is not known
    left_out: Mapping[str, int]  # reason -> regions that are none without a look at their mask
    digest: str
    # Of how it was made, not of what it says: neither digest nor comparison knows them.
    lead_time: float | None = field(default=None, compare=False)  # Label Studio's own seconds
    owner: str = field(default="", compare=False)  # its maker as drafts name a user; '': untold

    def drawn(self) -> tuple[list[tuple[Region, PackedMask, int]], dict[str, int]]:
        """Its regions with mask and area in pixels; and the count of those left out, by reason."""
        drawn, left_out = [], Counter(self.left_out)
        for region in self.regions:
            try:
                mask = rle.decode(region.rle, region.width, region.height)
            except RequestError:
                left_out[UNREADABLE] += 1
                continue
            area = int(mask.sum())
            if area:
                drawn.append((region, PackedMask.pack(mask), area))
            else:
                left_out[EMPTY] += 1
        return drawn, dict(left_out)


@dataclass(frozen=True)
class News:
    """What one delivery says of accepted labels."""

    project: Project
    annotations: tuple[Annotation, ...] = ()
    gone_annotations: tuple[int, ...] = ()
    gone_tasks: tuple[int, ...] = ()
    project_gone: bool = False
    label_config: str = ""
    config_at: datetime | None = None  # when the project was last changed


def read_news(hook: WebhookRequest, body: Mapping[str, Any], config: LabelConfig | None) -> News:
    """The news in a webhook's body. ``config`` is its labeling config, None where it is none that
    this backend can serve."""
    raw = body.get("project")
    news = News(
        hook.project,
        label_config=hook.label_config,
        config_at=moment(raw.get("updated_at")) if isinstance(raw, Mapping) else None,
    )
    if hook.action in _SAVED:
        return replace(news, annotations=tuple(_saved(body, config)))
    if hook.action in ("ANNOTATIONS_DELETED", "ANNOTATION_DELETED"):
        ids = (number for number in hook.annotation_ids if _number(number) is not None)
        return replace(news, gone_annotations=tuple(ids))
    if hook.action == "TASKS_DELETED":
        ids = (task.id for task in hook.tasks if task.id is not None)
        return replace(news, gone_tasks=tuple(ids))
    return replace(news, project_gone=hook.action == "PROJECT_DELETED")


def read_annotation(
    raw: object, task_id: int | None, data: object, config: LabelConfig | None
) -> Annotation | None:
    """One annotation of a task with this data; None where it has no id, task or time."""
    if not isinstance(raw, Mapping):
        return None
    number, task = _number(raw.get("id")), _number(task_id)
    updated = moment(raw.get("updated_at"))
    if number is None or task is None or updated is None:
        return None
    skipped = raw.get("was_cancelled") is True
    result = raw.get("result")
    items = list(result)[:MAX_ITEMS] if isinstance(result, list) and not skipped else []
    regions, left_out = _regions(items)
    annotation = Annotation(
        id=number,
        task_id=task,
        updated_at=updated,
        created_at=moment(raw.get("created_at")),
        annotator=_user(raw.get("completed_by")),
        skipped=skipped,
        ground_truth=raw.get("ground_truth") is True,
        regions=regions,
        addresses={name: _address(config, name, data) for name in {r.image for r in regions}},
        left_out=left_out,
        digest="",
    )
    told = {**vars(annotation), "regions": [vars(region) for region in regions]}
    for name in ("lead_time", "owner"):
        del told[name]
    digest = blake2b(json.dumps(told, sort_keys=True, default=str).encode(), digest_size=16)
    return replace(
        annotation,
        digest=digest.hexdigest(),
        lead_time=_seconds(raw.get("lead_time")),
        owner=_owner(raw, annotation.annotator),
    )


def _saved(body: Mapping[str, Any], config: LabelConfig | None) -> Iterator[Annotation]:
    """The annotations of a body with one of them and its task, or with lists of both."""
    tasks = {task.get("id"): task for task in _objects(body.get("task"))}
    for raw in _objects(body.get("annotation")):
        named = raw.get("task")
        task = tasks.get(named) or (next(iter(tasks.values())) if len(tasks) == 1 else {})
        number = _number(named) or _number(task.get("id"))
        annotation = read_annotation(raw, number, task.get("data"), config)
        if annotation is not None:
            yield annotation


def _objects(raw: object) -> list[Mapping[str, Any]]:
    several = raw if isinstance(raw, list) else [raw]
    return [each for each in several if isinstance(each, Mapping)]


def _regions(items: list[Any]) -> tuple[tuple[Region, ...], dict[str, int]]:
    """Brush masks by what they hold, not by type alone: a click's ghost is no mask, and neither is
    a mask's ghost under the key points. Of a region that comes twice the last one counts."""
    found: dict[tuple[str, str], Region] = {}
    left_out: Counter[str] = Counter()
    for item in items:
        value = item.get("value") if isinstance(item, Mapping) else None
        if not isinstance(value, Mapping):
            continue
        if item.get("type") in _SHAPES:
            left_out[OTHER_SHAPE] += 1
        elif item.get("type") in _BRUSHES and "rle" in value:
            region = _region(item, value)
            if region is None:
                left_out[UNREADABLE] += 1
            elif item.get("image_rotation"):
                left_out[ROTATED] += 1
            else:
                found[region.brush, region.id] = region
    return tuple(found.values()), dict(left_out)


def _region(item: Mapping[str, Any], value: Mapping[str, Any]) -> Region | None:
    width, height = _side(item.get("original_width")), _side(item.get("original_height"))
    identity = clean(item.get("id"))[:_MAX_ID]
    image = clean(item.get("to_name"))[:_MAX_ID]
    if width is None or height is None or not identity or not image:
        return None
    labels = value.get("brushlabels")
    label = (
        next((each for each in labels if isinstance(each, str)), "")
        if (isinstance(labels, list))
        else ""
    )
    return Region(
        id=identity,
        image=image,
        brush=clean(item.get("from_name")),
        label=clean(label),
        origin=clean(item.get("origin"))[:32],
        width=width,
        height=height,
        rle=value["rle"],
    )


def _address(config: LabelConfig | None, image: str, data: object) -> str:
    if config is None or not isinstance(data, Mapping):
        return ""
    named = next((each for each in config.images if each.name == image), None)
    return clean(named.address(data)) if named is not None else ""


def _user(raw: object) -> int | None:
    """Label Studio names a user by number or, in some answers, as an object."""
    return _number(raw.get("id") if isinstance(raw, Mapping) else raw)


def _owner(raw: Mapping[str, Any], annotator: int | None) -> str:
    """Label Studio writes "ann@example.com, 7" beside the user's number, or names an object."""
    by = raw.get("completed_by")
    if isinstance(by, Mapping):
        return clean(by.get("email")).strip()[:_MAX_OWNER]
    name, comma, number = clean(raw.get("created_username")).strip().rpartition(",")
    fits = comma and number.strip() == str(annotator)
    return name.strip()[:_MAX_OWNER] if fits else ""


def _seconds(raw: object) -> float | None:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    return float(raw) if 0 <= raw < _MAX_SECONDS else None


def _number(raw: object) -> int | None:
    if isinstance(raw, bool) or not isinstance(raw, int):
        return None
    return raw if 0 <= raw < _MAX_NUMBER else None


def _side(raw: object) -> int | None:
    number = _number(raw)
    return number if number is not None and 0 < number <= _MAX_SIDE else None
