"""A project's log, annotations and costs as the backend keeps them, written row by row."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import insert

from backend.db.engine import Database
from backend.db.models import (
    AnnotationRow,
    AnnotationTimeRow,
    EventRow,
    ProjectRow,
    Promotion,
    RegionCostRow,
    SampleRow,
)

KEY = "6.1795384361"
BEGAN = datetime(2026, 9, 7, 8, tzinfo=UTC)  # a Monday
LABELS = ("Cat", '=HYPERLINK("http://x")', 'Dog, "big"\nand wet', "<script>alert(1)</script>")
PEOPLE = (("anna@example.org", 3), ("ben@example.org", 4))
OLD, NEW = "cats-20260907-aaaa", "cats-20261005-bbbb"


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
    events: list[dict[str, object]] = []
    costs: list[dict[str, object]] = []
    annotations, times, samples = [], [], []
    counts = np.zeros(3, int)
    for task in range(1, tasks + 1):
        at = BEGAN + timedelta(weeks=10) * (task - 1) / tasks
        person, number = PEOPLE[task % 2]
        shared = {"project": key, "annotation_id": task}
        annotations.append(_annotation(key, task, number, at))
        times.append({**shared, "lead_time": 41.5, "owner": person, "drawn": "", "through": 10**9})
        for place in range(2):
            region, hand = f"r{task}-{place}", (task * 2 + place) % 10 == 0
            label = labels[(task + place) % len(labels)]
            new = at >= BEGAN + timedelta(weeks=4)
            kinds: list[str] = []
            if not hand:
                clicks = 1 + int(random.poisson(0.5 if new else 2.0))
                kinds = [
                    "positive_click",
                    *random.choice(["positive_click", "negative_click"], clicks - 1),
                ]
                if task % 3 == 0:
                    kinds.insert(0, "phrase")
            counts += [kinds.count(kind) for kind in ("positive_click", "negative_click", "phrase")]
            target = task * 2 + place
            events += [
                _event(
                    key, task, person, target, region, kind, at + timedelta(seconds=4 * n), label
                )
                for n, kind in enumerate(kinds)
            ]
            costs.append(_cost(key, task, place, region, kinds, at, number, label, new, target))
            samples.append(_sample(key, task, place, region, label))
        if task % 7 == 0:
            events.append(_event(key, task, person, 10**6 + task, "x", "positive_click", at, "Cat"))
            counts[0] += 1
    with database.write() as connection:
        now = {"created_at": BEGAN, "updated_at": BEGAN}
        project = {"key": key, "project_id": int(key.partition(".")[0]), "extra_params": {}, **now}
        empty = dict.fromkeys(("hostname", "access_token", "label_config", "config_hash"), "")
        connection.execute(insert(ProjectRow), [{**project, **empty}])
        for table, rows in (
            (EventRow, events),
            (AnnotationRow, annotations),
            (AnnotationTimeRow, times),
            (SampleRow, samples),
            (RegionCostRow, costs),
        ):
            connection.execute(insert(table), rows)
        connection.execute(
            insert(Promotion),
            [
                _promotion(key, OLD, "", BEGAN - timedelta(days=1)),
                _promotion(key, NEW, OLD, BEGAN + timedelta(weeks=4)),
            ],
        )
    return Filled(tasks, tasks * 2, *(int(count) for count in counts))


def _event(
    key: str, task: int, owner: str, target: int, region: str, kind: str, at: datetime, label: str
) -> dict[str, object]:
    request = f"{task}-{target}-{at.timestamp():.0f}"[-32:]
    return {
        "created_at": at,
        "project": key,
        "task_id": task,
        "owner": owner,
        "target_id": target,
        "region_id": region,
        "request_id": request,
        "kind": kind,
        "text": 'the cat, =left\n"one"' if kind == "phrase" else "",
        "label": label,
        "answered_at": at + timedelta(milliseconds=30),
        "model_version": NEW if at >= BEGAN + timedelta(weeks=4) else OLD,
        "milliseconds": 30.0,
    }


def _annotation(key: str, task: int, annotator: int, at: datetime) -> dict[str, object]:
    return {
        "project": key,
        "annotation_id": task,
        "task_id": task,
        "updated_at": at,
        "created_at": at,
        "seen_at": at,
        "annotator": annotator,
        "left_out": {},
    }


def _sample(key: str, task: int, place: int, region: str, label: str) -> dict[str, object]:
    return {
        "project": key,
        "annotation_id": task,
        "number": place,
        "region_id": region,
        "image": "image",
        "brush": "brush",
        "label": label,
        "origin": "manual",
        "phrase": "",
        "clicks": [],
        "width": 640,
        "height": 480,
        "area": 4000,
        "mask": b"",
    }


def _cost(
    key: str,
    task: int,
    place: int,
    region: str,
    kinds: Sequence[str],
    at: datetime,
    annotator: int,
    label: str,
    new: bool,
    target: int,
) -> dict[str, object]:
    known = bool(kinds)
    ious = [min(0.97, 0.7 + 0.08 * n) for n in range(len(kinds))]
    return {
        "project": key,
        "annotation_id": task,
        "brush": "brush",
        "region_id": region,
        "task_id": task,
        "label": label,
        "annotator": annotator,
        "model_version": (NEW if new else OLD) if known else "",
        "known": known,
        "origin": "manual",
        "positive": kinds.count("positive_click"),
        "negative": kinds.count("negative_click"),
        "phrases": kinds.count("phrase"),
        "undos": 0,
        "predictions": len(kinds),
        "interactions": len(kinds),
        "first_at": at if known else None,
        "accepted_at": at + timedelta(seconds=20) if known else None,
        "submitted_at": at + timedelta(seconds=30 + 5 * len(kinds)),
        "seconds": 30.0 + 5 * len(kinds) if known else None,
        "area": 4000 + 20000 * place,
        "pixels": 640 * 480,
        "ious": ious,
        "first_iou": ious[0] if ious else None,
        "last_iou": ious[-1] if ious else None,
        "needed_85": next((n for n, iou in enumerate(ious, 1) if iou >= 0.85), None),
        "corrected": 120 if known else None,
        "phrase": 'the cat, =left\n"one"' if "phrase" in kinds else "",
        "targets": [target] if known else [],
        "drawn_at": at,
    }


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
