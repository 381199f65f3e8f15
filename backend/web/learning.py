"""What the pages show about learning in a project: its training status, its last training, replays.

The gate measures both versions on held-out pictures (`training.gate.suggestions`). The result of
the training keeps the figures, and the database the images: what the next picture costs before and
after, with the same pictures.

A replay repeats labeled objects with two versions by simulated clicks. Wherever its figures are
shown, the word "simulated" is shown with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from backend.db.engine import records
from backend.db.models.jobs import REPLAY, TRAINING, Job, Schedule
from backend.jobs.schedules import NewLabels, Schedules, count_new_labels
from backend.reports import charts
from backend.reports.records import Interval
from backend.web.board import Dashboard

ERROR_BAR_WIDTH = 150.0
# Older replays are in the list of jobs.
_REPLAYS_SHOWN = 3


@dataclass(frozen=True)
class TrainingStatus:
    """Learning in one project.

    ``after``: number of new labels that starts a training; None: labels start none. ``training``:
    the newest one. ``job``: the newest job of any kind.
    """

    schedule: Schedule
    labels: NewLabels
    after: int | None
    training: Job | None
    job: Job | None

    @property
    def missing(self) -> int | None:
        """New labels until the next training; None if labels start none."""
        return None if self.after is None else max(0, self.after - self.labels.untried)

    @property
    def active(self) -> Job | None:
        """Its training that waits or runs."""
        return None if self.training is None or self.training.ended else self.training


def training_status(board: Dashboard, projects: Sequence[str]) -> dict[str, TrainingStatus]:
    """The status of these projects, by their keys."""
    schedules = {s.project: s for s in Schedules(board.database).all()}
    newest = select(func.max(Job.id)).group_by(Job.project)
    with board.database.read() as connection:
        new = count_new_labels(connection)
        last, training = (
            {job.project: job for job in records(connection, select(Job).where(Job.id.in_(ids)))}
            for ids in (newest, newest.where(Job.kind == TRAINING))
        )
    statuses = {}
    for key in projects:
        schedule = schedules.get(key, Schedule(project=key))
        starts = board.settings.learn and not schedule.paused
        statuses[key] = TrainingStatus(
            schedule,
            new.get(key, NewLabels()),
            (schedule.after_labels or board.settings.learn_after_labels) if starts else None,
            training.get(key),
            last.get(key),
        )
    return statuses


@dataclass(frozen=True)
class Outcome:
    """Interactions per object with both versions, over some of the objects (``over``)."""

    over: str
    before: float
    after: float
    difference: Interval
    error_bar: charts.ErrorBar | None

    @property
    def verdict(self) -> str:
        """As the gate says it: better, worse, or '' if the difference is not significant."""
        low, high = self.difference.low, self.difference.high
        if low is None or high is None or low <= 0 <= high:
            return ""
        return "better" if high < 0 else "worse"


@dataclass(frozen=True)
class Replay:
    """A replay that is done. ``goal``: the IoU that ends an object."""

    job: int
    at: datetime | None
    before: str
    version: str
    goal: float
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class Replays:
    """The replays of a project, newest first; ``active``: the one that waits or runs."""

    done: tuple[Replay, ...]
    active: Job | None


def replays(board: Dashboard, project: str) -> Replays:
    """The newest replays of a project."""
    done = board.jobs.listed(project=project, kind=REPLAY, state="done", limit=_REPLAYS_SHOWN)
    made = tuple(replay for job in done if (replay := replay_of(job)) is not None)
    newest = board.jobs.listed(project=project, kind=REPLAY, limit=1)
    return Replays(made, next((job for job in newest if not job.ended), None))


def replay_of(job: Job) -> Replay | None:
    """The result of a replay; None for any other job, and for one that is not done."""
    result = job.result
    if job.kind != REPLAY or job.state != "done" or not result or not result.get("simulated"):
        return None
    parts = (("all", "All labeled objects"), ("held_out", "Held-out images only"))
    summaries = [(name, result[key]) for key, name in parts if result.get(key)]
    differences = [Interval(**summary["difference"]) for _, summary in summaries]
    reach = charts.reach_of(differences)
    outcomes = (
        Outcome(
            name,
            summary["before"],
            summary["after"],
            difference,
            charts.error_bar(difference, -reach, reach, ERROR_BAR_WIDTH),
        )
        for (name, summary), difference in zip(summaries, differences, strict=True)
    )
    return Replay(
        job.id,
        job.ended_at,
        str(result.get("before", "")),
        str(result.get("version", "")),
        float(result.get("goal", 0.85)),
        tuple(outcomes),
    )


# Trainings without a candidate are passed over; older ones say little of the present.
_LOOKED_AT = 10


@dataclass(frozen=True)
class Side:
    """One version: interactions per accepted object, and the share of objects without any."""

    version: str
    interactions: Interval
    zero_share: Interval


@dataclass(frozen=True)
class Example:
    """One picture as both versions suggest it. before, after: interactions per object.

    picture: name of the image among the version's examples.
    """

    picture: str
    before: float
    after: float


@dataclass(frozen=True)
class LastTraining:
    """A training whose candidate was compared with the champion of that time."""

    job: int
    at: datetime | None
    promoted: bool
    reason: str
    before: Side
    after: Side
    difference: Interval
    objects: int
    pictures: int
    examples: tuple[Example, ...]

    @property
    def verdict(self) -> str:
        """better, worse, or '' if the difference is not significant."""
        low, high = self.difference.low or 0.0, self.difference.high or 0.0
        return "better" if high < 0 else "worse" if low > 0 else ""


def last_training(board: Dashboard, project: str) -> LastTraining | None:
    """The newest training of the project that has these figures."""
    jobs = board.jobs.listed(project=project, kind=TRAINING, state="done", limit=_LOOKED_AT)
    return next((shown for job in jobs if (shown := _of(board, job)) is not None), None)


def _of(board: Dashboard, job: Job) -> LastTraining | None:
    result = job.result or {}
    figures = (result.get("gate") or {}).get("suggestions")
    if not figures:
        return None
    version = str(result["version"])
    kept = set(board.registry.gate_pictures(version))
    return LastTraining(
        job.id,
        job.ended_at,
        bool(result.get("promoted")),
        str(result.get("reason", "")),
        _side(str(result.get("champion", "")), figures["champion"]),
        _side(version, figures["candidate"]),
        Interval(**figures["difference"]),
        int(figures["candidate"]["objects"]),
        int(figures["candidate"]["pictures"]),
        tuple(
            Example(
                str(example["picture"]),
                float(example["champion"]["interactions"]),
                float(example["candidate"]["interactions"]),
            )
            for example in figures["examples"]
            if example["picture"] in kept
        ),
    )


def _side(version: str, figures: Mapping[str, Any]) -> Side:
    return Side(version, Interval(**figures["interactions"]), Interval(**figures["zero_share"]))
