"""What reports tell: what an object, a task or a group of objects had cost, and how well it went.

Counts of a task are the event log's, so they are always numbers. What rests on an accepted mask, or
on a log that did not see a region being made, is None: unknown, never a guess.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Literal, TypeVar

from backend.db.packed_mask import PackedMask

T = TypeVar("T")

By = Literal["project", "version", "label", "annotator", "week", "phrase"]
BYS: tuple[By, ...] = ("project", "version", "label", "annotator", "week", "phrase")

# Bins of a distribution: 0, 1, … 19 interactions, and 20 or more.
MOST = 20

# Of the picture's pixels: below the first an object is small, below the second middling.
_SMALL, _MIDDLING = 0.01, 0.1

SizeClass = Literal["small", "medium", "large", "unknown"]


def size_class(area: int | None, pixels: int | None) -> SizeClass:
    """How large an object is on its picture."""
    if not area or not pixels:
        return "unknown"
    share = area / pixels
    return "small" if share < _SMALL else "medium" if share < _MIDDLING else "large"


@dataclass(frozen=True)
class Where:
    """Which objects count. ``since`` and ``until`` (that moment itself not) look at the submit."""

    since: datetime | None = None
    until: datetime | None = None
    version: str | None = None
    label: str | None = None
    annotator: int | None = None
    phrase: bool | None = None
    tasks: tuple[int, ...] | None = None

    @property
    def picks_regions(self) -> bool:
        """Whether it asks for something that only an accepted region has."""
        return (self.version, self.label, self.annotator, self.phrase) != (None,) * 4


@dataclass(frozen=True)
class Page(Generic[T]):
    """A part of a list; pages count from 1."""

    items: tuple[T, ...]
    total: int
    page: int
    size: int

    @property
    def pages(self) -> int:
        """How many there are; at least one."""
        return max(1, -(-self.total // self.size))


@dataclass(frozen=True)
class Interval:
    """A mean of n values and its 95 % interval; without bounds where one task is all there is."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Spread:
    """How values lie."""

    median: float
    mean: Interval


@dataclass(frozen=True)
class RegionCost:
    """An accepted region. Where ``known`` is False the log did not see it being made (drawn by
    hand, accepted from a prediction, or before this backend was there): all that rests on the log
    is None then."""

    project: str
    task: int
    annotation: int
    region: str
    brush: str
    label: str
    annotator: int | None
    annotator_name: str
    version: str
    known: bool
    origin: str
    positive: int | None
    negative: int | None
    phrases: int | None
    undos: int | None
    predictions: int | None
    interactions: int | None
    phrase: str  # that it was made with; '' for none
    first_at: datetime | None
    accepted_at: datetime | None
    submitted_at: datetime | None
    seconds: float | None  # first interaction to submit
    area: int | None
    pixels: int | None  # of the picture
    ious: tuple[float | None, ...]  # with the accepted mask, after each interaction
    first_iou: float | None
    last_iou: float | None
    needed_85: int | None  # interactions to 85 %; None: never, or unknown
    corrected: int | None  # pixels changed by hand afterwards

    @property
    def size(self) -> SizeClass:
        """Small, medium or large on its picture."""
        return size_class(self.area, self.pixels)


@dataclass(frozen=True)
class TaskCost:
    """A task: all its interactions, those of accepted regions and the others.

    Means over regions are over the known ones. ``known``: there are regions, and the log knows how
    each of them was made.
    """

    project: str
    task: int
    positive: int
    negative: int
    phrases: int
    undos: int
    predictions: int
    interactions: int
    abandoned: int  # of the interactions: on objects that are in no annotation
    seconds: float | None  # first interaction to submit, the annotators' added up
    lead_time: float | None  # Label Studio's own, the annotations' added up
    first_iou: float | None  # mean
    last_iou: float | None  # mean
    needed_85: float | None  # mean; None where any known region never got there
    corrected: int | None  # pixels, added up
    objects: int  # accepted regions
    unknown: int  # of these: not known how they were made
    known: bool
    versions: tuple[str, ...]
    labels: tuple[str, ...]
    annotators: tuple[int, ...]
    phrase: bool  # whether any of its regions was made with words
    last_at: datetime | None  # last interaction or submit
    regions: tuple[RegionCost, ...] = ()  # only where one task was asked for

    @property
    def per_object(self) -> float | None:
        """Interactions for each accepted region, the abandoned ones included."""
        return self.interactions / self.objects if self.objects else None


@dataclass(frozen=True)
class GroupCost:
    """Accepted regions that have something in common. All but ``unknown`` is of the known ones."""

    name: str  # version, label, week's Monday (2026-11-23), annotator's number, "phrase", …
    title: str  # as people read it
    n: int
    unknown: int  # regions of the group whose making the log does not know
    tasks: int
    clicks: Spread | None  # of interactions until accept, phrases included
    seconds: Spread | None
    one: Interval | None  # share of regions done in one interaction
    first_iou: Interval | None
    last_iou: Interval | None
    needed_85: Interval | None  # of those that got there
    corrected: Spread | None  # pixels changed by hand
    histogram: tuple[int, ...] = (0,) * (MOST + 1)  # regions by interactions: 0, 1, … 20 or more


@dataclass(frozen=True)
class Week:
    """Interactions an object in one week (Monday first, UTC)."""

    begins: datetime
    n: int
    clicks: Interval


@dataclass(frozen=True)
class Mark:
    """A promotion or rollback, to be drawn into a chart."""

    id: int
    at: datetime
    kind: Literal["promotion", "rollback"]
    version: str
    before: str
    who: str
    why: str


@dataclass(frozen=True)
class OverTime:
    """A project's weeks, oldest first, and its promotions."""

    weeks: tuple[Week, ...]
    promotions: tuple[Mark, ...]


@dataclass(frozen=True)
class Stratum:
    """Objects of one label and size, before and after a promotion."""

    label: str
    size: SizeClass
    n_before: int
    n_after: int
    before: float  # mean interactions
    after: float


@dataclass(frozen=True)
class BeforeAfter:
    """What a promotion changed: objects begun between the promotion before it and it, against those
    begun until the next one, like with like.

    ``difference`` is after minus before, over strata that both have, each weighed by what it can
    tell; None where none is in both. Below zero with its whole interval: clicks fell.
    """

    promotion: Mark
    n_before: int
    n_after: int
    matched_before: int
    matched_after: int
    before: float | None  # means over the matched ones, weighed alike
    after: float | None
    difference: Interval | None
    strata: tuple[Stratum, ...]

    @property
    def fell(self) -> bool | None:
        """Whether clicks fell; None where that cannot be said."""
        it = self.difference
        if it is None or it.low is None or it.high is None or it.low <= 0 <= it.high:
            return None
        return it.high < 0


@dataclass(frozen=True)
class ServedStep:
    """One event of a region's making, and the mask that it led to."""

    event: int
    at: datetime
    kind: str  # as in the log: positive_click, negative_click, phrase, undo, redo, accept, …
    x_percent: float | None
    y_percent: float | None
    text: str
    owner: str
    milliseconds: float | None
    version: str
    error: str
    iou: float | None  # of the mask with the accepted one
    mask: PackedMask | None  # None: none was served, or it is kept no more


@dataclass(frozen=True)
class ProjectSummary:
    """A project at a glance."""

    key: str
    project_id: int
    title: str
    champion: str  # '': the checkpoint of the settings
    labels: tuple[str, ...]
    tasks: int
    regions: int
    unknown: int
    interactions: int  # all in the log
    abandoned: int
    clicks: Interval | None  # interactions for each known region
    last_at: datetime | None


@dataclass(frozen=True)
class Reconciliation:
    """Whether the figures agree: tasks, event log, annotations. ``differences`` are sentences."""

    project: str
    tasks: Mapping[str, int]  # sums over tasks, by positive, negative, phrases, undos
    log: Mapping[str, int]
    regions: int  # that costs were drawn of
    annotations: int  # regions that the living annotations hold
    differences: tuple[str, ...] = field(default=())

    @property
    def agrees(self) -> bool:
        """Nothing differs."""
        return not self.differences
