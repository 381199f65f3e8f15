"""One attempt at a job: claimed once, reported, ended."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from backend.db.engine import Database
from backend.db.models import Job, LeaseRow, lease_name, lock_lease
from backend.errors import (
    CancelledError,
    DatabaseError,
    GiveWayError,
    JobError,
    LabelStudioError,
    LostLeaseError,
    OverdueError,
)
from backend.jobs.lease import Leases
from backend.jobs.presence import recent_errors
from backend.jobs.progress import Progress
from backend.jobs.queue import Jobs
from backend.jobs.runner import Runner, load
from backend.settings import Settings
from tests.backend.jobs.conftest import PROJECT, Does, SteadyClock, raising

Ran = Callable[..., Job]


@pytest.fixture
def ran(jobs: Jobs, runner: Runner, trainings_do: Does) -> Ran:
    """Runs a training that does this work once, by another runner if one is given."""

    def running(work: Any, by: Runner = runner) -> Job:
        trainings_do(work)
        job = jobs.enqueue(PROJECT, "training", trigger="hand")
        by.run(job.id)
        return jobs.get(job.id)

    return running


def test_a_done_job_has_its_result_and_log(jobs: Jobs, ran: Ran) -> None:
    def work(job: Job, progress: Progress) -> dict[str, Any]:
        progress.phase("reading", 0.25)
        progress.at(1.0, "read 3 labels")
        progress.phase("learning", 0.75)
        progress.at(0.5)
        progress.point({"step": 1, "loss": 0.5})
        progress.line("learned slowly", "warning")
        progress.check()
        return {"version": "one"}

    job = ran(work)

    assert (job.state, job.result, job.error) == ("done", {"version": "one"}, "")
    assert (job.attempts, job.phase, job.progress) == (1, "learning", 1.0)
    assert job.started_at is not None
    assert job.ended_at is not None
    log = jobs.log(job.id)
    assert [line.line for line in log if line.line] == [
        "Phase: reading",
        "Phase: learning",
        "learned slowly",
    ]
    assert [line.figures for line in log if line.figures] == [{"step": 1, "loss": 0.5}]
    assert [line.level for line in jobs.log(job.id, after=log[-2].id)] == ["warning"]


def test_progress_counts_the_whole_job(jobs: Jobs, ran: Ran) -> None:
    seen: list[float] = []

    def work(job: Job, progress: Progress) -> dict[str, Any]:
        for name, share in (("reading", 0.2), ("learning", 0.8)):
            progress.phase(name, share)
            for part in (0.0, 0.5, 1.0, 7.0):
                progress.at(part)
                progress.beat()
                seen.append(jobs.get(job.id).progress)
        return {}

    ran(work)

    assert seen == pytest.approx([0, 0.1, 0.2, 0.2, 0.2, 0.6, 1, 1])


def test_a_job_runs_once_although_its_message_comes_often(
    jobs: Jobs, runner: Runner, trainings_do: Does
) -> None:
    ran: list[int] = []
    gate = threading.Event()

    def work(job: Job, progress: Progress) -> dict[str, Any]:
        ran.append(job.id)
        gate.wait(20)
        return {}

    trainings_do(work)
    job = jobs.enqueue(PROJECT, "training", trigger="hand")
    threads = [threading.Thread(target=runner.run, args=(job.id,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    while jobs.get(job.id).state != "running":
        time.sleep(0.01)
    runner.run(job.id)
    gate.set()
    for thread in threads:
        thread.join()
    runner.run(job.id)

    assert ran == [job.id]
    assert jobs.get(job.id).attempts == 1


def test_two_trainings_of_a_project_never_run_at_once(
    jobs: Jobs, runner: Runner, trainings_do: Does
) -> None:
    other: list[Job] = []

    def work(job: Job, progress: Progress) -> dict[str, Any]:
        if not other:
            other.append(jobs.enqueue(PROJECT, "training", trigger="hand"))
            runner.run(other[0].id)
            assert jobs.get(other[0].id).state == "queued"
        return {}

    trainings_do(work)
    first = jobs.enqueue(PROJECT, "training", trigger="hand")
    runner.run(first.id)
    runner.run(other[0].id)

    assert other[0].id != first.id
    assert [jobs.get(n).state for n in (first.id, other[0].id)] == ["done", "done"]


def test_a_job_that_is_not_due_waits(jobs: Jobs, runner: Runner, trainings_do: Does) -> None:
    trainings_do(lambda job, progress: {})
    later = datetime.now(UTC) + timedelta(hours=1)
    job = jobs.enqueue(PROJECT, "training", trigger="labels", due_at=later)
    runner.run(job.id)
    assert jobs.get(job.id).state == "queued"


@pytest.mark.parametrize("error", [LabelStudioError("Label Studio is away."), OSError("disk full")])
def test_a_failing_job_is_tried_three_times_and_keeps_the_reason(
    error: Exception,
    database: Database,
    jobs: Jobs,
    runner: Runner,
    trainings_do: Does,
    due_again: Callable[[int], None],
) -> None:
    trainings_do(raising(error))
    job = jobs.enqueue(PROJECT, "training", trigger="hand")
    for attempt in (1, 2):
        runner.run(job.id)
        waits = jobs.get(job.id)
        assert (waits.state, waits.attempts) == ("queued", attempt)
        assert waits.due_at > datetime.now(UTC)
        due_again(job.id)
    runner.run(job.id)
    runner.run(job.id)

    ended = jobs.get(job.id)
    assert (ended.state, ended.attempts) == ("failed", 3)
    assert ended.error.startswith("Gave up after 3 attempts. The last error: ")
    assert str(error) in ended.error
    assert [line.attempt for line in jobs.log(job.id)] == [1, 2, 3]
    assert len(recent_errors(database)) == 3


def test_a_job_error_is_not_retried(ran: Ran) -> None:
    job = ran(raising(JobError("There are too few labels.")))
    assert (job.state, job.error) == ("failed", "There are too few labels.")


def test_an_unknown_kind_fails(jobs: Jobs, runner: Runner) -> None:
    job = jobs.enqueue(PROJECT, "baking", trigger="hand")
    runner.run(job.id)
    assert jobs.get(job.id).error == "This worker does not know the job kind 'baking'."


def test_a_running_job_is_cancelled_within_one_step(jobs: Jobs, ran: Ran) -> None:
    steps: list[int] = []

    def work(job: Job, progress: Progress) -> dict[str, Any]:
        for step in range(1000):
            progress.check()
            steps.append(step)
            if step == 3:
                jobs.cancel(job.id, "ann")
            time.sleep(0.25)  # longer than the pause between two checks, like any real step
        return {}

    job = ran(work)

    assert len(steps) <= 5, "one more step at most"
    assert (job.state, job.error) == ("cancelled", "Cancelled by ann.")
    assert jobs.enqueue(PROJECT, "training", trigger="hand").id != job.id


def test_a_cancelled_job_cannot_promote(database: Database, jobs: Jobs, ran: Ran) -> None:
    def work(job: Job, progress: Progress) -> dict[str, Any]:
        with database.write() as connection:
            progress.fenced(connection)
        jobs.cancel(job.id, "ann")
        with database.write() as connection:
            progress.fenced(connection)
        return {"promoted": True}

    job = ran(work)
    assert (job.state, job.result) == ("cancelled", None)


def test_a_worker_that_lost_its_lease_cannot_write(
    database: Database, jobs: Jobs, learning: Settings, ran: Ran
) -> None:
    """It sleeps while another worker takes over and finishes; then it wakes up."""
    steady = SteadyClock()
    quick = Runner(learning, database, Leases(learning.lease_s, steady, lambda _: False))
    seen: list[type] = []

    def work(job: Job, progress: Progress) -> dict[str, Any]:
        if job.attempts > 1:
            return {"by": "the second"}
        progress.close()  # no more heartbeats
        while jobs.get(job.id).attempts == 1:
            quick.run(job.id)
            steady.now += 3
        with pytest.raises(LostLeaseError), database.write() as connection:
            progress.fenced(connection)
        try:
            progress.check()
        except CancelledError as error:
            seen.append(type(error))
        progress.line("from the old worker")
        progress.at(0.1, "from the old worker")
        progress.beat()
        return {"by": "the first"}

    job = ran(work)

    assert (job.state, job.result, job.attempts) == ("done", {"by": "the second"}, 2)
    assert seen == [LostLeaseError]
    assert "from the old worker" not in str([job, *jobs.log(job.id)])


def test_a_job_that_takes_too_long_is_stopped(
    database: Database, learning: Settings, ran: Ran
) -> None:
    steady = SteadyClock()
    runner = Runner(learning, database, Leases(9), clock=steady)

    def work(job: Job, progress: Progress) -> dict[str, Any]:
        steady.now += 6 * 3600 + 1
        with pytest.raises(OverdueError):
            progress.check()
        progress.check()
        return {}

    job = ran(work, runner)
    assert (job.state, job.error) == ("failed", "Stopped: it took longer than 6 hours.")


def test_a_job_that_hangs_ends_its_process(
    database: Database, learning: Settings, ran: Ran
) -> None:
    steady = SteadyClock()
    died = threading.Event()
    runner = Runner(learning, database, Leases(9), clock=steady, die=died.set)

    def work(job: Job, progress: Progress) -> dict[str, Any]:
        steady.now += 8 * 3600
        assert died.wait(30)
        return {"late": True}

    job = ran(work, runner)
    assert (job.state, job.result) == ("failed", None)
    assert "took longer than 6 hours and did not react" in job.error


def test_a_worker_that_shuts_down_requeues_its_job_without_counting_the_attempt(
    database: Database, jobs: Jobs, learning: Settings, ran: Ran
) -> None:
    ending = threading.Event()
    runner = Runner(learning, database, Leases(9), stopping=ending.is_set)

    def work(job: Job, progress: Progress) -> dict[str, Any]:
        if job.request.get("go"):
            return {}
        ending.set()
        while True:
            progress.check()
            time.sleep(0.05)

    job = ran(work, runner)
    assert (job.state, job.attempts) == ("queued", 0)

    ending.clear()
    jobs.enqueue(PROJECT, "training", trigger="hand", request={"go": True})
    runner.run(job.id)
    assert (jobs.get(job.id).state, jobs.get(job.id).attempts) == ("done", 1)


def test_a_re_scoring_gives_way_to_a_training(
    database: Database, jobs: Jobs, runner: Runner, trainings_do: Does
) -> None:
    def work(job: Job, progress: Progress) -> dict[str, Any]:
        if job.kind == "scoring" and not jobs.listed(kind="training"):
            long_due = datetime.now(UTC) - timedelta(minutes=1)
            jobs.enqueue("7.1", "training", trigger="hand", due_at=long_due)
            time.sleep(0.3)  # longer than the pause between two checks
            with pytest.raises(GiveWayError):
                progress.check()
            progress.check()
        return {"kind": job.kind}

    trainings_do(work)
    scoring = jobs.enqueue(PROJECT, "scoring", trigger="promotion")
    runner.run(scoring.id)
    assert (jobs.get(scoring.id).state, jobs.get(scoring.id).attempts) == ("queued", 0)

    runner.run(scoring.id)
    assert jobs.get(scoring.id).state == "queued", "the training goes first"
    (training,) = jobs.listed(kind="training")
    runner.run(training.id)
    runner.run(scoring.id)
    assert jobs.get(scoring.id).state == "done"


def test_a_job_that_pauses_is_due_after_the_pause(ran: Ran) -> None:
    job = ran(raising(GiveWayError("Paused.", timedelta(minutes=5))))
    assert (job.state, job.attempts) == ("queued", 0)
    assert job.due_at > datetime.now(UTC) + timedelta(minutes=4)


def test_the_outcome_is_written_once_the_database_is_back(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([DatabaseError("locked"), DatabaseError("locked")])
    held = Progress.held

    def sometimes(progress: Progress, connection: Any) -> None:
        for error in failures:
            raise error
        held(progress, connection)

    monkeypatch.setattr(Progress, "held", sometimes)
    assert ran(lambda job, progress: {"fine": True}).result == {"fine": True}


def test_the_functions_of_the_real_kinds_load(learning: Settings) -> None:
    for name in ("training", "scoring", "replay"):
        assert callable(load(name, learning))


def test_a_message_for_an_unknown_job_does_nothing(runner: Runner, jobs: Jobs) -> None:
    runner.run(12345)
    assert jobs.listed() == []


def test_the_job_of_a_dead_worker_is_taken_over_when_its_message_comes_again(
    database: Database, jobs: Jobs, learning: Settings, trainings_do: Does
) -> None:
    """As RabbitMQ redelivers it, before any scheduler has noticed."""
    trainings_do(lambda job, progress: {"attempt": job.attempts})
    job = jobs.enqueue(PROJECT, "training", trigger="hand")
    with database.write() as connection:
        name = lease_name("training", PROJECT)
        lock_lease(connection, name)
        dead = "gone for ever"
        connection.execute(
            update(LeaseRow).where(LeaseRow.name == name).values(holder=dead, token=7)
        )
        connection.execute(
            update(Job)
            .where(Job.id == job.id)
            .values(state="running", attempts=1, worker=dead, phase="learning")
        )
    Runner(learning, database, Leases(9, gone=lambda who: who == dead)).run(job.id)

    assert jobs.get(job.id).result == {"attempt": 2}
    (line,) = [entry.line for entry in jobs.log(job.id) if entry.level == "warning"]
    assert "died in phase learning" in line
