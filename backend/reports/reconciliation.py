"""Do the figures agree? The sums over tasks, the event log and what the annotations hold.

Each side is added up by itself, from its own table. What differs is said in a sentence, so that an
admin sees whether it is a moment's delay (the worker has not drawn something yet) or a fault.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
from sqlalchemy import Connection, Table, func, select

from backend.db import sample_tables
from backend.db.models.core import INTERACTIONS, EventRow
from backend.db.models.reports import AnnotationTimeRow, RegionCostRow
from backend.reports import cost_frame as ledgers
from backend.reports.compute_cost import BRUSH
from backend.reports.event_totals import COUNTS
from backend.reports.records import Reconciliation, Where
from backend.reports.tasks import table

_costs: Table = RegionCostRow.__table__  # type: ignore[assignment]
_times: Table = AnnotationTimeRow.__table__  # type: ignore[assignment]
_events: Table = EventRow.__table__  # type: ignore[assignment]

# Of one kind of difference so many are told one by one.
_TOLD = 20

# The kinds of events that are counted, and what their counts are called.
_KINDS: dict[str, str] = dict(zip((*INTERACTIONS, "undo"), COUNTS, strict=False))
_Key = tuple[int, str, str]


def reconcile(connection: Connection, project: str) -> Reconciliation:
    """Add up all sides of a project."""
    summed = table(ledgers.read(connection, project), Where()).columns
    tasks = {name: int(summed[name].sum()) for name in _KINDS.values()}
    log = _log(connection, project)
    drawn = _drawn(connection, project)
    held = _held(connection, project)
    differences = [
        *(
            f"The tasks add up to {tasks[name]} {_WORDS[name]}, the event log to {log[name]}."
            for name in tasks
            if tasks[name] != log[name]
        ),
        *_some(_between_regions(drawn, held)),
        *_some(_within_regions(connection, project)),
        *_some(_versions(connection, project)),
    ]
    if int(summed["abandoned"].sum()) < 0 or np.any(summed["abandoned"] < 0):
        differences.append("A region holds more interactions than its task's event log.")
    return Reconciliation(
        project=project,
        tasks=tasks,
        log=log,
        regions=len(drawn),
        annotations=len(held),
        differences=tuple(differences),
    )


_WORDS = {
    "positive": "positive clicks",
    "negative": "negative clicks",
    "phrases": "phrases",
    "undos": "undone prompts",
}


def _log(connection: Connection, project: str) -> dict[str, int]:
    query = (
        select(_events.c.kind, func.count())
        .where(_events.c.project == project, _events.c.kind.in_(list(_KINDS)))
        .group_by(_events.c.kind)
    )
    counted = {_KINDS[kind]: number for kind, number in connection.execute(query)}
    return {name: counted.get(name, 0) for name in _KINDS.values()}


def _drawn(connection: Connection, project: str) -> set[_Key]:
    it = _costs.c
    query = select(it.annotation_id, it.brush, it.region_id).where(it.project == project)
    return {(row.annotation_id, row.brush, row.region_id) for row in connection.execute(query)}


def _held(connection: Connection, project: str) -> set[_Key]:
    """The brush regions of the annotations that are not gone."""
    it, of = sample_tables.samples.c, sample_tables.annotations.c
    query = (
        select(it.annotation_id, it.brush, it.region_id)
        .join(
            sample_tables.annotations,
            (of.project == it.project) & (of.annotation_id == it.annotation_id),
        )
        .where(it.project == project, of.gone_at.is_(None), of.task_id.is_not(None))
    )
    found = connection.execute(query)
    return {(row.annotation_id, row.brush[:BRUSH], row.region_id) for row in found}


def _between_regions(drawn: set[_Key], held: set[_Key]) -> Iterator[str]:
    for annotation, _, region in sorted(held - drawn):
        yield (
            f"Region {region} of annotation {annotation} has no costs yet; "
            "the worker draws them within a minute."
        )
    for annotation, _, region in sorted(drawn - held):
        yield f"Region {region} has costs, but annotation {annotation} does not hold it any more."


def _within_regions(connection: Connection, project: str) -> Iterator[str]:
    """Each region's figures against the events of its targets, and no target in two regions."""
    it = _costs.c
    counted = (it[name] for name in ("interactions", *_KINDS.values()))
    query = select(it.annotation_id, it.region_id, it.targets, _times.c.through, *counted).join(
        _times,
        (_times.c.project == it.project) & (_times.c.annotation_id == it.annotation_id),
        isouter=True,
    )
    events = _by_target(connection, project)
    claimed: dict[int, str] = {}
    for row in connection.execute(query.where(it.project == project)).mappings():
        name = f"Region {row['region_id']} of annotation {row['annotation_id']}"
        found: Counter[str] = Counter()
        for target in row["targets"]:
            if target in claimed:
                yield f"{name} and {claimed[target]} both count the same interactions."
            claimed[target] = name
            for number, kind in events.get(target, ()):
                found[kind] += number <= (row["through"] or 0)
        for kind in _KINDS.values():
            if found[kind] != row[kind]:
                yield f"{name} counts {row[kind]} {_WORDS[kind]}, the event log {found[kind]}."
        if row["interactions"] != row["positive"] + row["negative"] + row["phrases"]:
            yield f"{name} does not add up in itself."


def _by_target(connection: Connection, project: str) -> Mapping[int, list[tuple[int, str]]]:
    query = select(_events.c.target_id, _events.c.id, _events.c.kind).where(
        _events.c.project == project,
        _events.c.target_id.is_not(None),
        _events.c.kind.in_(list(_KINDS)),
    )
    found: dict[int, list[tuple[int, str]]] = {}
    for target, number, kind in connection.execute(query):
        found.setdefault(target, []).append((number, _KINDS[kind]))
    return found


def _versions(connection: Connection, project: str) -> Iterator[str]:
    """Annotations that changed since they were drawn."""
    it = sample_tables.annotations.c
    same = (_times.c.project == it.project) & (_times.c.annotation_id == it.annotation_id)
    query = (
        select(it.annotation_id, _times.c.drawn, it.digest)
        .join(_times, same, isouter=True)
        .where(it.project == project, it.gone_at.is_(None), it.task_id.is_not(None))
        .order_by(it.annotation_id)
    )
    for row in connection.execute(query):
        if row.drawn != row.digest:
            yield (
                f"Annotation {row.annotation_id} changed since its costs were drawn; "
                "the worker does it anew within a minute."
            )


def _some(sentences: Iterator[str]) -> Iterator[str]:
    left = 0
    for number, sentence in enumerate(sentences):
        if number < _TOLD:
            yield sentence
        else:
            left += 1
    if left:
        yield f"And {left} more like these."
