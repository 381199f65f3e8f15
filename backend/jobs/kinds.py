"""The kinds of jobs, and what does them. Imported when the first of a kind runs, and not before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from backend.db.engine import Database
from backend.errors import JobError
from backend.jobs.progress import Progress
from backend.jobs.records import REPLAY, SCORING, TRAINING, Job
from backend.settings import Settings

# Gives the job's result, any JSON. Raises JobError for what another attempt would not mend (the
# job fails with that sentence); after any other error it is tried again.
Work = Callable[[Job, Settings, Database, Progress], Mapping[str, Any]]


@dataclass(frozen=True)
class _Kind:
    work: Work | tuple[str, str]  # or module and function
    network: bool  # whether it computes with torch, whose threads and memory are then bounded


_kinds: dict[str, _Kind] = {
    TRAINING: _Kind(("backend.learning.train_job", "train"), True),
    SCORING: _Kind(("backend.learning.score_job", "score"), True),
    REPLAY: _Kind(("backend.learning.replay_job", "replay"), True),
}


def register(name: str, work: Work, *, network: bool = False) -> None:
    """Have jobs of this name (16 characters at most) done so, in this process, from now on.

    A program that has kinds of its own, or a test, registers them and then calls
    ``backend.worker.celery_app.run_worker``.
    """
    _kinds[name] = _Kind(work, network)


def work_of(name: str) -> Work:
    """What does jobs of this kind. Raises JobError where nothing does."""
    kind = _known(name)
    if not isinstance(kind.work, tuple):
        return kind.work
    module, function = kind.work
    work: Work = getattr(import_module(module), function)
    return work


def computes(name: str) -> bool:
    """Whether jobs of this kind compute with torch."""
    return _known(name).network


def _known(name: str) -> _Kind:
    if name not in _kinds:
        raise JobError(f"This worker knows no jobs called {name!r}.")
    return _kinds[name]
