"""Where a training keeps what it needs on this machine: one folder a job, swept once it has ended.

A second attempt on the same machine goes on in the folder of the first. Only one process at a time
is in a folder: where the first still hangs there, taken for dead but not gone, the second works
beside it.
"""

import fcntl
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from sqlalchemy import select

from backend.db.engine import Database
from backend.db.models.jobs import ENDS, Job

_log = logging.getLogger(__name__)

_FOLDER = "jobs"
# A folder of a job that the database does not know: another database's, or one that was restored.
_UNKNOWN_S = 24 * 3600.0


@contextmanager
def workplace(data: Path, job_id: int) -> Iterator[Path]:
    """A folder of the job's, this process's alone until the block ends. data: the data folder."""
    root = data / _FOLDER
    root.mkdir(parents=True, exist_ok=True)
    for attempt in count():
        folder = root / f"{job_id}-{attempt}"
        with _locked(folder) as mine:
            if mine:
                folder.mkdir(exist_ok=True)
                yield folder
                return


def remove(folder: Path) -> None:
    """The folder of a job that needs it no more, by whoever works in it."""
    shutil.rmtree(folder, ignore_errors=True)
    _lock_of(folder).unlink(missing_ok=True)


def sweep(data: Path, database: Database) -> int:
    """Remove the folders of jobs that have ended; how many."""
    root = data / _FOLDER
    found: dict[int, list[Path]] = {}
    for folder in root.glob("*-*") if root.is_dir() else ():
        name = folder.name.partition("-")[0]
        if name.isdigit() and folder.is_dir():
            found.setdefault(int(name), []).append(folder)
    if not found:
        return 0
    with database.read() as connection:
        query = select(Job.id, Job.state).where(Job.id.in_(list(found)))
        states = {row.id: row.state for row in connection.execute(query)}
    swept = 0
    for number, folders in found.items():
        for folder in folders:
            if states.get(number) in ENDS or (number not in states and _old(folder)):
                swept += _swept(folder)
    return swept


def _swept(folder: Path) -> bool:
    with _locked(folder) as mine:
        if mine:
            _log.info("Removing what job %s needed", folder.name.partition("-")[0])
            remove(folder)
        return mine


def _old(folder: Path) -> bool:
    try:
        return time.time() - folder.stat().st_mtime > _UNKNOWN_S
    except OSError:
        return False


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether the folder is free, and then this process's; a kill frees it."""
    with _lock_of(folder).open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
