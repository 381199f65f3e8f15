"""Do the figures agree? Compares sums over tasks, the event log, and what annotations hold.

Each side is summed on its own, from its own table. Each difference is reported as a sentence, so
that an admin sees whether it is a short delay (the worker has not computed something yet) or a bug.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection, Row, select

from backend.db.models import (
    INTERACTIONS,
    AnnotationRow,
    AnnotationTimeRow,
    EventRow,
    RegionCostRow,
    SampleRow,
    exists_in_label_studio,
    same_annotation,
)
from backend.reports import cost_frame
from backend.reports.click_curve import Key
from backend.reports.compute_cost import BRUSH_CHARACTERS
from backend.reports.cost_frame import COUNTS
from backend.reports.costs import changed_annotations
from backend.reports.group_by import by_task
from backend.reports.records import Reconciliation, ReportFilter

# Differences of one kind that are listed.
_LISTED = 20

# The kinds of events that are counted, and the names of their counts.
_KINDS: dict[str, str] = dict(zip((*INTERACTIONS, "undo"), COUNTS, strict=False))
_WORDS = {
    "positive": "positive clicks",
    "negative": "negative clicks",
    "phrases": "phrases",
    "boxes": "boxes",
    "undos": "undone prompts",
}


def reconcile(connection: Connection, project: str) -> Reconciliation:
    """Compare all sides of a project."""
    summed = by_task(cost_frame.read(connection, project), ReportFilter()).columns
    tasks = {name: int(summed[name].sum()) for name in _KINDS.values()}
    events = _events(connection, project)
    counted = Counter(event.kind for event in events)
    log = {name: counted[kind] for kind, name in _KINDS.items()}
    computed, held = _computed(connection, project), _held(connection, project)
    differences = [
        *(
            f"The tasks sum to {tasks[name]} {_WORDS[name]}, the event log to {log[name]}."
            for name in tasks
            if tasks[name] != log[name]
        ),
        *_first(_between_regions(computed, held)),
        *_first(_within_regions(connection, project, events)),
        *_first(_changed(connection, project)),
    ]
    return Reconciliation(tasks, log, len(computed), len(held), tuple(differences))


def _events(connection: Connection, project: str) -> Sequence[Row[int | None, int, str]]:
    """Target, number and kind of the events that are counted."""
    query = select(EventRow.target_id, EventRow.id, EventRow.kind).where(
        EventRow.project == project, EventRow.kind.in_(list(_KINDS))
    )
    return connection.execute(query).all()


def _computed(connection: Connection, project: str) -> set[Key]:
    row = RegionCostRow
    query = select(row.annotation_id, row.brush, row.region_id).where(row.project == project)
    return {(number, brush, region) for number, brush, region in connection.execute(query)}


def _held(connection: Connection, project: str) -> set[Key]:
    """The brush regions of the annotations that exist."""
    query = (
        select(SampleRow.annotation_id, SampleRow.brush, SampleRow.region_id)
        .join(AnnotationRow, same_annotation(AnnotationRow, SampleRow))
        .where(SampleRow.project == project, exists_in_label_studio())
    )
    return {
        (number, brush[:BRUSH_CHARACTERS], region)
        for number, brush, region in connection.execute(query)
    }


def _between_regions(computed: set[Key], held: set[Key]) -> Iterator[str]:
    for annotation, _, region in sorted(held - computed):
        yield (
            f"Region {region} of annotation {annotation} has no costs yet; "
            "the worker computes them within a minute."
        )
    for annotation, _, region in sorted(computed - held):
        yield f"Region {region} has costs, but annotation {annotation} no longer contains it."


def _within_regions(
    connection: Connection, project: str, events: Iterable[Row[int | None, int, str]]
) -> Iterator[str]:
    """Each region's figures against the events of its targets, and no target in two regions."""
    row = RegionCostRow
    counted = (getattr(row, name) for name in ("interactions", *_KINDS.values()))
    same = same_annotation(AnnotationTimeRow, row)
    query = (
        select(row.annotation_id, row.region_id, row.targets, AnnotationTimeRow.through, *counted)
        .join(AnnotationTimeRow, same, isouter=True)
        .where(row.project == project)
    )
    by_target: dict[int | None, list[tuple[int, str]]] = defaultdict(list)
    for target, number, kind in events:
        by_target[target].append((number, _KINDS[kind]))
    claimed: dict[int, str] = {}
    for region in connection.execute(query).mappings():
        name = f"Region {region['region_id']} of annotation {region['annotation_id']}"
        counts: Counter[str] = Counter()
        for target in region["targets"]:
            if target in claimed:
                yield f"{name} and {claimed[target]} both count the same interactions."
            claimed[target] = name
            for number, kind in by_target.get(target, ()):
                counts[kind] += number <= (region["through"] or 0)
        for kind in _KINDS.values():
            if counts[kind] != region[kind]:
                yield f"{name} has {region[kind]} {_WORDS[kind]}, the event log {counts[kind]}."
        if region["interactions"] != sum(region[_KINDS[kind]] for kind in INTERACTIONS):
            yield f"The interactions of {name[0].lower()}{name[1:]} do not add up."


def _changed(connection: Connection, project: str) -> Iterator[str]:
    query = changed_annotations().where(AnnotationRow.project == project)
    numbers = query.with_only_columns(AnnotationRow.annotation_id)
    for number in connection.execute(numbers.order_by(AnnotationRow.annotation_id)).scalars():
        yield (
            f"Annotation {number} changed since its costs were computed; "
            "the worker updates them within a minute."
        )


def _first(sentences: Iterator[str]) -> list[str]:
    listed = list(sentences)
    if len(listed) > _LISTED:
        return [*listed[:_LISTED], f"And {len(listed) - _LISTED} more like these."]
    return listed
