"""Where a training keeps its files on this machine: one folder per job, removed once it has ended.

A second attempt on the same machine resumes with the files of the first. It takes them over by
renaming the folder: if the first process hangs, taken for dead but still there, it finds nothing
under the old name and can damage nothing.
"""

import logging
import shutil
from pathlib import Path

from sqlalchemy import select

from backend.db.engine import Database
from backend.db.models.jobs import ENDS, Job

_log = logging.getLogger(__name__)

_FOLDER = "jobs"


def work_dir(data: Path, job: Job) -> Path:
    """A folder in the data folder for this attempt at a job, with what earlier ones left."""
    root = data / _FOLDER
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f"{job.id}-{job.attempts}"
    earlier = sorted(root.glob(f"{job.id}-*"), key=lambda path: path.stat().st_mtime)
    if earlier and not folder.exists():
        earlier[-1].rename(folder)
    folder.mkdir(exist_ok=True)
    return folder


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
    ended = [folder for number, folder in folders if number not in still_open]
    for folder in ended:
        _log.info("Removing the files of job %s", folder.name.partition("-")[0])
        shutil.rmtree(folder, ignore_errors=True)
    return len(ended)
