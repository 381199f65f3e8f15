"""Reports as programs read them: the same form over HTTP and in a file of JSON.

Names are those of ``records``, which says what each figure means; null is a figure that cannot be
known, never a zero. Times are UTC in ISO 8601.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from backend.reports.records import By, SizeClass


class Form(BaseModel):
    """Read from a record of the same field names."""

    model_config = ConfigDict(from_attributes=True)


class Interval(Form):
    """A mean of n values with its 95 % interval; without bounds where one task is all there is."""

    mean: float
    low: float | None
    high: float | None
    n: int


class Spread(Form):
    """How values lie."""

    median: float
    mean: Interval


class Region(Form):
    """An accepted region: what it had cost, and how well the model did.

    Where ``known`` is false, the log did not see it being made: drawn by hand, accepted from a
    prediction, or older than this backend. All that rests on the log is null then.
    """

    task: int
    annotation: int
    region: str
    brush: str
    label: str
    annotator: int | None
    annotator_name: str
    version: str = Field(description="Model version that it was made with.")
    known: bool
    origin: str = Field(description="Label Studio's own: manual, prediction, prediction-changed.")
    positive: int | None
    negative: int | None
    phrases: int | None
    undos: int | None
    predictions: int | None = Field(description="Masks that were served.")
    interactions: int | None = Field(description="Clicks and phrases until it was accepted.")
    phrase: str = Field(description="The words it was made with; empty for none.")
    first_at: datetime | None
    accepted_at: datetime | None
    submitted_at: datetime | None
    seconds: float | None = Field(description="From the first interaction to the submit.")
    area: int | None = Field(description="Pixels of the accepted mask.")
    pixels: int | None = Field(description="Pixels of the picture.")
    size: SizeClass
    first_iou: float | None = Field(description="Of the first served mask with the accepted one.")
    last_iou: float | None
    ious: tuple[float | None, ...] = Field(description="After each interaction.")
    needed_85: int | None = Field(description="Interactions to an IoU of 85 %; null: never.")
    corrected: int | None = Field(description="Pixels changed by hand afterwards.")


class Task(Form):
    """A task: all its interactions, those on accepted regions and those in vain."""

    task: int
    positive: int
    negative: int
    phrases: int
    undos: int
    predictions: int
    interactions: int
    abandoned: int = Field(description="Of the interactions: on objects that nobody accepted.")
    per_object: float | None = Field(description="Interactions for each accepted region.")
    seconds: float | None
    lead_time: float | None = Field(description="Seconds by Label Studio's own clock.")
    first_iou: float | None
    last_iou: float | None
    needed_85: float | None
    corrected: int | None
    objects: int = Field(description="Accepted regions.")
    unknown: int = Field(description="Of these: not known how they were made.")
    known: bool
    versions: tuple[str, ...]
    labels: tuple[str, ...]
    annotators: tuple[int, ...]
    phrase: bool = Field(description="Whether any region was made with words.")
    last_at: datetime | None


class TaskWithRegions(Task):
    """One task and its accepted regions."""

    regions: tuple[Region, ...]


class Group(Form):
    """Accepted regions that have something in common. All but ``unknown`` is of the known ones."""

    name: str
    title: str
    n: int
    unknown: int
    tasks: int
    clicks: Spread | None = Field(description="Interactions for each region, phrases included.")
    seconds: Spread | None
    one: Interval | None = Field(description="Share of regions done in one interaction.")
    first_iou: Interval | None
    last_iou: Interval | None
    needed_85: Interval | None = Field(description="Of those that got to 85 %.")
    corrected: Spread | None
    histogram: tuple[int, ...] = Field(
        description="Number of regions by interactions: 0, 1, … and 20 or more."
    )


class Mark(Form):
    """A promotion or a rollback."""

    id: int
    at: datetime
    kind: Literal["promotion", "rollback"]
    version: str = Field(description="What serves since; empty: the checkpoint of the settings.")
    before: str
    who: str
    why: str


class Stratum(Form):
    """Objects of one label and size, before and after."""

    label: str
    size: SizeClass
    n_before: int
    n_after: int
    before: float
    after: float


class Promotion(Form):
    """What a promotion changed, like with like: ``difference`` is after minus before."""

    promotion: Mark
    n_before: int
    n_after: int
    matched_before: int
    matched_after: int
    before: float | None
    after: float | None
    difference: Interval | None
    fell: bool | None = Field(description="Whether clicks fell; null where that cannot be said.")
    strata: tuple[Stratum, ...]


class Reconciliation(Form):
    """Whether the figures agree: sums over tasks, event log, annotations."""

    agrees: bool
    tasks: Mapping[str, int]
    log: Mapping[str, int]
    regions: int
    annotations: int
    differences: tuple[str, ...]


class Project(Form):
    """A project at a glance."""

    key: str
    project_id: int
    title: str
    champion: str = Field(description="Empty: the checkpoint of the settings serves.")
    labels: tuple[str, ...]
    tasks: int
    regions: int
    unknown: int
    interactions: int
    abandoned: int
    clicks: Interval | None
    last_at: datetime | None


class Filters(Form):
    """What a report was narrowed to; null: not at all."""

    since: datetime | None
    until: datetime | None
    version: str | None
    label: str | None
    annotator: int | None
    phrase: bool | None


class Links(BaseModel):
    """Where to go on; null where there is nothing."""

    model_config = ConfigDict(populate_by_name=True)

    here: str = Field(serialization_alias="self")
    first: str
    previous: str | None
    next: str | None
    last: str


class _Page(BaseModel):
    total: int
    page: int
    pages: int
    size: int
    links: Links


class TaskPage(_Page):
    """A page of tasks."""

    items: list[Task]


class RegionPage(_Page):
    """A page of accepted regions."""

    items: list[Region]


class Projects(BaseModel):
    """All projects that this backend knows, in the order of their numbers."""

    projects: list[Project]


class Groups(BaseModel):
    """Groups, the largest first; weeks the oldest first."""

    by: By
    groups: list[Group]


class Promotions(BaseModel):
    """Promotions and rollbacks, the oldest first."""

    promotions: list[Promotion]
