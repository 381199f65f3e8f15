"""Where a training keeps its files on this machine: one folder per job, removed once it has ended.

A second attempt on the same machine resumes in the folder of the first. Only one process at a time
uses a folder: if the first one hangs, taken for dead but still there, the second gets another.
"""

import fcntl
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from sqlalchemy import select

from backend.db.engine import Database
from backend.db.models.jobs import ENDS, Job

_log = logging.getLogger(__name__)

_FOLDER = "jobs"


@contextmanager
def work_dir(data: Path, job_id: int) -> Iterator[Path]:
    """A folder in the data folder that only this process uses for the job until the block ends."""
    root = data / _FOLDER
    root.mkdir(parents=True, exist_ok=True)
    for attempt in count():
        folder = root / f"{job_id}-{attempt}"
        with _locked(folder) as locked:
            if locked:
                folder.mkdir(exist_ok=True)
                yield folder
                return


def remove(folder: Path) -> None:
    """Remove the folder of a job; only for the process that uses it."""
    shutil.rmtree(folder, ignore_errors=True)
    _lock_file(folder).unlink(missing_ok=True)


def sweep(data: Path, database: Database) -> int:
    """Remove the folders of jobs that have ended, or are unknown; returns their number."""
    folders = [
        (int(number), folder)
        for folder in (data / _FOLDER).glob("*-*")
        if (number := folder.name.partition("-")[0]).isdigit() and folder.is_dir()
    ]
    if not folders:
        return 0
    with database.read() as connection:
        open_jobs = select(Job.id).where(Job.state.not_in(ENDS))
        still_open = set(connection.execute(open_jobs).scalars())
    return sum(_removed(folder) for number, folder in folders if number not in still_open)


def _removed(folder: Path) -> bool:
    """Remove a folder unless a process uses it."""
    with _locked(folder) as locked:
        if locked:
            _log.info("Removing the files of job %s", folder.name.partition("-")[0])
            remove(folder)
        return locked


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether the folder was free, and is now locked by this process; a kill frees it."""
    with _lock_file(folder).open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
