"""The clicks and the phrase that made a region, found by its id.

Label Studio deletes prompts once they have done their work, so an accepted region comes without
them. The memory knows its targets for two weeks, with what was undone and what went on to another
object taken into account; where one of its last answers is the very mask that was accepted, the
prompts behind that answer are the ones. After that the event log tells. A region that neither of
them knows was drawn by hand, or accepted from a prediction: it has no prompts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, Table, select

from backend.db.models.core import EventRow, TargetRow
from backend.db.packed_mask import PackedMask
from backend.interaction import mask_history
from backend.interaction.objects import Click, Target
from backend.label_studio.payloads import Project

_events: Table = EventRow.__table__  # type: ignore[assignment]
_targets: Table = TargetRow.__table__  # type: ignore[assignment]

# SQLite takes some ten thousands of values in one statement, some builds only a thousand.
_AT_ONCE = 500


@dataclass(frozen=True)
class Prompts:
    """``clicks`` are (x percent, y percent, positive), oldest first; ``phrase`` as it was typed."""

    clicks: tuple[tuple[float, float, bool], ...] = ()
    phrase: str = ""


def prompts_of(
    connection: Connection,
    project: Project,
    task_id: int,
    annotation_id: int,
    masks: Mapping[str, PackedMask],
) -> dict[str, Prompts]:
    """The prompts of these regions (id -> accepted mask); those without any are left out."""
    found: dict[str, Prompts] = {}
    saved = f"annotation:{annotation_id}"
    for region_id, targets in _remembered(connection, project, task_id, list(masks)).items():
        found[region_id] = _of_targets(connection, targets, masks[region_id], saved)
    missing = [region_id for region_id in masks if region_id not in found]
    for region_id, rows in _logged(connection, project, task_id, missing).items():
        found[region_id] = _replayed(rows)
    return {name: prompts for name, prompts in found.items() if prompts != Prompts()}


def _remembered(
    connection: Connection, project: Project, task_id: int, regions: list[str]
) -> dict[str, list[Target]]:
    """The targets of these regions, newest first. Two annotators who began with the same prediction
    have one each."""
    query = (
        select(_targets)
        .where(_targets.c.project == project.key, _targets.c.task_id == task_id)
        .order_by(_targets.c.sequence.desc(), _targets.c.id.desc())
    )
    found: dict[str, list[Target]] = {}
    wanted = set(regions)
    for row in connection.execute(query).mappings():
        if row["region_id"] in wanted:
            found.setdefault(row["region_id"], []).append(Target.of_row(row))
    return found


def _of_targets(
    connection: Connection, targets: Sequence[Target], accepted: PackedMask, saved: str
) -> Prompts:
    for target in targets:
        kept = mask_history.of_target(connection, target.id)
        turn = mask_history.recognise(connection, target, accepted, kept).turn
        answer = next((each for each in kept if each.turn == turn), None)
        if answer is not None and not answer.by_hand:
            behind = dict(answer.clicks)
            clicks = [click for click in target.clicks if click.id in behind]
            return Prompts(tuple(_place(c, behind[c.id]) for c in clicks), answer.phrase)
    # Drawn on by hand afterwards: what counts for the target made most of it.
    target = next((each for each in targets if each.saved == saved), targets[0])
    return Prompts(tuple(_place(c, c.positive) for c in target.counting), target.phrase)


def _place(click: Click, positive: bool) -> tuple[float, float, bool]:
    return click.x_percent, click.y_percent, positive


def _logged(
    connection: Connection, project: Project, task_id: int, regions: list[str]
) -> dict[str, list[RowMapping]]:
    columns = (
        _events.c.region_id,
        _events.c.kind,
        _events.c.click_id,
        _events.c.phrase_id,
        _events.c.x_percent,
        _events.c.y_percent,
        _events.c.text,
    )
    found: dict[str, list[RowMapping]] = {}
    for start in range(0, len(regions), _AT_ONCE):
        query = (
            select(*columns)
            .where(
                _events.c.project == project.key,
                _events.c.task_id == task_id,
                _events.c.region_id.in_(regions[start : start + _AT_ONCE]),
            )
            .order_by(_events.c.id)
        )
        for row in connection.execute(query).mappings():
            found.setdefault(row["region_id"], []).append(row)
    return found


def _replayed(rows: Sequence[RowMapping]) -> Prompts:
    """What the log of one region comes to."""
    clicks: dict[str, tuple[float, float, bool]] = {}
    undone: set[str] = set()
    phrase = ""
    for row in rows:
        kind, click_id = row["kind"], row["click_id"]
        if kind in ("positive_click", "negative_click"):
            x, y = row["x_percent"], row["y_percent"]
            if x is not None and y is not None:
                clicks[click_id] = (x, y, kind == "positive_click")
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
    return Prompts(kept, phrase)
