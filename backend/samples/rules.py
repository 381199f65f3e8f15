"""Which accepted regions are used for training and validation, and why the others are not.

The rules, in this order:

- Skipped annotations and those without a mask have no samples. Empty and unreadable masks, and
  shapes other than brush masks, are left out when an annotation is read.
- If a picture of a task has several annotations, the ground truth counts, else the newest. With all
  of them, a picture would count once per annotator.
- The picture must be the one that the masks were drawn on (``image_check``).
- A label that the project's config no longer has names its objects as before.
- A region without clicks and phrase (drawn by hand, or accepted from a prediction) is a sample like
  the others: its prompts are simulated, as for any data set.

A fifth of the pictures, chosen by the hash of their content, is held out for validation. So two
tasks with the same picture are on the same side, and no picture ever changes sides.
"""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from sqlalchemy import RowMapping, case, func, select

from backend.db.engine import Database
from backend.db.models import (
    AnnotatedPictureRow,
    AnnotationRow,
    SampledProjectRow,
    SampleRow,
    same_annotation,
)
from backend.errors import LabelConfigError
from backend.label_studio.config import parse_config
from backend.label_studio.controls import LabelConfig
from backend.samples.image_check import LabeledPicture, State
from training.data.sample import SampleObject, Side, side

Split = Side

OTHER_ANNOTATION = "another annotation of the task counts"
UNSEEN = "picture not checked yet"
GONE = "picture gone"
CHANGED = "picture changed"
_STATES = {"unseen": UNSEEN, "gone": GONE, "changed": CHANGED}


@dataclass(frozen=True)
class Region:
    """An accepted region, without its mask."""

    number: int  # in its annotation
    region_id: str
    size: tuple[int, int]  # width and height of its picture
    scene_object: SampleObject  # numbered from 1 in its picture
    unknown_label: bool  # the config has lost it


@dataclass(frozen=True)
class Labeled:
    """A picture with one annotation's regions. ``reason``: why it does not count, '' if it does."""

    place: LabeledPicture
    updated_at: datetime
    regions: tuple[Region, ...]
    reason: str = ""

    @property
    def split(self) -> Split | None:
        """The side of its picture; None before that was checked."""
        return side(self.place.key) if self.place.key else None


def labeled(database: Database, project: str) -> list[Labeled]:
    """Everything accepted in a project (its key), task by task."""
    picture, annotation = AnnotatedPictureRow, AnnotationRow
    of_pictures = (
        select(picture, annotation.task_id, annotation.updated_at)
        .join(annotation, same_annotation(annotation, picture))
        .where(picture.project == project)
        .order_by(
            annotation.task_id,
            picture.image,
            annotation.ground_truth.desc(),
            annotation.updated_at.desc(),
            annotation.annotation_id.desc(),
        )
    )
    columns = [column for column in SampleRow.__table__.c if column.name != "mask"]
    of_samples = (
        select(*columns)
        .where(SampleRow.project == project)
        .order_by(SampleRow.annotation_id, SampleRow.number)
    )
    with database.read() as connection:
        of_project = select(SampledProjectRow.label_config).where(SampledProjectRow.key == project)
        xml = connection.execute(of_project).scalar()
        pictures = connection.execute(of_pictures).mappings().all()
        samples = connection.execute(of_samples).mappings().all()
    config = None
    with suppress(LabelConfigError):
        config = parse_config(xml or "")
    regions: dict[tuple[int, str], list[Region]] = {}
    for row in samples:
        there = regions.setdefault((row["annotation_id"], row["image"]), [])
        there.append(_region(row, config, len(there) + 1))
    seen: set[tuple[int, str]] = set()
    images = []
    for row in pictures:
        place = LabeledPicture.of(row)
        # Only the first annotation of each picture of each task counts.
        name = (place.task_id, place.image)
        reason = OTHER_ANNOTATION if name in seen else _STATES.get(row["state"], "")
        seen.add(name)
        there = regions.get((place.annotation_id, place.image), [])
        images.append(Labeled(place, row["updated_at"], tuple(there), reason))
    return images


def projects(database: Database) -> list[str]:
    query = select(SampledProjectRow.key).order_by(SampledProjectRow.key)
    with database.read() as connection:
        return list(connection.execute(query).scalars())


def _region(row: RowMapping, config: LabelConfig | None, number: int) -> Region:
    """The database has places in percent, the data set in pixels."""
    category, unknown = _category(row["brush"], row["label"], config)
    across, down = row["width"] / 100, row["height"] / 100
    left, top, right, bottom = row["box"] or (0, 0, 0, 0)
    scene_object = SampleObject(
        number,
        category,
        phrases=(row["phrase"],) if row["phrase"] else (),
        clicks=tuple((x * across, y * down, bool(positive)) for x, y, positive in row["clicks"]),
        box=(left * across, top * down, right * across, bottom * down) if row["box"] else None,
    )
    size = row["width"], row["height"]
    return Region(row["number"], row["region_id"], size, scene_object, unknown)


def _category(brush: str, label: str, config: LabelConfig | None) -> tuple[str | None, bool]:
    """The label's name, and whether the config lacks it. An alias is read as its label; what the
    config has lost since keeps the name that the annotation has."""
    if not label:
        return None, False
    if config is None:
        return label, False
    controls = [control for image in config.images for control in image.brushes]
    for control in sorted(controls, key=lambda control: control.name != brush):
        known = control.label(label)
        if known is not None:
            return known.value, False
    return label, True


SKIPPED = "skipped"
NO_MASK = "without a mask"
# Shown also where they are 0, in this order.
_SHOWN = {
    "annotations": ("accepted", SKIPPED, NO_MASK, "deleted"),
    "pictures": ("train", "validation"),
    "regions": ("train", "validation"),
    "regions that count": (
        "with clicks",
        "with a phrase",
        "with neither",
        "label unknown to the config",
    ),
}


@dataclass(frozen=True)
class Counts:
    """The figures of one project. ``asked_at``: when it was last read in full from Label Studio."""

    numbers: dict[tuple[str, str], int]  # by group and name
    asked_at: datetime | None
    error: str

    def of(self, group: str) -> dict[str, int]:
        """Numbers by name: annotations, pictures, regions, regions that count, regions left out."""
        return {name: number for (of, name), number in self.numbers.items() if of == group}


def count_samples(database: Database, project: str) -> Counts:
    with database.session() as session:
        about = session.get(SampledProjectRow, project)
        query = select(AnnotationRow).where(AnnotationRow.project == project)
        annotations = session.scalars(query).all()
    everything = labeled(database, project)
    with_masks = {one.place.annotation_id for one in everything}
    numbers = Counter({(group, name): 0 for group, names in _SHOWN.items() for name in names})
    left_out: Counter[str] = Counter()
    for annotation in annotations:
        state = "accepted" if annotation.annotation_id in with_masks else NO_MASK
        if annotation.gone_at is not None:
            state = "deleted"
        elif annotation.skipped:
            state = SKIPPED
        numbers["annotations", state] += 1
        left_out.update(annotation.left_out if annotation.gone_at is None else {})
    for one in everything:
        if one.reason or one.split is None:
            left_out[one.reason] += len(one.regions)
            continue
        numbers["pictures", one.split] += 1
        numbers["regions", one.split] += len(one.regions)
        for region in one.regions:
            clicks, phrases = region.scene_object.clicks, region.scene_object.phrases
            numbers["regions that count", "with clicks"] += bool(clicks)
            numbers["regions that count", "with a phrase"] += bool(phrases)
            numbers["regions that count", "with neither"] += not (clicks or phrases)
            numbers["regions that count", "label unknown to the config"] += region.unknown_label
    for reason, number in sorted(left_out.items()):
        numbers["regions left out", reason] = number
    if about is None:
        return Counts(dict(numbers), None, "")
    return Counts(dict(numbers), about.asked_at, about.error)


_GAUGES = (
    *(f"annotations {state}" for state in ("accepted", "skipped", "deleted")),
    *(f"regions, picture {state}" for state in get_args(State)),
)


def sample_gauges(database: Database) -> dict[tuple[str, str], int]:
    """Some of these figures for all projects, cheap enough for every few seconds.

    Returns (project, name) -> number, 0 where there is none. Regions are counted by the state of
    their picture.
    """
    label = case(
        (AnnotationRow.gone_at.is_not(None), "annotations deleted"),
        (AnnotationRow.skipped, "annotations skipped"),
        else_="annotations accepted",
    )
    project = AnnotationRow.project
    of_annotations = select(project, label, func.count()).group_by(project, label)
    state = AnnotatedPictureRow.state
    of_regions = (
        select(SampleRow.project, state, func.count())
        .join(
            AnnotatedPictureRow,
            same_annotation(AnnotatedPictureRow, SampleRow)
            & (AnnotatedPictureRow.image == SampleRow.image),
        )
        .group_by(SampleRow.project, state)
    )
    with database.read() as connection:
        numbers = {(key, name): number for key, name, number in connection.execute(of_annotations)}
        for key, name, number in connection.execute(of_regions):
            numbers[key, f"regions, picture {name}"] = number
    return {(key, name): numbers.get((key, name), 0) for key, _ in numbers for name in _GAUGES}
