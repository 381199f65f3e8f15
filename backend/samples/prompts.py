"""Finds the clicks and the phrase that made a region, by the region's id.

Label Studio deletes prompts after their answer, so an accepted region comes without them. The
database keeps its object for two weeks, including what was undone. If one of the last answers is
exactly the accepted mask, the prompts of that answer count. Later the event log is replayed. A
region in neither was drawn by hand or accepted from a prediction: it has no prompts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, RowMapping, select

from backend.db.models import EventRow, TargetRow
from backend.db.packed_mask import PackedMask
from backend.interaction.mask_history import read_answers, recognise
from backend.interaction.objects import Click, Target
from backend.label_studio.payloads import Project

# Some builds of SQLite allow only a thousand values in one statement.
_AT_ONCE = 500


@dataclass(frozen=True)
class Prompts:
    """``clicks`` are (x percent, y percent, positive), oldest first; ``phrase`` as it was typed;
    ``box`` is left, top, right and bottom in percent."""

    clicks: tuple[tuple[float, float, bool], ...] = ()
    phrase: str = ""
    box: tuple[float, float, float, float] | None = None


def prompts_of(
    connection: Connection,
    project: Project,
    task_id: int,
    annotation_id: int,
    masks: Mapping[str, PackedMask],
) -> dict[str, Prompts]:
    """The prompts of regions (id -> accepted mask); regions without prompts are left out."""
    prompts: dict[str, Prompts] = {}
    saved = f"annotation:{annotation_id}"
    for region_id, targets in _remembered(connection, project, task_id, list(masks)).items():
        prompts[region_id] = _of_targets(connection, targets, masks[region_id], saved)
    missing = [region_id for region_id in masks if region_id not in prompts]
    for region_id, rows in _logged(connection, project, task_id, missing).items():
        prompts[region_id] = _replayed(rows)
    return {name: one for name, one in prompts.items() if one != Prompts()}


def _remembered(
    connection: Connection, project: Project, task_id: int, regions: list[str]
) -> dict[str, list[Target]]:
    """The objects of these regions, newest first. Two annotators who started with the same
    prediction have one each."""
    query = (
        select(TargetRow)
        .where(TargetRow.project == project.key, TargetRow.task_id == task_id)
        .order_by(TargetRow.sequence.desc(), TargetRow.id.desc())
    )
    by_region: dict[str, list[Target]] = {}
    wanted = set(regions)
    for row in connection.execute(query).mappings():
        if row["region_id"] in wanted:
            by_region.setdefault(row["region_id"], []).append(Target.of_row(row))
    return by_region


def _of_targets(
    connection: Connection, targets: Sequence[Target], accepted: PackedMask, saved: str
) -> Prompts:
    for target in targets:
        answer = recognise(accepted, read_answers(connection, target.id))
        if answer is not None and not answer.by_hand:
            behind = dict(answer.clicks)
            clicks = [click for click in target.clicks if click.id in behind]
            return _prompts([replace(c, positive=behind[c.id]) for c in clicks], answer.phrase)
    # Edited by hand afterwards: the prompts that count made most of it.
    target = next((target for target in targets if target.saved == saved), targets[0])
    return _prompts(target.counting, target.phrase)


def _prompts(clicks: Sequence[Click], phrase: str) -> Prompts:
    boxes = [click.box for click in clicks if click.box is not None]
    places = ((c.x_percent, c.y_percent, c.positive) for c in clicks if c.box is None)
    return Prompts(tuple(places), phrase, boxes[-1] if boxes else None)


def _logged(
    connection: Connection, project: Project, task_id: int, regions: list[str]
) -> dict[str, list[RowMapping]]:
    columns = (
        EventRow.region_id,
        EventRow.kind,
        EventRow.click_id,
        EventRow.phrase_id,
        EventRow.x_percent,
        EventRow.y_percent,
        EventRow.x2_percent,
        EventRow.y2_percent,
        EventRow.text,
    )
    by_region: dict[str, list[RowMapping]] = {}
    for start in range(0, len(regions), _AT_ONCE):
        query = (
            select(*columns)
            .where(
                EventRow.project == project.key,
                EventRow.task_id == task_id,
                EventRow.region_id.in_(regions[start : start + _AT_ONCE]),
            )
            .order_by(EventRow.id)
        )
        for row in connection.execute(query).mappings():
            by_region.setdefault(row["region_id"], []).append(row)
    return by_region


def _replayed(rows: Sequence[RowMapping]) -> Prompts:
    """The prompts that remain after replaying the log of one region."""
    clicks: dict[str, tuple[float, float, bool]] = {}
    undone: set[str] = set()
    phrase = ""
    boxes: dict[str, tuple[float, float, float, float]] = {}
    for row in rows:
        kind, click_id = row["kind"], row["click_id"]
        if kind in ("positive_click", "negative_click"):
            x, y = row["x_percent"], row["y_percent"]
            if x is not None and y is not None:
                clicks[click_id] = (x, y, kind == "positive_click")
                undone.discard(click_id)
        elif kind == "box" and row["x2_percent"] is not None:
            names = ("x_percent", "y_percent", "x2_percent", "y2_percent")
            boxes[click_id] = tuple(row[name] for name in names)
            undone.discard(click_id)
        elif kind == "undo" and click_id:
            undone.add(click_id)
        elif kind == "redo":
            undone.discard(click_id)
        elif kind == "phrase":
            phrase = row["text"]
        elif kind == "undo" and row["phrase_id"]:
            phrase = ""
    kept = tuple(place for name, place in clicks.items() if name not in undone)
    drawn = [box for name, box in boxes.items() if name not in undone]
    return Prompts(kept, phrase, drawn[-1] if drawn else None)
