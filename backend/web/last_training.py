"""Before and after a project's last training: what the next picture costs, with the same pictures.

The gate measures both versions on held-out pictures (`training.gate.suggestions`); the result of
the training keeps the figures, and the database the images.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backend.db.models.jobs import TRAINING, Job
from backend.learning import gate_pictures
from backend.reports.records import Interval
from backend.web.board import Dashboard

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
    return next((found for job in jobs if (found := _of(board, job)) is not None), None)


def _of(board: Dashboard, job: Job) -> LastTraining | None:
    result = job.result or {}
    figures = (result.get("gate") or {}).get("suggestions")
    if not figures:
        return None
    version = str(result["version"])
    kept = set(gate_pictures.names(board.database, version))
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
                str(it["picture"]),
                float(it["champion"]["interactions"]),
                float(it["candidate"]["interactions"]),
            )
            for it in figures["examples"]
            if it["picture"] in kept
        ),
    )


def _side(version: str, figures: Mapping[str, Any]) -> Side:
    return Side(version, Interval(**figures["interactions"]), Interval(**figures["zero_share"]))
