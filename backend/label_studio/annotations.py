"""Annotations as Label Studio sends them, and what a webhook changes about them.

Nothing here depends on when or in which order things arrive: the same annotation always gives the
same :class:`Annotation`.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import blake2b
from typing import Any

from backend.errors import RequestError
from backend.label_studio.controls import LabelConfig
from backend.label_studio.payloads import Project, WebhookRequest, clean, moment, whole_number
from backend.label_studio.regions import Region, finite_number, parse_result
from backend.label_studio.rle import PackedMask

# What a draft lacks says something about an object only if it was saved this long after the answer.
# The page saves five seconds after the first of several changes, so a click that was undone or
# rejected at once is in no later draft. A point stays in drafts until its answer is drawn.
DRAFT_MARGIN = timedelta(seconds=2)

# Why a region is no sample. Counted, and shown by ``phraseclick samples``.
EMPTY = "empty mask"
UNREADABLE = "unreadable mask"
OTHER_SHAPE = "other shape than a brush mask or polygon"

_OTHER_SHAPES = frozenset(
    name
    for shape in ("rectangle", "ellipse", "polygon", "vector", "bitmask", "cuboid")
    for name in (shape, f"{shape}labels")
)
_SAVED = frozenset({"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED"})
DELETED = frozenset({"ANNOTATIONS_DELETED", "ANNOTATION_DELETED"})
_MAX_OWNER = 254
# Processor time for the masks of one annotation: those of hundreds of objects on a large picture
# take some 20 s. The labels of others wait.
_DECODING_S = 120.0
_MAX_SECONDS = 1e9


@dataclass(frozen=True)
class Annotation:
    id: int
    task_id: int
    updated_at: datetime
    created_at: datetime | None
    annotator: int | None
    skipped: bool
    ground_truth: bool
    regions: tuple[Region, ...]  # all of them: masks, clicks, phrases; none if skipped
    addresses: Mapping[str, str]  # image -> the picture's address; '' if unknown
    # How it was made, not what it says: neither digest nor comparison includes these.
    lead_time: float | None = field(default=None, compare=False)  # Label Studio's own seconds
    owner: str = field(default="", compare=False)  # the annotator as drafts name a user
    draft_created_at: datetime | None = field(default=None, compare=False)
    data: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)  # the task's

    @cached_property
    def digest(self) -> str:
        """Identifies what the annotation says about samples."""
        names = (
            *("id", "task_id", "updated_at", "created_at", "annotator"),
            *("skipped", "ground_truth", "addresses", "left_out"),
        )
        content = {name: getattr(self, name) for name in names}
        content["regions"] = [
            [r.id, r.control, r.image, r.labels, r.origin, r.width, r.height, r.rle]
            + ([r.touches] if r.touches else [])
            + ([r.outlines] if r.outlines else [])
            + ([r.mask_image] if r.mask_image else [])
            for r in self.masks
        ]
        text = json.dumps(content, sort_keys=True, default=str)
        return blake2b(text.encode(), digest_size=16).hexdigest()

    @property
    def masks(self) -> tuple[Region, ...]:
        """Brush regions with a mask that may be decoded."""
        return tuple(region for region in self.regions if region.complete)

    @property
    def left_out(self) -> dict[str, int]:
        """Reason -> regions that cannot be samples, as far as is known without decoding."""
        counts: Counter[str] = Counter()
        for region in self.regions:
            if region.type in _OTHER_SHAPES and not region.has_mask:
                counts[OTHER_SHAPE] += 1
            elif region.has_mask and not region.complete:
                counts[UNREADABLE] += 1
        return dict(counts)

    def decode_masks(self) -> tuple[list[tuple[Region, PackedMask, int]], dict[str, int]]:
        """Regions with mask and area in pixels; and the number of those left out, by reason."""
        decoded, left_out = [], Counter(self.left_out)
        ends = time.thread_time() + _DECODING_S
        for region in self.masks:
            try:
                if time.thread_time() > ends:
                    raise RequestError("The masks before this one took too long.")
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
    images = {image.name: image for image in config.of_saved(data).images} if config else {}
    brushes = [brush for image in images.values() for brush in image.brushes]
    data = data if isinstance(data, Mapping) else {}

    def unknown(label: str) -> bool:
        return not any(brush.label(label) for brush in brushes)

    regions = tuple(
        # Of several labels of a region, those that the config knows come first.
        replace(region, labels=tuple(sorted(region.labels, key=unknown)))
        for region in (() if skipped else parse_result(raw.get("result")))
    )
    addresses = dict.fromkeys((region.image for region in regions if region.complete), "")
    for name in addresses.keys() & images.keys():
        addresses[name] = clean(images[name].address(data))
    annotator, owner = _user(raw)
    lead_time = finite_number(raw.get("lead_time"))
    return Annotation(
        id=number,
        task_id=task,
        updated_at=updated,
        created_at=moment(raw.get("created_at")),
        annotator=annotator,
        skipped=skipped,
        ground_truth=raw.get("ground_truth") is True,
        regions=regions,
        addresses=addresses,
        lead_time=lead_time if lead_time is not None and 0 <= lead_time < _MAX_SECONDS else None,
        owner=owner,
        draft_created_at=moment(raw.get("draft_created_at")),
        data=data,
    )


def read_label_change(hook: WebhookRequest, config: LabelConfig | None) -> LabelChange:
    """What a webhook says about labels. ``config``: see :func:`read_annotation`."""
    tasks = hook.tasks if hook.action == "TASKS_DELETED" else ()
    return LabelChange(
        hook.project,
        annotations=tuple(_saved(hook, config)) if hook.action in _SAVED else (),
        gone_annotations=hook.annotation_ids if hook.action in DELETED else (),
        gone_tasks=tuple(task.id for task in tasks if task.id is not None),
        project_gone=hook.action == "PROJECT_DELETED",
        label_config=hook.label_config,
        config_at=hook.changed_at,
    )


def _saved(hook: WebhookRequest, config: LabelConfig | None) -> Iterator[Annotation]:
    """The annotations of a webhook with one of them and its task, or with lists of both."""
    tasks = {task.id: task for task in hook.tasks}
    for raw in hook.annotations:
        number = whole_number(raw.get("task"))
        task = tasks.get(number) or (hook.tasks[0] if len(tasks) == 1 else None)
        if number is None and task is not None:
            number = task.id
        annotation = read_annotation(raw, number, task.data if task else {}, config)
        if annotation is not None:
            yield annotation


def _user(raw: Mapping[str, Any]) -> tuple[int | None, str]:
    """The annotator's number and e-mail address.

    Label Studio names a user by number, with "ann@example.com, 7" beside it, or as an object.
    """
    by = raw.get("completed_by")
    if isinstance(by, Mapping):
        return whole_number(by.get("id")), clean(by.get("email")).strip()[:_MAX_OWNER]
    annotator = whole_number(by)
    name, _, number = clean(raw.get("created_username")).strip().rpartition(",")
    return annotator, name.strip()[:_MAX_OWNER] if number.strip() == str(annotator) else ""
