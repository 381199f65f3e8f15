"""Replays: the labeled objects asked for again from two versions, by a machine.

What it finds is a simulation, so wherever it stands the word stands with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response

from backend.db.models.jobs import REPLAY, Job
from backend.reports.records import Interval
from backend.web import charts
from backend.web.board import GENUINE, Board, router

pages = router()

WHISKER = 150.0
# Older ones are in the list of jobs.
_SHOWN = 3


@dataclass(frozen=True)
class Outcome:
    """Interactions an object with either version, over some of the objects."""

    over: str
    before: float
    after: float
    difference: Interval
    whisker: charts.Whisker | None

    @property
    def says(self) -> str:
        """As the gate says it: better, worse, or '' where that cannot be told."""
        low, high = self.difference.low, self.difference.high
        if low is None or high is None or low <= 0 <= high:
            return ""
        return "better" if high < 0 else "worse"


@dataclass(frozen=True)
class Replay:
    """A replay that came to its end."""

    job: int
    at: Any
    before: str
    version: str
    goal: float
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class Replays:
    """Of a project, the newest first; ``active``: the one that waits or runs."""

    done: tuple[Replay, ...]
    active: Job | None


@pages.post("/projects/{project}/replay", dependencies=[GENUINE])
def start(request: Request, board: Board, project: str) -> Response:
    """Hold the champion against what it took the place of, on the objects that were labeled."""
    key = board.reports.key(project)
    asked = board.jobs.enqueue(key, REPLAY, trigger="hand", by=board.render.who)
    board.service.job_asked()
    said = f"Replay {asked.id} of project {key.partition('.')[0]} is asked for."
    return board.render.sent_on(request, f"/training/{asked.id}", said)


def replays(board: Board, project: str) -> Replays:
    """See the module."""
    done = board.jobs.listed(project=project, kind=REPLAY, state="done", limit=_SHOWN)
    found = tuple(it for job in done if (it := replay_of(job)) is not None)
    newest = board.jobs.listed(project=project, kind=REPLAY, limit=1)
    return Replays(found, next((it for it in newest if not it.ended), None))


def replay_of(job: Job) -> Replay | None:
    """What a job found; None for any other kind, and for what is not done."""
    told = job.result
    if job.kind != REPLAY or job.state != "done" or not told or not told.get("simulated"):
        return None
    parts = (("all", "All labeled objects"), ("held_out", "Of held-out pictures"))
    summaries = [(name, told[key]) for key, name in parts if told.get(key)]
    return Replay(
        job.id,
        job.ended_at,
        str(told.get("before", "")),
        str(told.get("version", "")),
        float(told.get("goal", 0.85)),
        tuple(_outcomes(summaries)),
    )


def _outcomes(summaries: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Outcome]:
    """All on one scale around zero."""
    differences = [Interval(**told["difference"]) for _, told in summaries]
    reach = max(
        (max(abs(it.mean), abs(it.low or 0.0), abs(it.high or 0.0)) for it in differences),
        default=1.0,
    )
    reach = max(reach, 0.2)
    return [
        Outcome(name, told["before"], told["after"], it, charts.whisker(it, -reach, reach, WHISKER))
        for (name, told), it in zip(summaries, differences, strict=True)
    ]
