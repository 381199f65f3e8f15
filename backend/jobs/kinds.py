"""The kinds of jobs, the function that runs each, and the resources they may use.

The functions are named by module, so that torch loads only in the process that needs it.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from backend.db.engine import Database
from backend.db.models.jobs import REPLAY, SCORING, TRAINING, Job
from backend.errors import JobError
from backend.jobs.progress import Progress
from backend.settings import Settings

# Returns the job's result, any JSON. JobError means that a retry cannot help: the job fails with
# that message. Any other error is retried.
Work = Callable[[Job, Settings, Database, Progress], Mapping[str, Any]]

_AUTOGROUP = Path("/proc/self/autogroup")
_MATH_LIBRARIES = ("OMP", "OPENBLAS", "MKL", "NUMEXPR")


@dataclass(frozen=True)
class _Kind:
    work: Work | tuple[str, str]  # a function, or its module and name
    uses_torch: bool  # its threads and GPU memory are limited


_kinds: dict[str, _Kind] = {
    TRAINING: _Kind(("backend.learning.train_job", "train"), True),
    SCORING: _Kind(("backend.learning.score_job", "score"), True),
    REPLAY: _Kind(("backend.learning.replay_job", "replay"), True),
}


def register(name: str, work: Work, *, uses_torch: bool = False) -> None:
    """Add or replace a kind of job in this process.

    A program with its own kinds registers them before it calls ``celery_app.run_worker``.

    name: 16 characters at most.
    """
    _kinds[name] = _Kind(work, uses_torch)


def load(name: str, settings: Settings) -> Work:
    """The function that runs this kind of job, with the limits of the calling thread set.

    Raises JobError for an unknown kind.
    """
    if name not in _kinds:
        raise JobError(f"This worker does not know the job kind {name!r}.")
    kind = _kinds[name]
    if kind.uses_torch:
        limit_thread(settings)
    if not isinstance(kind.work, tuple):
        return kind.work
    module, function = kind.work
    work: Work = getattr(import_module(module), function)
    return work


# -- resource limits: on a machine that also serves, clicks stay fast while a network trains


def limit_process(settings: Settings) -> None:
    """Limit priority and threads of this process. Call it before torch and numpy are imported."""
    # Threads that wait must sleep instead of spinning: a click needs the core.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    for library in _MATH_LIBRARIES:
        os.environ[f"{library}_NUM_THREADS"] = str(settings.training_threads)
    if settings.training_device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # Threads started later inherit it.
    os.nice(settings.training_nice)
    _lower_session(settings.training_nice)


def _lower_session(niceness: int) -> None:
    """Give the session that this process leads the same niceness.

    With autogroups (sched(7), the default of most distributions), Linux shares the cores between
    sessions first: a process with a session of its own gets as much as the server, however nice it
    is. A session with another leader is left alone, since the server may be part of it.
    """
    if os.getsid(0) != os.getpid():
        return
    with suppress(OSError):  # no Linux, a kernel without autogroups, or /proc is not writable
        _AUTOGROUP.write_text(str(niceness))


def limit_thread(settings: Settings) -> None:
    """Limit torch in the thread that computes; torch counts its workers per thread."""
    import torch

    torch.set_num_threads(settings.training_threads)
    if settings.training_device != "cpu" and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(settings.training_gpu_share)
