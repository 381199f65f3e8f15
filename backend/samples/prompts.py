"""Finds the clicks and the phrase that made a region, by the region's id.

Label Studio deletes prompts after their answer, so an accepted region comes without them. The
database keeps its object for two weeks, including what was undone. If one of the last answers is
exactly the accepted mask, the prompts of that answer count. Later the event log is replayed. A
region in neither was drawn by hand or accepted from a prediction: it has no prompts.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, select

from backend.db.models import EventRow, TargetRow
from backend.interaction.mask_history import read_answers
from backend.interaction.objects import Click, Target
from backend.interaction.page_changes import recognise
from backend.label_studio.payloads import Project
from backend.label_studio.rle import PackedMask


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
    # Newest first: two annotators who started with the same prediction have an object each.
    target, event = TargetRow, EventRow
    objects = (
        select(target)
        .where(target.project == project.key, target.task_id == task_id)
        .order_by(target.sequence.desc(), target.id.desc())
    )
    saved = f"annotation:{annotation_id}"
    prompts = {
        region_id: _of_targets(connection, list(map(Target.of_row, rows)), masks[region_id], saved)
        for region_id, rows in _by_region(connection, objects, masks).items()
    }
    missing = masks.keys() - prompts.keys()
    if missing:
        log = (
            select(event)
            .where(event.project == project.key, event.task_id == task_id)
            .order_by(event.id)
        )
        replayed = _by_region(connection, log, missing)
        prompts |= {region_id: _replayed(rows) for region_id, rows in replayed.items()}
    return {name: one for name, one in prompts.items() if one != Prompts()}


def _of_targets(
    connection: Connection, targets: Sequence[Target], accepted: PackedMask, saved: str
) -> Prompts:
    answers = read_answers(connection, [target.id for target in targets])
    for target in targets:
        answer = recognise(accepted, answers[target.id])
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


def _by_region(
    connection: Connection, query: Select[Any], regions: Collection[str]
) -> dict[str, list[RowMapping]]:
    """The rows of these regions. A task has few others; thousands of names would not fit into a
    statement."""
    rows: dict[str, list[RowMapping]] = {}
    for row in connection.execute(query).mappings():
        if row["region_id"] in regions:
            rows.setdefault(row["region_id"], []).append(row)
    return rows


def _replayed(rows: Sequence[RowMapping]) -> Prompts:
    """The prompts that remain after replaying the log of one region."""
    clicks: dict[str, Click] = {}
    phrase = ""
    for row in rows:
        if row["kind"] in ("positive_click", "negative_click", "box"):
            clicks[row["click_id"]] = Click(
                row["click_id"],
                row["x_percent"],
                row["y_percent"],
                positive=row["kind"] != "negative_click",
                label=row["label"],
                from_name="",
                x2_percent=row["x2_percent"],
                y2_percent=row["y2_percent"],
            )
        elif row["kind"] == "phrase":
            phrase = row["text"]
        elif row["kind"] == "undo" and row["phrase_id"]:
            phrase = ""
        elif row["kind"] in ("undo", "redo") and row["click_id"] in clicks:
            counts = row["kind"] == "redo"
            clicks[row["click_id"]] = replace(clicks[row["click_id"]], counts=counts)
    return _prompts([click for click in clicks.values() if click.counts], phrase)
