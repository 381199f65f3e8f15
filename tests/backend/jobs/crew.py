"""Real workers and schedulers as processes; a job's request says what its training does.

Run as a program it is one of them: its jobs do ``work``, and the worker is run as ever.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backend.db.engine import Database
from backend.db.migrations import migrate
from backend.db.models import Job
from backend.jobs.progress import Progress
from backend.jobs.queue import Jobs
from backend.settings import Settings
from tests.backend.programs import start, stop


class Crew:
    """Processes that share a database, a broker and a folder."""

    def __init__(self, folder: Path, *, database_url: str = "", broker_url: str = "") -> None:
        self.folder = folder
        self.diary = folder / "diary"
        self.diary.touch()
        shared = folder / "data"
        shared.mkdir()
        self.settings = Settings(
            data=shared, database_url=database_url, broker_url=broker_url, lease_s=6
        )
        self.database = Database(self.settings.resolved_database_url)
        migrate(self.database)
        self.jobs = Jobs(self.database)
        self.members: list[subprocess.Popen[bytes]] = []

    def start(self, what: str) -> "subprocess.Popen[bytes]":
        """what: support, training or scheduler."""
        log = self.folder / f"{len(self.members)}-{what}.log"
        crew = ("-m", "tests.backend.jobs.crew")
        member = start(self.settings, log, what, program=crew, TESTS_DIARY=str(self.diary))
        self.members.append(member)
        return member

    def until(self, true: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                logs = "\n".join(log.read_text()[-1500:] for log in self.folder.glob("*.log"))
                jobs = "\n".join(map(str, self.jobs.listed()))
                raise AssertionError(f"{logs}\n{jobs}\n{self.diary.read_text()}")
            time.sleep(0.05)

    def done(self, number: int) -> Job:
        """Wait until a job is done."""
        self.until(lambda: self.jobs.get(number).ended)
        job = self.jobs.get(number)
        assert job.state == "done", job
        return job

    def entries(self, number: int) -> list[dict[str, Any]]:
        """The entries that all attempts of a job wrote into the diary."""
        lines = [json.loads(line) for line in self.diary.read_text().splitlines()]
        return [line for line in lines if line["job"] == number]

    def does(self, number: int) -> "subprocess.Popen[bytes]":
        """Wait until a member runs the job, and return it."""
        self.until(lambda: any(entry["what"] == "begins" for entry in self.entries(number)))
        begun = [entry for entry in self.entries(number) if entry["what"] == "begins"]
        process = begun[-1]["process"]
        return next(member for member in self.members if member.pid == process)

    def end(self) -> None:
        for member in self.members:
            if member.poll() is None:
                member.send_signal(signal.SIGCONT)
                member.terminate()
        for member in self.members:
            stop(member)
        self.database.close()


def work(job: Job, settings: Settings, database: Database, progress: Progress) -> dict[str, Any]:
    """Take some seconds; then write once more, as a promotion would."""

    def write(what: str) -> None:
        line = {"job": job.id, "what": what, "process": os.getpid(), "project": job.project}
        with Path(os.environ["TESTS_DIARY"]).open("a") as diary:
            diary.write(json.dumps({**line, "at": time.monotonic()}) + "\n")

    write("begins")
    seconds = float(job.request.get("seconds", 0.2))
    progress.phase("learning", 1.0)
    began = time.monotonic()
    # An attempt that slept does not check, so that only the fence can stop it.
    while time.monotonic() - began < seconds:
        if not job.request.get("heedless"):
            progress.check()
        progress.at((time.monotonic() - began) / seconds)
        time.sleep(0.05)
    with database.write() as connection:
        progress.fenced(connection)
        write("promotes")
    return {"attempt": job.attempts, "nice": os.nice(0), "threads": os.environ["OMP_NUM_THREADS"]}


def main(what: str) -> None:
    from backend import logs
    from backend.jobs import runner, scheduler
    from backend.worker import celery_app as of_backend

    runner.load = lambda kind, settings: work
    # Shorter than in production, so that tests need not wait.
    of_backend.PERIODIC[of_backend.TICK] = 1
    scheduler._RESEND_S = 12.0
    settings = Settings()
    logs.log_to_stderr(settings)
    if what == "scheduler":
        of_backend.run_scheduler(settings)
    elif what == "training":
        of_backend.run_worker(settings, "training")
    else:
        of_backend.run_worker(settings, "support")


if __name__ == "__main__":
    main(sys.argv[1])
