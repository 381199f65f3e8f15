"""What reports contain: the cost of an object, a task or a group of objects, and mask quality.

These classes are the only definition of each record. The JSON of the API and of files, the OpenAPI
schema and the columns of CSV and Parquet are derived from them, so their field names are a public
contract.

Counts of a task come from the event log, so they are always numbers. Figures that need an accepted
mask, or a log that recorded how a region was made, are None where they are unknown, never a guess.
Times are UTC.
"""

import dataclasses
from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar, get_args, get_type_hints

from pydantic import Field, computed_field
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from backend.db.packed_mask import PackedMask

T = TypeVar("T")

By = Literal["project", "version", "label", "annotator", "week", "phrase"]
BYS: tuple[By, ...] = ("project", "version", "label", "annotator", "week", "phrase")

# Bins of a histogram: 0, 1, … 19 interactions, and 20 or more.
MOST = 20

SizeClass = Literal["small", "medium", "large", "unknown"]
# Objects below the first share of the image's pixels are small, from the second on large. *choice*
SIZES: tuple[SizeClass, ...] = ("small", "medium", "large")
SIZE_BOUNDS = (0.01, 0.1)


def size_class(area: int | None, pixels: int | None) -> SizeClass:
    """How large an object is in its image. area, pixels: of the object and of the image."""
    if not area or not pixels:
        return "unknown"
    return SIZES[bisect_right(SIZE_BOUNDS, area / pixels)]


@dataclass(frozen=True)
class ReportFilter:
    """Filters of a report. ``since`` (inclusive) and ``until`` (exclusive) apply to the submit."""

    since: datetime | None = None
    until: datetime | None = None
    version: str | None = None
    label: str | None = None
    annotator: int | None = None
    phrase: bool | None = None
    tasks: Annotated[tuple[int, ...] | None, Field(exclude=True)] = None

    @property
    def picks_regions(self) -> bool:
        """Whether a filter applies to something that only accepted regions have."""
        return (self.version, self.label, self.annotator, self.phrase) != (None,) * 4


@dataclasses.dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list; pages count from 1."""

    items: tuple[T, ...]
    total: int
    page: int
    size: int

    @property
    def pages(self) -> int:
        """Number of pages; at least one."""
        return max(1, -(-self.total // self.size))


@dataclass(frozen=True)
class Interval:
    """A mean of n values with its 95 % interval; no bounds for values from fewer than 5 tasks."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Distribution:
    """Median and mean of some values."""

    median: float
    mean: Interval


def about(record: type) -> dict[str, str]:
    """The descriptions of a record's fields, which the dashboard shows at its columns."""
    hints = get_type_hints(record, include_extras=True)
    fields = (
        (name, next((extra for extra in get_args(hint)[1:] if isinstance(extra, FieldInfo)), None))
        for name, hint in hints.items()
    )
    return {name: (field.description or "") if field else "" for name, field in fields}


@dataclass(frozen=True)
class RegionCost:
    """An accepted region: what it cost, and how well the model did.

    ``known`` is false if the log did not record how the region was made: it was drawn by hand,
    accepted from a prediction, or is older than this backend. All figures from the log are null
    then.
    """

    task: int
    annotation: int
    region: str
    brush: str
    label: str
    annotator: int | None
    annotator_name: str
    version: Annotated[str, Field(description="Model version it was made with.")]
    known: bool
    origin: Annotated[
        str, Field(description="From Label Studio: manual, prediction, prediction-changed.")
    ]
    positive: int | None
    negative: int | None
    phrases: int | None
    boxes: int | None
    undos: int | None
    predictions: Annotated[int | None, Field(description="Masks that were served.")]
    interactions: Annotated[
        int | None, Field(description="Clicks, phrases and boxes until it was accepted.")
    ]
    phrase: Annotated[str, Field(description="The phrase it was made with; empty for none.")]
    first_at: datetime | None
    accepted_at: datetime | None
    submitted_at: datetime | None
    seconds: Annotated[
        float | None,
        Field(description="From the first interaction to the submit; long pauses are cut."),
    ]
    area: Annotated[int | None, Field(description="Pixels of the accepted mask.")]
    pixels: Annotated[int | None, Field(description="Pixels of the image.")]
    size: SizeClass
    first_iou: Annotated[
        float | None, Field(description="IoU of the first served mask with the accepted mask.")
    ]
    last_iou: float | None
    ious: Annotated[tuple[float | None, ...], Field(description="IoU after each interaction.")]
    needed_85: Annotated[
        int | None, Field(description="Interactions to 85 % IoU; null: never, or unknown.")
    ]
    corrected: Annotated[int | None, Field(description="Pixels edited by hand afterwards.")]
    without_click: Annotated[
        bool | None,
        Field(
            description="Whether it was accepted without a click: a prediction as it was, or words "
            "alone. null: not known how it was made."
        ),
    ]


@dataclass(frozen=True)
class TaskCost:
    """A task: all its interactions, those on accepted regions and the unused ones.

    Means over regions use the known ones. ``known``: the task has regions, and the log recorded how
    each of them was made.
    """

    task: Annotated[int, Field(description="Number of the task in Label Studio.")]
    positive: Annotated[int, Field(description="Clicks that add to an object.")]
    negative: Annotated[int, Field(description="Clicks that remove a part.")]
    phrases: Annotated[int, Field(description="Phrases that were typed.")]
    boxes: Annotated[int, Field(description="Boxes that were drawn as prompts.")]
    undos: Annotated[int, Field(description="Clicks that were taken back.")]
    predictions: Annotated[int, Field(description="Masks that were served.")]
    interactions: Annotated[
        int, Field(description="Clicks, phrases and boxes, on unused objects too.")
    ]
    abandoned: Annotated[
        int, Field(description="Of the interactions: on objects that nobody accepted.")
    ]
    per_object: Annotated[
        float | None, Field(description="Interactions per accepted region, unused ones included.")
    ]
    seconds: Annotated[
        float | None,
        Field(
            description="First interaction to submit without long pauses, summed over the "
            "annotations."
        ),
    ]
    lead_time: Annotated[
        float | None, Field(description="Seconds as Label Studio measured them, summed.")
    ]
    first_iou: Annotated[
        float | None, Field(description="IoU of the first mask with the accepted one; mean.")
    ]
    last_iou: Annotated[
        float | None,
        Field(description="IoU of the last mask, before edits by hand, with the accepted one."),
    ]
    needed_85: Annotated[
        float | None,
        Field(
            description="Interactions to 85 % IoU: mean; null if any known region never reached it."
        ),
    ]
    corrected: Annotated[int | None, Field(description="Pixels edited by hand afterwards.")]
    objects: Annotated[int, Field(description="Accepted regions.")]
    unknown: Annotated[int, Field(description="Of these: not known how they were made.")]
    known: bool
    versions: tuple[str, ...]
    labels: tuple[str, ...]
    annotators: tuple[int, ...]
    phrase: Annotated[bool, Field(description="Whether any region was made with a phrase.")]
    last_at: Annotated[datetime | None, Field(description="Last interaction or submit.")]


@dataclass(frozen=True)
class TaskWithRegions(TaskCost):
    """One task and its accepted regions."""

    regions: tuple[RegionCost, ...]


@dataclass(frozen=True)
class GroupCost:
    """Accepted regions with something in common. All but ``unknown`` and ``without_click`` is about
    the known ones."""

    name: Annotated[
        str,
        Field(description="Version, label, week's Monday, annotator's number, phrase or clicks."),
    ]
    title: str
    n: Annotated[int, Field(description="Accepted regions that are known how they were made.")]
    unknown: Annotated[int, Field(description="Regions not known how they were made.")]
    tasks: Annotated[int, Field(description="Tasks that these regions are in.")]
    clicks: Annotated[
        Distribution | None, Field(description="Interactions per region, phrases included.")
    ]
    seconds: Annotated[
        Distribution | None,
        Field(description="First interaction to submit, in seconds, without long pauses."),
    ]
    one: Annotated[Interval | None, Field(description="Share of regions done in one interaction.")]
    without_click: Annotated[
        Interval | None,
        Field(
            description="Share of regions accepted without a click: predictions as they were, or "
            "made by words alone. Of all known regions, and of those that began as a prediction."
        ),
    ]
    first_iou: Annotated[
        Interval | None, Field(description="IoU of the first mask with the accepted one.")
    ]
    last_iou: Annotated[
        Interval | None,
        Field(description="IoU of the last mask, before edits by hand, with the accepted one."),
    ]
    needed_85: Annotated[
        Interval | None,
        Field(description="Interactions to 85 % IoU, of the regions that reached it."),
    ]
    corrected: Annotated[
        Distribution | None, Field(description="Pixels edited by hand afterwards.")
    ]
    histogram: Annotated[
        tuple[int, ...],
        Field(description="Number of regions by interactions: 0, 1, … and 20 or more."),
    ] = (0,) * (MOST + 1)


@dataclass(frozen=True)
class WithoutMask:
    """An annotation that was submitted, not skipped, and has no region of any kind.

    Label Studio stores a submit even if a suggestion on the page was not accepted.
    """

    task: int
    annotation: int
    annotator: int | None
    annotator_name: str
    submitted_at: datetime | None


@dataclass(frozen=True)
class Week:
    """Interactions per object in one week (from Monday, UTC)."""

    begins: datetime
    n: int
    clicks: Interval


@dataclass(frozen=True)
class PromotionMark:
    """A promotion or a rollback."""

    id: int
    at: datetime
    kind: Literal["promotion", "rollback"]
    version: Annotated[
        str, Field(description="The version that serves since; empty: the configured checkpoint.")
    ]
    before: str
    who: str
    why: str


@dataclass(frozen=True)
class OverTime:
    """A project's weeks, oldest first, and its promotions."""

    weeks: tuple[Week, ...]
    promotions: tuple[PromotionMark, ...]


@dataclass(frozen=True)
class Stratum:
    """Objects of one label and size class before and after a promotion; mean interactions."""

    label: str
    size: SizeClass
    n_before: int
    n_after: int
    before: float
    after: float


@dataclass(frozen=True)
class BeforeAfter:
    """What a promotion changed, within the same label and size class.

    Compares objects begun between the previous promotion and this one with objects begun before the
    next one. ``difference`` is after minus before over the strata that both have, each weighted by
    its numbers; null if there is none.
    """

    promotion: PromotionMark
    n_before: int
    n_after: int
    matched_before: int
    matched_after: int
    before: float | None
    after: float | None
    difference: Interval | None
    strata: tuple[Stratum, ...]

    @computed_field(  # type: ignore[prop-decorator]
        description="Whether clicks fell; null where that is not significant."
    )
    @property
    def fell(self) -> bool | None:
        """Whether the whole interval lies below zero; None if it contains zero."""
        change = self.difference
        if change is None or change.low is None or change.high is None:
            return None
        return None if change.low <= 0 <= change.high else change.high < 0


@dataclasses.dataclass(frozen=True)
class ServedStep:
    """One event in the making of a region, and the mask it led to.

    ``kind`` is the log's: positive_click, negative_click, phrase, undo, redo, accept, … ``iou`` is
    that of the mask with the accepted one. ``mask`` is None if none was served or it has expired.
    """

    event: int
    at: datetime
    kind: str
    x_percent: float | None
    y_percent: float | None
    text: str
    owner: str
    milliseconds: float | None
    version: str
    error: str
    iou: float | None
    mask: PackedMask | None


@dataclass(frozen=True)
class ProjectSummary:
    """A project at a glance."""

    key: str
    project_id: int
    title: str
    champion: Annotated[str, Field(description="Empty: the configured checkpoint serves.")]
    labels: tuple[str, ...]
    tasks: int
    regions: int
    unknown: int
    interactions: Annotated[int, Field(description="All in the event log.")]
    abandoned: int
    clicks: Annotated[Interval | None, Field(description="Interactions per known region.")]
    last_at: datetime | None


@dataclass(frozen=True)
class Reconciliation:
    """Whether the figures agree: sums over tasks, event log, annotations."""

    tasks: Annotated[
        Mapping[str, int],
        Field(description="Sums over tasks of positive, negative, phrases, boxes and undos."),
    ]
    log: Mapping[str, int]
    regions: Annotated[int, Field(description="Regions with costs.")]
    annotations: Annotated[int, Field(description="Regions in annotations.")]
    differences: Annotated[tuple[str, ...], Field(description="What differs, in sentences.")] = ()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not self.differences
