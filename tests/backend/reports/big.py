"""A team's half year, written straight into the tables: up to 100,000 interactions.

All tables agree: events with targets, annotations with samples, costs with both. The newest tasks
have served masks, too, and the real code computes their costs. Labels and phrases are as awkward as
people's can be.
"""

import functools
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Connection, insert

from backend.db.engine import Database
from backend.db.models import (
    AnnotatedPictureRow,
    AnnotationRow,
    AnnotationTimeRow,
    EventRow,
    ProjectRow,
    Promotion,
    RegionCostRow,
    SampledProjectRow,
    SampleRow,
    ServedMaskRow,
    TaskRow,
    Version,
)
from backend.label_studio.rle import PackedMask
from backend.reports.costs import Costs
from tests.backend.reports import rows

PROJECT = "6.1795384361"
OTHER = "7.1795384362"
START = datetime(2026, 5, 25, 7, tzinfo=UTC)  # a Monday
WEEKS = 26
WIDTH, HEIGHT = 96, 64

LABELS = ("Cat", "Dog", 'Traffic light, "red"', "=Bus", "Bicycle\nwheel", "Ampel <b>", "Straße")
ANNOTATORS = {1: "ann@example.com", 2: "bob@example.com", 3: "cäcilie@example.com"}
PHRASES = ("the red one", "=1+1", '<script>alert("x")</script>', 'left, "small"', "zwei\nZeilen")
VERSIONS = ("base-1", "team-1", "team-2", "team-3", "team-4")
CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="brush" toName="image"><Label value="Cat"/><Label value="Dog"/></BrushLabels>
<KeyPointLabels name="kp" toName="image" smart="true"><Label value="Cat"/></KeyPointLabels>
</View>"""

# Clicks that an object takes more than with the newest version.
_WORSE = (1.9, 1.6, 1.35, 1.1, 1.0)
_AT_ONCE = 5_000


@dataclass
class WrittenCounts:
    """Counts of what was written."""

    projects: tuple[str, ...] = (PROJECT, OTHER)
    interactions: dict[str, int] = field(default_factory=dict)
    tasks: dict[str, int] = field(default_factory=dict)
    regions: dict[str, int] = field(default_factory=dict)
    abandoned: dict[str, int] = field(default_factory=dict)
    by_hand: dict[str, int] = field(default_factory=dict)
    with_masks: tuple[int, ...] = ()  # tasks of PROJECT that have served masks
    last_at: datetime = START


def fill(
    database: Database, interactions: int = 100_000, *, masked_tasks: int = 20, seed: int = 0
) -> WrittenCounts:
    """Write about this many interactions, nine tenths of them in PROJECT, the rest in OTHER."""
    story = WrittenCounts()
    with database.write() as connection:
        writer = _Writer(connection, np.random.default_rng(seed), story)
        _versions(connection)
        for project, share in ((PROJECT, 0.9), (OTHER, 0.1)):
            _project(writer, project, int(interactions * share))
        story.with_masks = tuple(
            range(story.tasks[PROJECT] + 1, story.tasks[PROJECT] + masked_tasks + 1)
        )
        for task in story.with_masks:
            _masked_task(writer, task)
        writer.flush()
    Costs(database).catch_up(600.0)
    return story


def fill_one(database: Database, interactions: int) -> WrittenCounts:
    """Write about this many interactions in PROJECT, without its versions and served masks."""
    story = WrittenCounts(projects=(PROJECT,))
    with database.write() as connection:
        _promotions(connection)
        _project(_Writer(connection, np.random.default_rng(0), story), PROJECT, interactions)
    return story


class _Writer:
    """Rows by table, a few thousand at a time, in the order of their foreign keys; and what is
    drawn and counted on the way."""

    order = (AnnotationRow, AnnotatedPictureRow, SampleRow)

    def __init__(
        self, connection: Connection, rng: np.random.Generator, story: WrittenCounts
    ) -> None:
        self.connection = connection
        self.rng = rng
        self.story = story
        self.events, self.targets, self.annotations = (itertools.count(1) for _ in range(3))
        self.rows: dict[Any, list[dict[str, Any]]] = {}
        self.waiting = 0

    def add(self, table: Any, **values: Any) -> None:
        self.rows.setdefault(table, []).append(values)
        self.waiting += 1

    def flush(self, at_least: int = 1) -> None:
        if self.waiting < at_least:
            return
        for table in sorted(self.rows, key=lambda t: self.order.index(t) if t in self.order else 9):
            self.connection.execute(insert(table.__table__), self.rows[table])
        self.rows, self.waiting = {}, 0


def _versions(connection: Connection) -> None:
    for number, name in enumerate(VERSIONS):
        connection.execute(
            insert(Version).values(
                name=name,
                project=PROJECT if number else "",
                parent=VERSIONS[number - 1] if number else "",
                state="accepted" if number else "base",
                location="" if number else "shipped",
                sums={},
                size_bytes=1_000_000,
                data={"labels": 20 * number},
                metrics={"NoC@85": 5.0 * _WORSE[number]},
                gate={"passed": True, "reason": "fewer clicks"} if number else None,
                created_at=_promoted(number) - timedelta(hours=1),
                created_by="worker",
            )
        )
    _promotions(connection)


def _promotions(connection: Connection) -> None:
    for number, name in enumerate(VERSIONS[1:], 1):
        connection.execute(
            insert(Promotion).values(
                project=PROJECT,
                kind="promotion",
                version=name,
                before=VERSIONS[number - 1] if number > 1 else "",
                who="gate",
                why="fewer clicks <on average>",
                at=_promoted(number),
            )
        )


def _promoted(number: int) -> datetime:
    return START + timedelta(weeks=WEEKS) * number / len(VERSIONS)


def _project(writer: _Writer, project: str, interactions: int) -> None:
    number = int(project.partition(".")[0])
    writer.add(
        ProjectRow,
        key=project,
        project_id=number,
        hostname="http://studio.test",
        label_config=CONFIG,
        created_at=START,
        updated_at=START,
    )
    writer.add(SampledProjectRow, key=project, label_config=CONFIG, config_at=START)
    story = writer.story
    for name in ("interactions", "tasks", "regions", "abandoned", "by_hand"):
        getattr(story, name)[project] = 0
    average = 3.6
    tasks = max(1, round(interactions / (average * 3.4)))
    while story.interactions[project] < interactions:
        story.tasks[project] += 1
        task = story.tasks[project]
        at = START + timedelta(weeks=WEEKS) * min(0.999, task / (tasks * 1.05))
        _task(writer, project, task, at)
        writer.flush(_AT_ONCE)
    writer.flush()


def _task(writer: _Writer, project: str, task: int, at: datetime) -> None:
    rng, story = writer.rng, writer.story
    version = min(len(VERSIONS) - 1, int((at - START) / (timedelta(weeks=WEEKS) / len(VERSIONS))))
    number, annotator = next(writer.annotations), int(rng.integers(1, 4))
    place = {"project": project, "task_id": task}
    made, clock = [], at
    for _ in range(int(rng.integers(1, 7))):
        clock = _object(writer, place, clock, annotator, version, made)
    submitted = clock + timedelta(seconds=5)
    writer.add(TaskRow, **place, revision=1, updated_at=submitted)
    story.last_at = max(story.last_at, submitted)
    if not made:
        return
    digest = _annotation(writer, place, number, submitted, annotator)
    for target, region, label, *_ in made:
        if target:
            _event(writer, place, submitted, "submit", target, region, annotator, label)
    through = next(writer.events)  # an id that no event has
    writer.add(
        AnnotationTimeRow,
        project=project,
        annotation_id=number,
        lead_time=(submitted - at).total_seconds() + 8.0,
        owner=ANNOTATORS[annotator],
        drawn=digest,
        through=through,
    )
    for place_in, (target, region, label, phrase, counts, first_at, curve, area) in enumerate(made):
        mask = _square(area)
        sample = rows.sample(
            project, number, region, label, mask, number=place_in, area=area, phrase=phrase
        )
        writer.add(SampleRow, **sample)
        cost = rows.cost(
            place,
            number,
            region,
            submitted,
            target=target,
            first_at=first_at,
            counts=counts,
            ious=curve,
            version=VERSIONS[version],
            corrected=_corrected(rng) if target else 0,
            digest=digest,
            label=label,
            annotator=annotator,
            area=area,
            pixels=WIDTH * HEIGHT,
            phrase=phrase,
        )
        writer.add(RegionCostRow, **cost)
        story.regions[project] += 1


def _corrected(rng: np.random.Generator) -> int:
    return int(rng.integers(0, 40)) if rng.random() < 0.2 else 0


def _object(
    writer: _Writer,
    place: dict[str, Any],
    clock: datetime,
    annotator: int,
    version: int,
    made: list[Any],
) -> datetime:
    """One object; it is added to ``made`` unless it was abandoned."""
    rng, story, project = writer.rng, writer.story, place["project"]
    label = LABELS[int(rng.choice(len(LABELS), p=[0.3, 0.25, 0.15, 0.1, 0.1, 0.05, 0.05]))]
    area = int(rng.choice([40, 300, 1200], p=[0.5, 0.35, 0.15]))
    if rng.random() < 0.04:
        story.by_hand[project] += 1
        region = f"hand-{place['task_id']}-{len(made)}"
        made.append((0, region, label, "", (0, 0, 0, 0), None, [], area))
        return clock + timedelta(seconds=20)
    target = next(writer.targets)
    region = f"pc-{target:012x}"
    harder = _WORSE[version] * (1.5 if area == 40 else 1.0) * (1 + 0.1 * LABELS.index(label))
    wanted = 1 + int(rng.poisson(1.35 * harder))
    phrase = PHRASES[int(rng.integers(len(PHRASES)))] if rng.random() < 0.25 else ""
    counts, first_at, curve, iou = [0, 0, 0, 0], clock, [], 0.0
    for turn in range(wanted):
        kind = (
            "phrase"
            if phrase and not turn
            else "negative_click"
            if turn > 1 and rng.random() < 0.35
            else "positive_click"
        )
        counts[("positive_click", "negative_click", "phrase").index(kind)] += 1
        iou += (0.97 - iou) * float(rng.uniform(0.35, 0.9)) / harder**0.5
        curve.append(round(iou, 4))
        text = phrase if kind == "phrase" else ""
        _event(writer, place, clock, kind, target, region, annotator, label,
               starts=not turn, text=text, version=VERSIONS[version])  # fmt: skip
        clock += timedelta(seconds=float(rng.uniform(1.5, 9.0)))
    if rng.random() < 0.06:
        counts[3] += 1
        _event(writer, place, clock, "undo", target, region, annotator, label)
    story.interactions[project] += wanted
    if rng.random() < 0.05:
        story.abandoned[project] += wanted
        return clock
    _event(writer, place, clock, "accept", target, region, annotator, label)
    made.append((target, region, label, phrase, tuple(counts), first_at, curve, area))
    return clock


def _event(
    writer: _Writer,
    place: dict[str, Any],
    at: datetime,
    kind: str,
    target: int,
    region: str,
    annotator: int,
    label: str,
    *,
    starts: bool = False,
    text: str = "",
    version: str = "",
) -> str:
    """An event; returns its request, '' if the model was not asked."""
    number = next(writer.events)
    request = f"{number:032x}" if version else ""
    clicked = {}
    if version and kind.endswith("click"):
        x, y = writer.rng.uniform(1, 99, 2)
        clicked = {"x_percent": float(x), "y_percent": float(y)}
    event = rows.event(
        place,
        kind,
        at,
        target,
        region,
        id=number,
        owner=ANNOTATORS[annotator],
        request_id=request,
        starts=starts,
        text=text,
        label=label,
        model_version=version,
        steps={"decode": 40.0, "encode": 20.0} if version else None,
        **clicked,
    )
    writer.add(EventRow, **event)
    return request


def _masked_task(writer: _Writer, task: int) -> None:
    """A task of today with one object whose masks grow from answer to answer."""
    story = writer.story
    place = {"project": PROJECT, "task_id": task}
    clock = START + timedelta(weeks=WEEKS, minutes=task - story.tasks[PROJECT])
    target, number = next(writer.targets), next(writer.annotations)
    region, sides = f"pc-{target:012x}", [(30, 8), (38, 15), (40, 20)]
    for turn, (width, height) in enumerate(sides, 1):
        request = _event(writer, place, clock, "positive_click", target, region, 1, "Cat",
                         starts=turn == 1, version=VERSIONS[-1])  # fmt: skip
        writer.add(
            ServedMaskRow,
            request_id=request,
            **place,
            target_id=target,
            region_id=region,
            turn=turn,
            created_at=clock,
            width=WIDTH,
            height=HEIGHT,
            mask=_box(width, height).data,
        )
        clock += timedelta(seconds=4)
    _event(writer, place, clock, "submit", target, region, 1, "Cat")
    writer.add(TaskRow, **place, revision=3, updated_at=clock)
    _annotation(writer, place, number, clock, 1)
    writer.add(SampleRow, **rows.sample(PROJECT, number, region, "Cat", _box(40, 20), area=800))
    story.interactions[PROJECT] += len(sides)
    story.regions[PROJECT] += 1
    story.last_at = max(story.last_at, clock)


def _annotation(
    writer: _Writer, place: dict[str, Any], number: int, at: datetime, annotator: int
) -> str:
    """An annotation and its picture; returns the digest."""
    digest = f"{number:032x}"
    writer.add(AnnotationRow, **rows.annotation(place, number, at, annotator, digest))
    writer.add(
        AnnotatedPictureRow,
        project=place["project"],
        annotation_id=number,
        image="image",
        address=f"/data/upload/6/{place['task_id']}.png",
        state="good",
    )
    return digest


@functools.cache
def _square(area: int) -> PackedMask:
    flat = np.zeros(WIDTH * HEIGHT, dtype=bool)
    flat[:area] = True
    return PackedMask.pack(flat.reshape(HEIGHT, WIDTH))


def _box(width: int, height: int) -> PackedMask:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[10 : 10 + height, 10 : 10 + width] = True
    return PackedMask.pack(mask)
