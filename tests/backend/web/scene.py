"""A project as a team has it after some weeks: costs, a task on a photograph with every mask that
was served, trainings, versions with what the gate said, processes, and trouble.

Each text that a stranger can write holds HTML.
"""

import hashlib
import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy import delete, insert

from backend.api.service import Service
from backend.db.engine import Database
from backend.db.models import (
    AnnotatedPictureRow,
    AnnotationRow,
    AnnouncementRow,
    Delivery,
    EventRow,
    GatePictureRow,
    Job,
    LogLine,
    Process,
    RegionCostRow,
    SampleRow,
    ServedMaskRow,
)
from backend.jobs.presence import note_error
from backend.label_studio.rle import PackedMask
from tests.backend.conftest import photograph as make_photograph
from tests.backend.reports import big, rows

KEY = big.PROJECT
OLD, NEW = big.VERSIONS[-2:]
SCRIPT = "<script>alert(1)</script>"
WIDTH, HEIGHT = 640, 480
PHOTOGRAPH = make_photograph((WIDTH, HEIGHT), seed=3)
TASK, ANNOTATION, REGION, TARGET = 900, 9000, "region/9 <i>", 900_000
PHRASE = f"the cat {SCRIPT}"


@dataclass(frozen=True)
class Scene:
    """What the pages must show."""

    key: str
    tasks: int
    events: tuple[int, ...]  # of the photographed task, in their order
    running: int  # number of the job that runs
    queued: int
    done: int
    replay: int


def fill(service: Service, photograph: bytes | None, now: datetime | None = None) -> Scene:
    """Write it. photograph: put into the picture cache; None: not cached."""
    now = now or datetime.now(UTC)
    database = service.database
    tasks = big.fill_one(database, 480).tasks[KEY] + 1
    events = _photographed(service, photograph, now)
    jobs = _jobs(database, now)
    _trouble(database, now)
    return Scene(KEY, tasks, events, *jobs)


def disc(radius: float, x: float = 300, y: float = 220) -> PackedMask:
    """A round mask."""
    lines, columns = np.mgrid[:HEIGHT, :WIDTH]
    return PackedMask.pack(np.hypot(columns - x, lines - y) < radius)


def gate(*, passed: bool = True) -> dict[str, Any]:
    """The gate's report of a candidate."""

    def compared(mode: str, measure: str, mine: float, theirs: float, says: str) -> dict[str, Any]:
        return {
            "mode": mode,
            "measure": measure,
            "candidate": mine,
            "champion": theirs,
            "difference": mine - theirs,
            "low": mine - theirs - 0.2 * abs(mine - theirs) - 0.01,
            "high": mine - theirs + 0.2 * abs(mine - theirs) + 0.01,
            "n": 48,
            "says": says,
            "chance": None,
        }

    own = [
        compared("clicks+phrase", "noc85", 2.1, 3.4, "better"),
        compared("clicks+phrase", "iou1", 0.74, 0.61, "better"),
        compared("phrase+clicks", "noc85", 1.9, 3.0, "better"),
        compared("all", "iou1to3", 0.83, 0.74, "better"),
    ]
    general = [
        compared("clicks+phrase", "noc85", 3.05, 3.0, "same"),
        compared("clicks+phrase", "iou1", 0.7, 0.705, "same"),
    ]
    reason = "Better on the project's held-out labels: interactions to 85 %: 2.00 instead of 3.20."
    example = {
        "set": "own",
        "gain": 0.31,
        "key": "a",
        "objects": [1],
        "category": f"cat {SCRIPT}",
        "mode": "phrase+clicks",
        "phrase": PHRASE,
        "candidate": {"ious": [0.8, 0.9, 0.91], "clicks": []},
        "champion": {"ious": [0.4, 0.5, 0.7], "clicks": []},
    }
    return {
        "passed": passed,
        "reason": reason if passed else "Much worse on the general set.",
        "reasons": [reason, "Not worse on the general set."],
        "candidate": "candidate",
        "champion": "champion",
        "sets": {
            "own": {"called": "the project's held-out labels", "comparisons": own},
            "general": {"called": "the general set", "comparisons": general},
        },
        "examples": [
            {**example, "kind": "won", "picture": "own-won-1.jpg"},
            {**example, "kind": "lost", "gain": -0.2, "phrase": "", "picture": "own-lost-1.jpg"},
        ],
    }


def suggestions() -> dict[str, Any]:
    """What training.gate.report reports of a candidate."""

    def side(interactions: float, zero: float) -> dict[str, Any]:
        around = {"low": interactions - 0.5, "high": interactions + 0.5}
        return {
            "interactions": {"mean": interactions, **around, "n": 24},
            "zero_share": {"mean": zero, "low": zero, "high": zero, "n": 24},
            "objects": 24,
            "pictures": 8,
        }

    example = {"gain": 2.5, "key": SCRIPT, "objects": 3}
    return {
        "candidate": side(1.5, 0.46),
        "champion": side(4.25, 0.04),
        "difference": {"mean": -2.75, "low": -3.5, "high": -2.0, "n": 24},
        "examples": [
            {
                **example,
                "candidate": {"interactions": 0.5, "regions": 3, "deletions": 0},
                "champion": {"interactions": 3.0, "regions": 1, "deletions": 1},
                "picture": picture,
            }
            for picture in ("suggested-1.jpg", "no-longer-there.jpg")
        ],
    }


def replayed() -> dict[str, Any]:
    """The result of a replay."""

    def summary(before: float, after: float, n: int) -> dict[str, Any]:
        difference = {"mean": after - before, "low": after - before - 0.2, "high": after - before}
        return {"before": before, "after": after, "n": n, "difference": {**difference, "n": n}}

    return {
        "simulated": True,
        "project": KEY,
        "version": NEW,
        "before": OLD,
        "goal": 0.85,
        "all": summary(3.25, 2.5, 60),
        "held_out": summary(3.5, 3.0, 12),
        "rows": [],
        "left_out": [],
    }


def keep_gate_pictures(database: Database, version: str) -> None:
    """The pictures that ``gate`` names."""
    stream = io.BytesIO()
    Image.new("RGB", (728, 270), (90, 120, 160)).save(stream, "JPEG")
    picture = {"version": version, "created_at": datetime.now(UTC), "content": stream.getvalue()}
    pictures = [
        {**picture, "name": name} for name in ("own-won-1.jpg", "own-lost-1.jpg", "suggested-1.jpg")
    ]
    with database.write() as connection:
        connection.execute(insert(GatePictureRow), pictures)


def _photographed(service: Service, photograph: bytes | None, now: datetime) -> tuple[int, ...]:
    """A phrase and two clicks, each answered with a better mask."""
    began = now - timedelta(days=1)
    steps = [
        ("phrase", disc(30), None, PHRASE),
        ("positive_click", disc(130), (300, 220), ""),
        ("negative_click", disc(95), (400, 220), ""),
    ]
    place = {"project": KEY, "task_id": TASK}
    numbers = []
    accepted = disc(90)
    with service.database.write() as connection:
        for turn, (kind, mask, spot, text) in enumerate(steps, 1):
            at = began + timedelta(seconds=5 * turn)
            request = f"scene-{turn}"
            event = rows.event(
                place,
                kind,
                at,
                TARGET,
                REGION,
                owner="anna@example.org",
                request_id=request,
                text=text,
                label=SCRIPT,
                x_percent=None if spot is None else 100 * spot[0] / WIDTH,
                y_percent=None if spot is None else 100 * spot[1] / HEIGHT,
                model_version=NEW,
            )
            made = connection.execute(insert(EventRow).values(event)).inserted_primary_key
            assert made is not None
            numbers.append(int(made[0]))
            served = {
                **place,
                "request_id": request,
                "target_id": TARGET,
                "region_id": REGION,
                "turn": turn,
                "created_at": at,
                "width": WIDTH,
                "height": HEIGHT,
                "mask": mask.data,
            }
            connection.execute(insert(ServedMaskRow).values(served))
        submitted = began + timedelta(seconds=30)
        annotation = rows.annotation(place, ANNOTATION, submitted, 3)
        connection.execute(insert(AnnotationRow).values(annotation))
        shared = {"project": KEY, "annotation_id": ANNOTATION}
        key = "" if photograph is None else hashlib.sha256(photograph).hexdigest()
        picture = {**shared, "image": "image", "address": "/data/a.png", "state": "good"}
        connection.execute(insert(AnnotatedPictureRow).values({**picture, "key": key}))
        area = int(accepted.unpack().sum())
        sample = rows.sample(KEY, ANNOTATION, REGION, SCRIPT, accepted, area=area, phrase=PHRASE)
        connection.execute(insert(SampleRow).values(sample))
        cost = rows.cost(
            place,
            ANNOTATION,
            REGION,
            submitted,
            target=TARGET,
            first_at=began,
            counts=(1, 1, 1, 0),
            ious=[mask.iou(accepted) for _, mask, _, _ in steps],
            version=NEW,
            corrected=700,
            label=SCRIPT,
            annotator=3,
            area=area,
            pixels=WIDTH * HEIGHT,
            phrase=PHRASE,
        )
        connection.execute(insert(RegionCostRow).values(cost))
    if photograph is not None:
        service.pictures._cache.keep(key, photograph)
    return tuple(numbers)


def _jobs(database: Database, now: datetime) -> tuple[int, int, int, int]:
    """A running job, a queued one, two done ones, a failed and a cancelled one."""
    began = now - timedelta(minutes=4)
    running = _job(
        database,
        "running",
        began,
        started_at=began,
        heartbeat_at=now,
        attempts=1,
        phase="training",
        progress=0.42,
        message="Step 21 of 50",
        worker="host:1",
    )
    with database.write() as connection:
        lines = [_line(running, began, "Phase: reading"), _line(running, began, "Phase: training")]
        for step in range(1, 22):
            figures = {"step": step, "loss": 1.2 / step**0.3, "loss own": 1.0 / step**0.4}
            if step % 5 == 0:
                figures |= {"clicks@1": 0.6 + 0.01 * step, "phrase@1": 0.5 + 0.012 * step}
            lines.append({**_line(running, began, ""), "figures": figures})
        lines.append(_line(running, now, f"Label {SCRIPT} is new.", "warning"))
        connection.execute(insert(LogLine), lines)
    queued = _job(database, "queued", now, kind="scoring", trigger="promotion")
    done = _job(
        database,
        "done",
        began - timedelta(hours=2),
        started_at=began - timedelta(hours=2),
        ended_at=began - timedelta(hours=1.9),
        progress=1.0,
        attempts=1,
        result={
            "version": "team-1",
            "promoted": True,
            "reason": "Better on the project's held-out labels.",
            "champion": "",
            "labels": {"train": 20, "held_out": 4},
            "seconds": {"training": 240.0, "evaluating": 72.5},
            "gate": {"suggestions": suggestions()},
        },
    )
    ended = {"started_at": began, "ended_at": now, "attempts": 1}
    _job(database, "failed", began - timedelta(minutes=1), **ended, error=f"No label {SCRIPT}.")
    _job(database, "cancelled", began - timedelta(minutes=2), **ended, error="Cancelled by ada.")
    replay = _job(
        database, "done", began, kind="replay", trigger="hand", result=replayed(), **ended
    )
    return running, queued, done, replay


def _job(database: Database, state: str, at: datetime, **values: Any) -> int:
    row: dict[str, Any] = {
        "project": KEY,
        "kind": "training",
        "state": state,
        "trigger": "labels",
        "request": {},
        "created_at": at,
        "due_at": at,
        **values,
    }
    with database.write() as connection:
        made = connection.execute(insert(Job).values(row)).inserted_primary_key
    assert made is not None
    return int(made[0])


def _line(job: int, at: datetime, text: str, level: str = "info") -> dict[str, Any]:
    return {"job_id": job, "at": at, "attempt": 1, "level": level, "line": text, "figures": None}


def _trouble(database: Database, now: datetime) -> None:
    """A worker that died, deliveries that wait, a Label Studio that is down."""
    note_error(database, "worker", f"The picture {SCRIPT} could not be had.")
    note_error(database, "worker", f"The picture {SCRIPT} could not be had.")
    long_ago = now - timedelta(minutes=30)
    with database.write() as connection:
        connection.execute(delete(Process))
        for name, kind, seen in (
            ("vm:7:server", "server", now),
            ("vm:8:worker", "worker", long_ago),
        ):
            values = {"name": name, "kind": kind, "started_at": long_ago, "seen_at": seen}
            about = {"version": "0.1.0", "cache_bytes": 123_000_000}
            connection.execute(insert(Process).values({**values, "about": about}))
        connection.execute(
            insert(Delivery).values(
                received_at=long_ago,
                action="ANNOTATION_CREATED",
                project_id=6,
                body=b"{}",
                attempts=0,
            )
        )
        connection.execute(
            insert(AnnouncementRow).values(
                project=KEY, version="", attempts=3, error="Label Studio did not answer."
            )
        )
