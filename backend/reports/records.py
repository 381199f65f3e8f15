"""What reports contain: the cost of an object, a task or a group of objects, and mask quality.

These classes are the only definition of each record. The JSON of the API and of files, the OpenAPI
schema, the columns of CSV and Parquet and their explanations on the dashboard are derived from
them, so their field names are a public contract.

Counts of a task come from the event log, so they are always numbers. Figures that need an accepted
mask, or a log that recorded how a region was made, are None where they are unknown, never a guess.
Times are UTC.
"""

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar, get_args

from pydantic import ConfigDict, Field, computed_field
from pydantic.dataclasses import dataclass, is_pydantic_dataclass

from backend.db.models import EventRow
from backend.label_studio.rle import PackedMask

T = TypeVar("T")

By = Literal["project", "version", "label", "annotator", "week", "phrase"]
BYS: tuple[By, ...] = get_args(By)

# Bins of a histogram: 0, 1, … 19 interactions, and 20 or more.
MOST = 20

SizeClass = Literal["small", "medium", "large", "unknown"]
SIZES: tuple[SizeClass, ...] = get_args(SizeClass)
# Objects below the first share of the image's pixels are small, from the second on large. *choice*
SIZE_BOUNDS = (0.01, 0.1)

# The text below a field describes it.
_DESCRIBED = ConfigDict(use_attribute_docstrings=True)


def about(record: type) -> dict[str, str]:
    """The descriptions of a record's fields, which the dashboard shows at its columns."""
    assert is_pydantic_dataclass(record)
    return {name: field.description or "" for name, field in record.__pydantic_fields__.items()}


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

    @property
    def verdict(self) -> str:
        """Of a change in interactions: better, worse, or '' where it is not significant."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return ""
        return "better" if self.high < 0 else "worse"


@dataclass(frozen=True)
class Distribution:
    """Median and mean of some values."""

    median: float
    mean: Interval


@dataclass(frozen=True, config=_DESCRIBED)
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
    version: str
    """Model version it was made with."""
    known: bool
    origin: str
    """From Label Studio: manual, prediction, prediction-changed."""
    positive: int | None
    negative: int | None
    phrases: int | None
    boxes: int | None
    undos: int | None
    predictions: int | None
    """Masks that were served."""
    interactions: int | None
    """Clicks, phrases and boxes until it was accepted."""
    phrase: str
    """The phrase it was made with; empty for none."""
    first_at: datetime | None
    accepted_at: datetime | None
    submitted_at: datetime | None
    seconds: float | None
    """From the first interaction to the submit; long pauses are cut."""
    area: int | None
    """Pixels of the accepted mask."""
    pixels: int | None
    """Pixels of the image."""
    size: SizeClass
    first_iou: float | None
    """IoU of the first served mask with the accepted mask."""
    last_iou: float | None
    ious: tuple[float | None, ...]
    """IoU after each interaction."""
    needed_85: int | None
    """Interactions to 85 % IoU; null: never, or unknown."""
    corrected: int | None
    """Pixels edited by hand afterwards."""
    without_click: bool | None
    """Whether it took no click or box: a prediction as it was, or words alone. null: unknown."""


@dataclass(frozen=True, config=_DESCRIBED)
class TaskCost:
    """A task: all its interactions, those on accepted regions and the unused ones.

    Means over regions use the known ones. ``known``: the task has regions, and the log recorded how
    each of them was made.
    """

    task: int
    """Number of the task in Label Studio."""
    positive: int
    """Clicks that add to an object."""
    negative: int
    """Clicks that remove a part."""
    phrases: int
    """Phrases that were typed."""
    boxes: int
    """Boxes that were drawn as prompts."""
    undos: int
    """Clicks that were taken back."""
    predictions: int
    """Masks that were served."""
    interactions: int
    """Clicks, phrases and boxes, on unused objects too."""
    abandoned: int
    """Of the interactions: on objects that nobody accepted."""
    per_object: float | None
    """Interactions per accepted region, unused ones included."""
    seconds: float | None
    """First interaction to submit without long pauses, summed over the annotations."""
    lead_time: float | None
    """Seconds as Label Studio measured them, summed."""
    first_iou: float | None
    """IoU of the first mask with the accepted one; mean."""
    last_iou: float | None
    """IoU of the last mask, before edits by hand, with the accepted one."""
    needed_85: float | None
    """Interactions to 85 % IoU: mean; null if any known region never reached it."""
    corrected: int | None
    """Pixels edited by hand afterwards."""
    objects: int
    """Accepted regions."""
    unknown: int
    """Of these: not known how they were made."""
    known: bool
    versions: tuple[str, ...]
    labels: tuple[str, ...]
    annotators: tuple[int, ...]
    phrase: bool
    """Whether any region was made with a phrase."""
    last_at: datetime | None
    """Last interaction or submit."""


@dataclass(frozen=True)
class TaskWithRegions(TaskCost):
    """One task and its accepted regions."""

    regions: tuple[RegionCost, ...]


@dataclass(frozen=True, config=_DESCRIBED)
class GroupCost:
    """Accepted regions with something in common. All but ``unknown`` and ``without_click`` is about
    the known ones."""

    name: str
    """Version, label, week's Monday, annotator's number, phrase or clicks."""
    title: str
    n: int
    """Accepted regions that are known how they were made."""
    unknown: int
    """Regions not known how they were made."""
    tasks: int
    """Tasks that these regions are in."""
    clicks: Distribution | None
    """Interactions per region, phrases included."""
    seconds: Distribution | None
    """First interaction to submit, in seconds, without long pauses."""
    one: Interval | None
    """Share of regions done in one interaction."""
    without_click: Interval | None
    """Share accepted without a click: predictions as they were, or made by words alone."""
    first_iou: Interval | None
    """IoU of the first mask with the accepted one."""
    last_iou: Interval | None
    """IoU of the last mask, before edits by hand, with the accepted one."""
    needed_85: Interval | None
    """Interactions to 85 % IoU, of the regions that reached it."""
    corrected: Distribution | None
    """Pixels edited by hand afterwards."""
    histogram: tuple[int, ...] = (0,) * (MOST + 1)
    """Number of regions by interactions: 0, 1, … and 20 or more."""


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


@dataclass(frozen=True, config=_DESCRIBED)
class PromotionMark:
    """A promotion or a rollback."""

    id: int
    at: datetime
    kind: Literal["promotion", "rollback"]
    version: str
    """The version that serves since; empty: the configured checkpoint."""
    before: str
    who: str
    why: str


@dataclasses.dataclass(frozen=True)
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

    @computed_field  # type: ignore[prop-decorator]
    @property
    def fell(self) -> bool | None:
        """Whether clicks fell; null where that is not significant."""
        verdict = self.difference.verdict if self.difference else ""
        return verdict == "better" if verdict else None


@dataclasses.dataclass(frozen=True)
class ServedStep:
    """One event in the making of a region, and the mask it led to.

    ``iou`` is that of the mask with the accepted one. ``mask`` is None if none was served or it has
    expired.
    """

    event: EventRow
    iou: float | None
    mask: PackedMask | None


@dataclass(frozen=True, config=_DESCRIBED)
class ProjectSummary:
    """A project at a glance."""

    key: str
    project_id: int
    title: str
    champion: str
    """Empty: the configured checkpoint serves."""
    labels: tuple[str, ...]
    tasks: int
    regions: int
    unknown: int
    interactions: int
    """All in the event log."""
    abandoned: int
    clicks: Interval | None
    """Interactions per known region."""
    last_at: datetime | None


@dataclass(frozen=True, config=_DESCRIBED)
class Reconciliation:
    """Whether the figures agree: sums over tasks, event log, annotations."""

    tasks: Mapping[str, int]
    """Sums over tasks of positive, negative, phrases, boxes and undos."""
    log: Mapping[str, int]
    regions: int
    """Regions with costs."""
    annotations: int
    """Regions in annotations."""
    differences: tuple[str, ...] = ()
    """What differs, in sentences."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not self.differences
