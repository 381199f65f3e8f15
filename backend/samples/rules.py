"""Which accepted regions train and measure, and why the others do not.

The rules, in this order:

- Skipped annotations and those without a mask hold no samples. Empty and unreadable masks, masks on
  rotated pictures and other shapes than brush masks are left out of an annotation when it is read.
- Of several annotations of one picture in one task the ground truth counts, where none is marked as
  such the newest. The others say the same of the same objects: with them a picture would train and
  be measured as often as it has annotators.
- The picture must be what it was when the masks were drawn (``image_check``).
- A label that the project's config no longer has names no category, but its mask is as good as any.
- A region without clicks and phrase (drawn by hand, or accepted from a prediction) is a sample like
  the others: its prompts are simulated, as those of any data set are.

A fifth of the pictures, told by the hash of their content, is held out for validation: two tasks
with one picture fall on one side, and no picture ever changes sides.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import RowMapping, Select, select

from backend.db import sample_tables
from backend.db.engine import Database
from backend.errors import LabelConfigError
from backend.label_studio.config import LabelConfig
from backend.samples.image_check import Place

Split = Literal["train", "validation"]

OTHER_ANNOTATION = "another annotation of the task counts"
UNSEEN = "picture not looked at yet"
GONE = "picture gone"
CHANGED = "picture changed"
_STATES = {"unseen": UNSEEN, "gone": GONE, "changed": CHANGED}

_HELD_OUT = 0.2


@dataclass(frozen=True)
class Region:
    """An accepted region, without its mask. ``category``: None for a label that is not known."""

    number: int
    region_id: str
    category: str | None
    unknown_label: bool
    origin: str
    phrase: str
    clicks: tuple[tuple[float, float, bool], ...]  # x percent, y percent, positive
    width: int
    height: int
    area: int


@dataclass(frozen=True)
class Labeled:
    """A picture and what one annotation says of it. ``reason``: why it does not count, '' if so."""

    place: Place
    annotator: int | None
    updated_at: datetime
    ground_truth: bool
    regions: tuple[Region, ...]
    reason: str = ""

    @property
    def split(self) -> Split | None:
        """The side of its picture; None before that was looked at."""
        return side(self.place.key) if self.place.key else None


def side(key: str) -> Split:
    """Of a picture's content hash (hex): always the same."""
    return "validation" if int(key[:8], 16) < _HELD_OUT * 2**32 else "train"


def labeled(database: Database, project: str) -> list[Labeled]:
    """Everything accepted in a project (its key), task by task, each with its reason or none."""
    with database.read() as connection:
        xml = connection.execute(
            select(sample_tables.projects.c.label_config).where(
                sample_tables.projects.c.key == project
            )
        ).scalar()
        pictures = connection.execute(_picture_rows(project)).mappings().all()
        samples = connection.execute(_sample_rows(project)).mappings().all()
    config = _config(xml or "")
    regions: dict[tuple[int, str], list[Region]] = {}
    for row in samples:
        region = _region(row, config)
        regions.setdefault((row["annotation_id"], row["image"]), []).append(region)
    found = [
        Labeled(
            Place.of(row),
            row["annotator"],
            row["updated_at"],
            row["ground_truth"],
            tuple(regions.get((row["annotation_id"], row["image"]), ())),
            _STATES.get(row["state"], ""),
        )
        for row in pictures
    ]
    return _one_of_each(found)


def projects(database: Database) -> list[str]:
    """The keys of all projects that ever had a label, or could have."""
    with database.read() as connection:
        return list(
            connection.execute(
                select(sample_tables.projects.c.key).order_by(sample_tables.projects.c.key)
            ).scalars()
        )


def _picture_rows(project: str) -> Select[Any]:
    """Newest annotation of a task first, ground truth before all."""
    told = (
        sample_tables.annotations.c.annotator,
        sample_tables.annotations.c.updated_at,
        sample_tables.annotations.c.ground_truth,
    )
    return (
        select(sample_tables.pictures, sample_tables.annotations.c.task_id, *told)
        .join(
            sample_tables.annotations,
            (sample_tables.annotations.c.project == sample_tables.pictures.c.project)
            & (sample_tables.annotations.c.annotation_id == sample_tables.pictures.c.annotation_id),
        )
        .where(sample_tables.pictures.c.project == project)
        .order_by(
            sample_tables.annotations.c.task_id,
            sample_tables.pictures.c.image,
            sample_tables.annotations.c.ground_truth.desc(),
            sample_tables.annotations.c.updated_at.desc(),
            sample_tables.annotations.c.annotation_id.desc(),
        )
    )


def _sample_rows(project: str) -> Select[Any]:
    """Without the masks."""
    columns = [column for column in sample_tables.samples.c if column.name != "mask"]
    here = sample_tables.samples.c.project == project
    return (
        select(*columns)
        .where(here)
        .order_by(sample_tables.samples.c.annotation_id, sample_tables.samples.c.number)
    )


def _one_of_each(found: list[Labeled]) -> list[Labeled]:
    """Only the first of each picture of each task counts."""
    seen: set[tuple[int, str]] = set()
    counted = []
    for each in found:
        name = (each.place.task_id, each.place.image)
        counted.append(replace(each, reason=OTHER_ANNOTATION) if name in seen else each)
        seen.add(name)
    return counted


def _region(row: RowMapping, config: LabelConfig | None) -> Region:
    category, unknown = _category(row["brush"], row["label"], config)
    return Region(
        number=row["number"],
        region_id=row["region_id"],
        category=category,
        unknown_label=unknown,
        origin=row["origin"],
        phrase=row["phrase"],
        clicks=tuple((float(x), float(y), bool(positive)) for x, y, positive in row["clicks"]),
        width=row["width"],
        height=row["height"],
        area=row["area"],
    )


def _category(brush: str, label: str, config: LabelConfig | None) -> tuple[str | None, bool]:
    """The label's name, and whether the config knows none such. An alias is read as its label."""
    if not label:
        return None, False
    if config is None:
        return label, False
    controls = [control for image in config.images for control in image.brushes]
    for control in sorted(controls, key=lambda each: each.name != brush):
        known = control.label(label)
        if known is not None:
            return known.value, False
    return None, True


def _config(xml: str) -> LabelConfig | None:
    try:
        return LabelConfig.parse(xml)
    except LabelConfigError:
        return None
