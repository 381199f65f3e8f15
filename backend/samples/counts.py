"""Numbers of accepted labels: used, and left out by reason."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, func, select

from backend.db.engine import Database
from backend.db.models import AnnotatedPictureRow, AnnotationRow, SampledProjectRow, SampleRow
from backend.samples.rules import labeled

SKIPPED = "skipped"
NO_MASK = "without a mask"


@dataclass(frozen=True)
class Counts:
    """The figures of one project. ``asked_at``: when it was last read in full from Label Studio."""

    project: str
    annotations: dict[str, int]  # accepted, skipped, without a mask, deleted
    pictures: dict[str, int]  # train, validation
    regions: dict[str, int]  # train, validation
    prompts: dict[str, int]  # of the regions that count: with clicks, with a phrase, with neither
    unknown_labels: int  # of the regions that count
    left_out: dict[str, int]  # reason -> regions
    asked_at: Any
    error: str

    def rows(self) -> list[tuple[str, str, int]]:
        """Rows of a table: group, name, number."""
        rows = [("annotations", name, number) for name, number in self.annotations.items()]
        rows += [("pictures", name, number) for name, number in self.pictures.items()]
        rows += [("regions", name, number) for name, number in self.regions.items()]
        rows += [("regions that count", name, n) for name, n in self.prompts.items()]
        rows.append(("regions that count", "label unknown to the config", self.unknown_labels))
        return rows + [("regions left out", name, n) for name, n in sorted(self.left_out.items())]


def count(database: Database, project: str) -> Counts:
    """Counts of a project (its key)."""
    with database.read() as connection:
        row = connection.execute(
            select(SampledProjectRow.asked_at, SampledProjectRow.error).where(
                SampledProjectRow.key == project
            )
        ).one_or_none()
        annotation_rows = connection.execute(
            select(
                AnnotationRow.annotation_id,
                AnnotationRow.skipped,
                AnnotationRow.left_out,
                AnnotationRow.gone_at,
            ).where(AnnotationRow.project == project)
        ).all()
    everything = labeled(database, project)
    with_masks = {one.place.annotation_id for one in everything}
    annotations = Counter({"accepted": 0, SKIPPED: 0, NO_MASK: 0, "deleted": 0})
    left_out: Counter[str] = Counter()
    for annotation in annotation_rows:
        if annotation.gone_at is not None:
            annotations["deleted"] += 1
            continue
        left_out.update(annotation.left_out)
        if annotation.skipped:
            annotations[SKIPPED] += 1
        else:
            annotations["accepted" if annotation.annotation_id in with_masks else NO_MASK] += 1
    pictures, regions = Counter(train=0, validation=0), Counter(train=0, validation=0)
    prompts = Counter({"with clicks": 0, "with a phrase": 0, "with neither": 0})
    unknown = 0
    for one in everything:
        if one.reason or one.split is None:
            left_out[one.reason] += len(one.regions)
            continue
        pictures[one.split] += 1
        regions[one.split] += len(one.regions)
        for region in one.regions:
            prompts["with clicks"] += bool(region.clicks)
            prompts["with a phrase"] += bool(region.phrase)
            prompts["with neither"] += not (region.clicks or region.phrase)
            unknown += region.unknown_label
    return Counts(
        project,
        dict(annotations),
        dict(pictures),
        dict(regions),
        dict(prompts),
        unknown,
        dict(left_out),
        None if row is None else row.asked_at,
        "" if row is None else row.error,
    )


def gauges(database: Database) -> dict[tuple[str, str], int]:
    """Some of these figures for all projects, cheap enough for every few seconds.

    Returns (project, name) -> number. Regions are counted by the state of their picture.
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
            (AnnotatedPictureRow.project == SampleRow.project)
            & (AnnotatedPictureRow.annotation_id == SampleRow.annotation_id)
            & (AnnotatedPictureRow.image == SampleRow.image),
        )
        .group_by(SampleRow.project, state)
    )
    with database.read() as connection:
        numbers = {(key, name): number for key, name, number in connection.execute(of_annotations)}
        for key, name, number in connection.execute(of_regions):
            numbers[key, f"regions, picture {name}"] = number
    return numbers
