"""A project's log, annotations and costs as the backend keeps them, written row by row."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import insert

from backend.db.engine import Database
from backend.db.models import (
    AnnotationRow,
    AnnotationTimeRow,
    Base,
    EventRow,
    ProjectRow,
    Promotion,
    RegionCostRow,
    SampleRow,
)
from backend.db.packed_mask import PackedMask
from tests.backend.reports import rows

KEY = "6.1795384361"
BEGAN = datetime(2026, 9, 7, 8, tzinfo=UTC)  # a Monday
LABELS = ("Cat", '=HYPERLINK("http://x")', 'Dog, "big"\nand wet', "<script>alert(1)</script>")
PEOPLE = (("anna@example.org", 3), ("ben@example.org", 4))
OLD, NEW = "cats-20260907-aaaa", "cats-20261005-bbbb"
_KINDS = ("positive_click", "negative_click", "phrase")
_PHRASE = 'the cat, =left\n"one"'
_NO_MASK = PackedMask(640, 480, b"")


@dataclass(frozen=True)
class Filled:
    """What was written, to compare the reports with."""

    tasks: int
    regions: int
    positive: int
    negative: int
    phrases: int


def fill(
    database: Database,
    *,
    tasks: int = 60,
    key: str = KEY,
    labels: Sequence[str] = LABELS,
    seed: int = 7,
) -> Filled:
    """Two objects a task over ten weeks, cheaper since a promotion in the fifth; every tenth was
    drawn by hand, and every seventh task has a click on an object that was not accepted."""
    random = np.random.default_rng(seed)
    written: dict[type[Base], list[dict[str, Any]]] = defaultdict(list)
    counts = np.zeros(3, int)
    for task in range(1, tasks + 1):
        at = BEGAN + timedelta(weeks=10) * (task - 1) / tasks
        owner, number = PEOPLE[task % 2]
        place = {"project": key, "task_id": task}
        written[AnnotationRow].append(rows.annotation(place, task, at, number))
        times = {"lead_time": 41.5, "owner": owner, "drawn": "", "through": 10**9}
        written[AnnotationTimeRow].append({"project": key, "annotation_id": task, **times})
        for object_ in range(2):
            region, target = f"r{task}-{object_}", task * 2 + object_
            label = labels[(task + object_) % len(labels)]
            new = at >= BEGAN + timedelta(weeks=4)
            kinds: list[str] = []
            if target % 10:
                clicks = 1 + int(random.poisson(0.5 if new else 2.0))
                kinds = ["positive_click", *random.choice(_KINDS[:2], clicks - 1)]
                if task % 3 == 0:
                    kinds.insert(0, "phrase")
            made = [kinds.count(kind) for kind in _KINDS]
            counts += made
            version, phrase = NEW if new else OLD, _PHRASE if "phrase" in kinds else ""
            written[EventRow] += [
                _event(place, kind, at + timedelta(seconds=4 * n), target, region, owner, label)
                for n, kind in enumerate(kinds)
            ]
            written[SampleRow].append(
                rows.sample(key, task, region, label, _NO_MASK, number=object_, area=4000)
            )
            written[RegionCostRow].append(
                rows.cost(
                    place,
                    task,
                    region,
                    at + timedelta(seconds=30 + 5 * len(kinds)),
                    target=target if kinds else 0,
                    first_at=at if kinds else None,
                    counts=(*made, 0),
                    ious=[min(0.97, 0.7 + 0.08 * n) for n in range(len(kinds))],
                    version=version,
                    corrected=120,
                    label=label,
                    annotator=number,
                    area=4000 + 20000 * object_,
                    pixels=640 * 480,
                    phrase=phrase,
                )
            )
        if task % 7 == 0:
            aside = _event(place, "positive_click", at, 10**6 + task, "x", owner, "Cat")
            written[EventRow].append(aside)
            counts[0] += 1
    with database.write() as connection:
        now = {"created_at": BEGAN, "updated_at": BEGAN}
        project = {"key": key, "project_id": int(key.partition(".")[0]), "extra_params": {}, **now}
        empty = dict.fromkeys(("hostname", "access_token", "label_config", "config_hash"), "")
        connection.execute(insert(ProjectRow), [{**project, **empty}])
        for table, values in written.items():
            connection.execute(insert(table), values)
        connection.execute(
            insert(Promotion),
            [
                _promotion(key, OLD, "", BEGAN - timedelta(days=1)),
                _promotion(key, NEW, OLD, BEGAN + timedelta(weeks=4)),
            ],
        )
    return Filled(tasks, tasks * 2, *(int(count) for count in counts))


def _event(
    place: dict[str, Any], kind: str, at: datetime, target: int, region: str, owner: str, label: str
) -> dict[str, Any]:
    return rows.event(
        place,
        kind,
        at,
        target,
        region,
        owner=owner,
        request_id=f"{place['task_id']}-{target}-{at.timestamp():.0f}"[-32:],
        text=_PHRASE if kind == "phrase" else "",
        label=label,
        model_version=NEW if at >= BEGAN + timedelta(weeks=4) else OLD,
    )


def _promotion(key: str, version: str, before: str, at: datetime) -> dict[str, object]:
    return {
        "project": key,
        "kind": "promotion",
        "version": version,
        "before": before,
        "who": "anna",
        "why": "the gate says so",
        "at": at,
    }
