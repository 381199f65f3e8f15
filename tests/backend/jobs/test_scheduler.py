"""What the scheduler starts, and which jobs it requeues."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from backend.db.engine import Database
from backend.db.models import Job, LeaseRow, lease_name, lock_lease
from backend.errors import JobError
from backend.jobs.lease import Leases
from backend.jobs.queue import Jobs
from backend.jobs.runner import Runner
from backend.jobs.scheduler import Scheduler
from backend.jobs.schedules import NewLabels, Schedules, new_labels
from backend.settings import Settings
from tests.backend.jobs.conftest import NOON, PROJECT, Does, SteadyClock, Team, raising


class Clock(Scheduler):
    """A scheduler that records what it sent."""

    def __init__(self, settings: Settings, database: Database, **_: object) -> None:
        self.sent: list[int] = []
        self.steady = SteadyClock()
        leases = Leases(settings.lease_s, self.steady, lambda _: False)
        super().__init__(
            settings, database, leases, lambda job: self.sent.append(job.id), clock=self.steady
        )

    def after(self, seconds: float, now: datetime | None = None) -> None:
        self.steady.now += seconds
        self.tick(now)


@pytest.fixture
def clock(learning: Settings, database: Database) -> Clock:
    return Clock(learning, database)


def minutes(number: float) -> datetime:
    return NOON + timedelta(minutes=number)


# -- messages


def test_a_due_job_is_sent_and_sent_again_after_a_while(clock: Clock, jobs: Jobs) -> None:
    job = jobs.enqueue(PROJECT, "training", trigger="hand", now=NOON)
    scoring = jobs.enqueue(PROJECT, "scoring", trigger="promotion", due_at=minutes(2), now=NOON)

    clock.tick(minutes(1))
    assert clock.sent == [job.id]
    clock.after(5, minutes(1))
    assert clock.sent == [job.id]
    clock.after(60, minutes(3))
    assert clock.sent == [job.id, job.id, scoring.id]


def test_a_job_is_sent_again_if_the_broker_was_down(
    learning: Settings, database: Database, jobs: Jobs
) -> None:
    away = [True]
    sent: list[Job] = []

    def send(job: Job) -> None:
        if away[0]:
            raise ConnectionError("no broker")
        sent.append(job)

    clock = Scheduler(learning, database, Leases(9), send)
    job = jobs.enqueue(PROJECT, "training", trigger="hand")
    clock.tick()
    away[0] = False
    clock.tick()
    assert [queued.id for queued in sent] == [job.id]


def test_a_job_is_sent_when_the_one_before_it_has_ended(
    clock: Clock, database: Database, jobs: Jobs, runner: Runner, trainings_do: Does
) -> None:
    behind: list[int] = []

    def work(job: Job, progress: object) -> dict[str, int]:
        behind.append(jobs.enqueue(PROJECT, "training", trigger="hand").id)
        clock.tick()
        assert clock.sent == []
        return {}

    trainings_do(work)
    runner.run(jobs.enqueue(PROJECT, "training", trigger="hand").id)
    clock.tick()
    assert clock.sent == behind


# -- workers that died


def runs(database: Database, job: Job, attempts: int = 1, holder: str = "elsewhere") -> None:
    """As if a worker on another machine ran it."""
    with database.write() as connection:
        name = lease_name(job.kind, job.project)
        lock_lease(connection, name)
        lease = {"holder": holder, "token": attempts, "beat": 1}
        connection.execute(update(LeaseRow).where(LeaseRow.name == name).values(lease))
        values = {"state": "running", "attempts": attempts, "worker": holder}
        connection.execute(update(Job).where(Job.id == job.id).values(values))


def test_the_job_of_a_silent_worker_goes_back_to_the_queue(
    clock: Clock, database: Database, jobs: Jobs
) -> None:
    job = jobs.enqueue(PROJECT, "training", trigger="hand")
    runs(database, job)
    for _ in range(3):
        clock.after(3)
        assert jobs.get(job.id).state == "running"
    for _ in range(3):
        clock.after(3)

    assert (jobs.get(job.id).state, jobs.get(job.id).attempts) == ("queued", 1)
    assert clock.sent == [job.id]
    with database.read() as connection:
        lease = connection.execute(select(LeaseRow)).one()
    assert (lease.holder, lease.token) == ("", 2)


def test_a_clock_that_jumps_frees_no_lease(clock: Clock, database: Database, jobs: Jobs) -> None:
    job = jobs.enqueue(PROJECT, "training", trigger="hand")
    runs(database, job)
    for day in range(20):
        clock.after(0.1, NOON + timedelta(days=day if day % 2 else -day))
    assert jobs.get(job.id).state == "running"


def test_a_job_whose_workers_died_three_times_fails(
    clock: Clock, database: Database, jobs: Jobs
) -> None:
    job = jobs.enqueue(PROJECT, "training", trigger="hand")
    runs(database, job, attempts=3)
    for _ in range(6):
        clock.after(3)

    ended = jobs.get(job.id)
    assert ended.state == "failed"
    assert ended.error.startswith(
        "Gave up after 3 attempts. The last error: Its worker (elsewhere)"
    )


def test_a_job_cancelled_after_its_worker_died_ends_as_cancelled(
    clock: Clock, database: Database, jobs: Jobs
) -> None:
    job = jobs.enqueue(PROJECT, "training", trigger="hand")
    runs(database, job)
    assert not jobs.cancel(job.id, "ann").ended
    for _ in range(6):
        clock.after(3)
    assert jobs.get(job.id).state == "cancelled"


# -- new labels


def test_enough_new_labels_start_a_training_after_a_quiet_minute(
    clock: Clock, jobs: Jobs, team: Team
) -> None:
    team.accept(2)
    clock.labels_changed(NOON)
    assert jobs.listed() == []

    team.accept()
    clock.labels_changed(NOON)
    (job,) = jobs.listed()
    assert (job.kind, job.trigger, job.state) == ("training", "labels", "queued")
    assert job.due_at == minutes(1)

    team.accept()
    clock.labels_changed(minutes(0.5))
    assert jobs.get(job.id).due_at == minutes(1.5)
    clock.labels_changed(minutes(1))
    assert jobs.get(job.id).due_at == minutes(1.5), "nothing new came"
    assert len(jobs.listed()) == 1


def test_labels_without_a_webhook_are_counted_after_a_while(
    clock: Clock, jobs: Jobs, team: Team
) -> None:
    clock.tick(NOON)
    team.accept(3)
    clock.after(30, NOON)
    assert len(jobs.listed()) == 1


@pytest.mark.parametrize(
    ("settings", "schedule"),
    [({"learn": False}, {}), ({}, {"paused": True}), ({}, {"after_labels": 4})],
    ids=["off", "paused", "more"],
)
def test_labels_start_no_training_when_learning_is_off_paused_or_needs_more(
    settings: dict[str, bool],
    schedule: dict[str, int],
    learning: Settings,
    database: Database,
    jobs: Jobs,
    team: Team,
) -> None:
    clock = Clock(learning.model_copy(update=settings), database)
    Schedules(database).change(PROJECT, "ann", **schedule)  # type: ignore[arg-type]
    team.accept(3)
    clock.labels_changed(NOON)
    assert jobs.listed() == []

    Schedules(database).change(PROJECT, "ann", paused=False, after_labels=0)
    clock.labels_changed(NOON)
    assert len(jobs.listed()) == (0 if settings else 1)


def test_a_waiting_training_waits_while_its_project_is_paused(
    clock: Clock, database: Database, jobs: Jobs, team: Team, runner: Runner, trainings_do: Does
) -> None:
    trainings_do(lambda job, progress: {})
    team.accept(3)
    clock.labels_changed(datetime.now(UTC) - timedelta(hours=1))
    (job,) = jobs.listed()
    schedules = Schedules(database)
    schedules.change(PROJECT, "ann", paused=True)
    clock.tick()
    runner.run(job.id)
    assert (clock.sent, jobs.get(job.id).state) == ([], "queued")

    jobs.enqueue(PROJECT, "training", trigger="hand", by="ann")
    runner.run(job.id)
    assert jobs.get(job.id).state == "done"


def test_only_labels_that_train_are_counted(database: Database, team: Team) -> None:
    team.annotation(1)
    team.annotation(2, picture="unseen")
    team.annotation(3, picture="gone")
    team.annotation(4, task=40)
    team.annotation(5, task=40)
    team.annotation(6, task=40, ground_truth=True)
    team.annotation(7)
    team.change(7, gone_at=NOON)
    team.annotation(8, project="7.1")

    assert new_labels(database, PROJECT) == NewLabels(2, 2)
    assert new_labels(database, "7.1") == NewLabels(1, 1)
    assert new_labels(database, "8.1") == NewLabels(0, 0)


def test_a_learned_label_is_new_again_only_when_it_changes(
    clock: Clock, database: Database, jobs: Jobs, team: Team, runner: Runner, trainings_do: Does
) -> None:
    def work(job: Job, progress: object) -> dict[str, int]:
        assert new_labels(database, PROJECT).new == 0, "those that it reads"
        team.accept()
        return {}

    trainings_do(work)
    team.accept(3)
    runner.run(jobs.enqueue(PROJECT, "training", trigger="hand").id)
    assert new_labels(database, PROJECT) == NewLabels(1, 1), "the one that came meanwhile"

    team.change(2)
    assert new_labels(database, PROJECT) == NewLabels(2, 2)
    clock.labels_changed(NOON)
    assert len(jobs.listed()) == 1


def test_labels_of_a_failed_training_stay_new_but_do_not_start_it_again(
    clock: Clock, database: Database, jobs: Jobs, team: Team, runner: Runner, trainings_do: Does
) -> None:
    trainings_do(raising(JobError("It cannot be done.")))
    team.accept(3)
    runner.run(jobs.enqueue(PROJECT, "training", trigger="hand").id)
    assert new_labels(database, PROJECT) == NewLabels(3, 0)
    clock.labels_changed(NOON)
    assert len(jobs.listed()) == 1

    team.accept(2)
    clock.labels_changed(NOON)
    assert len(jobs.listed()) == 1
    team.accept()
    clock.labels_changed(NOON)
    assert len(jobs.listed()) == 2
    assert new_labels(database, PROJECT) == NewLabels(6, 3)

    trainings_do(lambda job, progress: {})
    runner.run(jobs.enqueue(PROJECT, "training", trigger="hand").id)
    assert new_labels(database, PROJECT) == NewLabels(0, 0)


def test_a_failed_training_unlearns_nothing(
    database: Database, jobs: Jobs, team: Team, runner: Runner, trainings_do: Does
) -> None:
    trainings_do(lambda job, progress: {})
    team.accept(3)
    runner.run(jobs.enqueue(PROJECT, "training", trigger="hand").id)

    trainings_do(raising(JobError("It cannot be done.")))
    team.accept()
    runner.run(jobs.enqueue(PROJECT, "training", trigger="hand").id)
    assert new_labels(database, PROJECT) == NewLabels(1, 0)


# -- schedules


def test_a_schedule_starts_a_training_if_labels_are_new(
    clock: Clock, database: Database, jobs: Jobs, team: Team
) -> None:
    schedules = Schedules(database)
    schedule = schedules.change(PROJECT, "ann", cron=" 0  3 * * * ", now=NOON)
    assert schedule.cron == "0 3 * * *"
    assert schedule.due_at == NOON + timedelta(hours=15)

    clock.tick(NOON + timedelta(hours=16))
    assert jobs.listed() == [], "no label is new"
    team.accept()
    clock.tick(NOON + timedelta(hours=20))
    assert jobs.listed() == []
    clock.tick(NOON + timedelta(days=5))
    (job,) = jobs.listed()
    assert (job.trigger, job.asked_by) == ("schedule", "0 3 * * *")
    assert schedules.get(PROJECT).due_at == NOON + timedelta(days=5, hours=15)


def test_two_schedulers_at_once_start_it_once(
    learning: Settings, database: Database, jobs: Jobs, team: Team, trainings_do: Does
) -> None:
    trainings_do(lambda job, progress: {})
    team.accept()
    Schedules(database).change(PROJECT, "ann", cron="0 3 * * *", now=NOON)
    clocks = [Clock(learning, database) for _ in range(4)]
    due = NOON + timedelta(hours=15)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda clock: clock.tick(due), clocks))
    (job,) = jobs.listed()
    # Even when the first one's training has begun before the second looks.
    Runner(learning, database, Leases(9)).run(job.id)
    team.accept()
    for clock in clocks:
        clock.tick(due)
    assert len(jobs.listed()) == 1


@pytest.mark.parametrize("change", [{"paused": True}, {"cron": ""}])
def test_a_paused_or_removed_schedule_starts_nothing(
    change: dict[str, str], clock: Clock, database: Database, jobs: Jobs, team: Team
) -> None:
    team.accept()
    schedules = Schedules(database)
    schedules.change(PROJECT, "ann", cron="0 3 * * *", now=NOON)
    schedules.change(PROJECT, "ann", **change)  # type: ignore[arg-type]
    clock.tick(NOON + timedelta(days=2))
    assert jobs.listed() == []


# -- a wall clock that jumps


def test_jobs_do_not_wait_for_a_clock_that_was_set_back(
    clock: Clock, jobs: Jobs, team: Team
) -> None:
    # given: jobs from a time when the clock was a day ahead
    team.accept(3)
    tomorrow = NOON + timedelta(days=1)
    clock.labels_changed(tomorrow)
    by_hand = jobs.enqueue("7.1", "training", trigger="hand", now=tomorrow)
    (after_labels,) = jobs.listed(PROJECT, "training")
    # when
    clock.tick(NOON)
    # then
    assert clock.sent == [after_labels.id, by_hand.id]


def test_a_clock_that_was_set_back_delays_no_schedule(clock: Clock, database: Database) -> None:
    # given: a schedule that ran while the clock was a year ahead
    schedules = Schedules(database)
    schedules.change(PROJECT, "ann", cron="0 3 * * *", now=NOON)
    clock.tick(NOON + timedelta(days=365))
    # when
    clock.tick(NOON)
    # then
    assert schedules.get(PROJECT).due_at == NOON + timedelta(hours=15)
