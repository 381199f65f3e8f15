"""What the clock starts, and what it mends."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from backend.db import job_tables
from backend.db.engine import Database
from backend.errors import JobError
from backend.jobs.lease import Leases
from backend.jobs.new_labels import NewLabels, new_labels
from backend.jobs.queue import Jobs
from backend.jobs.records import Job
from backend.jobs.runner import Runner
from backend.jobs.scheduler import Clockwork
from backend.jobs.schedules import Plans
from backend.settings import Settings
from tests.backend.jobs.conftest import NOON, PROJECT, Does, SteadyClock, Team


class Clock(Clockwork):
    """With the bells that it rang."""

    def __init__(self, settings: Settings, database: Database, **told: object) -> None:
        self.rung: list[int] = []
        self.steady = SteadyClock()
        leases = Leases(settings.lease_s, self.steady, lambda _: False)
        super().__init__(
            settings, database, leases, lambda job: self.rung.append(job.id), clock=self.steady
        )

    def after(self, seconds: float, now: datetime | None = None) -> None:
        self.steady.now += seconds
        self.tick(now)


@pytest.fixture
def clock(learning: Settings, database: Database) -> Clock:
    return Clock(learning, database)


def minutes(number: float) -> datetime:
    return NOON + timedelta(minutes=number)


# -- bells


def test_what_is_due_is_rung_for_and_again_after_a_while(clock: Clock, jobs: Jobs) -> None:
    job = jobs.ask(PROJECT, "training", trigger="hand", now=NOON)
    scoring = jobs.ask(PROJECT, "scoring", trigger="promotion", due_at=minutes(2), now=NOON)

    clock.tick(minutes(1))
    assert clock.rung == [job.id]
    clock.after(5, minutes(1))
    assert clock.rung == [job.id]
    clock.after(60, minutes(3))
    assert clock.rung == [job.id, job.id, scoring.id]


def test_a_broker_that_is_away_is_asked_again(
    learning: Settings, database: Database, jobs: Jobs
) -> None:
    away = [True]
    rung: list[Job] = []

    def ring(job: Job) -> None:
        if away[0]:
            raise ConnectionError("no broker")
        rung.append(job)

    clock = Clockwork(learning, database, Leases(9), ring)
    job = jobs.ask(PROJECT, "training", trigger="hand")
    clock.tick()
    away[0] = False
    clock.tick()
    assert [it.id for it in rung] == [job.id]


def test_what_is_behind_another_of_its_kind_is_rung_for_when_that_has_ended(
    clock: Clock, database: Database, jobs: Jobs, runner: Runner, trainings_do: Does
) -> None:
    behind: list[int] = []

    def work(job: Job, progress: object) -> dict[str, int]:
        behind.append(jobs.ask(PROJECT, "training", trigger="hand").id)
        clock.tick()
        assert clock.rung == []
        return {}

    trainings_do(work)
    runner.run(jobs.ask(PROJECT, "training", trigger="hand").id)
    clock.tick()
    assert clock.rung == behind


# -- workers that died


def runs(database: Database, job: Job, attempts: int = 1, holder: str = "elsewhere") -> None:
    """As if some worker elsewhere did it."""
    with database.write() as connection:
        name = job_tables.lease_name(job.kind, job.project)
        job_tables.lock(connection, name)
        lease = {"holder": holder, "token": attempts, "beat": 1}
        connection.execute(
            update(job_tables.leases).where(job_tables.leases.c.name == name).values(lease)
        )
        told = {"state": "running", "attempts": attempts, "worker": holder}
        connection.execute(
            update(job_tables.jobs).where(job_tables.jobs.c.id == job.id).values(told)
        )


def test_the_job_of_a_silent_worker_goes_back_to_the_queue(
    clock: Clock, database: Database, jobs: Jobs
) -> None:
    job = jobs.ask(PROJECT, "training", trigger="hand")
    runs(database, job)
    for _ in range(3):
        clock.after(3)
        assert jobs.get(job.id).state == "running"
    for _ in range(3):
        clock.after(3)

    assert (jobs.get(job.id).state, jobs.get(job.id).attempts) == ("queued", 1)
    assert clock.rung == [job.id]
    with database.read() as connection:
        lease = connection.execute(job_tables.leases.select()).one()
    assert (lease.holder, lease.token) == ("", 2)


def test_clocks_that_jump_make_nobody_die(clock: Clock, database: Database, jobs: Jobs) -> None:
    job = jobs.ask(PROJECT, "training", trigger="hand")
    runs(database, job)
    for day in range(20):
        clock.after(0.1, NOON + timedelta(days=day if day % 2 else -day))
    assert jobs.get(job.id).state == "running"


def test_a_job_whose_workers_died_three_times_is_given_up(
    clock: Clock, database: Database, jobs: Jobs
) -> None:
    job = jobs.ask(PROJECT, "training", trigger="hand")
    runs(database, job, attempts=3)
    for _ in range(6):
        clock.after(3)

    ended = jobs.get(job.id)
    assert ended.state == "failed"
    assert ended.error.startswith("Given up after 3 attempts. The last: Its worker (elsewhere)")


def test_cancelled_while_its_worker_was_dead_it_is_cancelled(
    clock: Clock, database: Database, jobs: Jobs
) -> None:
    job = jobs.ask(PROJECT, "training", trigger="hand")
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
    clock.labels_came(NOON)
    assert jobs.listed() == []

    team.accept()
    clock.labels_came(NOON)
    (job,) = jobs.listed()
    assert (job.kind, job.trigger, job.state) == ("training", "labels", "queued")
    assert job.due_at == minutes(1)

    team.accept()
    clock.labels_came(minutes(0.5))
    assert jobs.get(job.id).due_at == minutes(1.5)
    clock.labels_came(minutes(1))
    assert jobs.get(job.id).due_at == minutes(1.5), "nothing new came"
    assert len(jobs.listed()) == 1


def test_labels_that_nobody_told_of_are_counted_by_the_clock(
    clock: Clock, jobs: Jobs, team: Team
) -> None:
    clock.tick(NOON)
    team.accept(3)
    clock.after(30, NOON)
    assert len(jobs.listed()) == 1


@pytest.mark.parametrize(
    ("settings", "plan"),
    [({"learn": False}, {}), ({}, {"paused": True}), ({}, {"after_labels": 4})],
    ids=["off", "paused", "more"],
)
def test_whoever_does_not_want_it_is_left_alone(
    settings: dict[str, bool],
    plan: dict[str, int],
    learning: Settings,
    database: Database,
    jobs: Jobs,
    team: Team,
) -> None:
    clock = Clock(learning.model_copy(update=settings), database)
    Plans(database).change(PROJECT, "ann", **plan)  # type: ignore[arg-type]
    team.accept(3)
    clock.labels_came(NOON)
    assert jobs.listed() == []

    Plans(database).change(PROJECT, "ann", paused=False, after_labels=None)
    clock.labels_came(NOON)
    assert len(jobs.listed()) == (0 if settings else 1)


def test_what_waits_when_its_project_pauses_waits_on(
    clock: Clock, database: Database, jobs: Jobs, team: Team, runner: Runner, trainings_do: Does
) -> None:
    trainings_do(lambda job, progress: {})
    team.accept(3)
    clock.labels_came(datetime.now(UTC) - timedelta(hours=1))
    (job,) = jobs.listed()
    plans = Plans(database)
    plans.change(PROJECT, "ann", paused=True)
    clock.tick()
    runner.run(job.id)
    assert (clock.rung, jobs.get(job.id).state) == ([], "queued")

    jobs.ask(PROJECT, "training", trigger="hand", by="ann")
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


def test_what_was_learned_is_new_again_only_when_it_changes(
    clock: Clock, database: Database, jobs: Jobs, team: Team, runner: Runner, trainings_do: Does
) -> None:
    def work(job: Job, progress: object) -> dict[str, int]:
        assert new_labels(database, PROJECT).new == 0, "those that it reads"
        team.accept()
        return {}

    trainings_do(work)
    team.accept(3)
    runner.run(jobs.ask(PROJECT, "training", trigger="hand").id)
    assert new_labels(database, PROJECT) == NewLabels(1, 1), "the one that came meanwhile"

    team.change(2)
    assert new_labels(database, PROJECT) == NewLabels(2, 2)
    clock.labels_came(NOON)
    assert len(jobs.listed()) == 1


def test_labels_of_a_failed_training_stay_new_but_do_not_start_it_again(
    clock: Clock, database: Database, jobs: Jobs, team: Team, runner: Runner, trainings_do: Does
) -> None:
    def fails(job: Job, progress: object) -> dict[str, int]:
        raise JobError("It cannot be done.")

    trainings_do(fails)
    team.accept(3)
    runner.run(jobs.ask(PROJECT, "training", trigger="hand").id)
    assert new_labels(database, PROJECT) == NewLabels(3, 0)
    clock.labels_came(NOON)
    assert len(jobs.listed()) == 1

    team.accept(2)
    clock.labels_came(NOON)
    assert len(jobs.listed()) == 1
    team.accept()
    clock.labels_came(NOON)
    assert len(jobs.listed()) == 2
    assert new_labels(database, PROJECT) == NewLabels(6, 3)

    trainings_do(lambda job, progress: {})
    runner.run(jobs.ask(PROJECT, "training", trigger="hand").id)
    assert new_labels(database, PROJECT) == NewLabels(0, 0)


def test_a_failed_training_unlearns_nothing(
    database: Database, jobs: Jobs, team: Team, runner: Runner, trainings_do: Does
) -> None:
    trainings_do(lambda job, progress: {})
    team.accept(3)
    runner.run(jobs.ask(PROJECT, "training", trigger="hand").id)

    def fails(job: Job, progress: object) -> dict[str, int]:
        raise JobError("It cannot be done.")

    trainings_do(fails)
    team.accept()
    runner.run(jobs.ask(PROJECT, "training", trigger="hand").id)
    assert new_labels(database, PROJECT) == NewLabels(1, 0)


# -- schedules


def test_a_schedule_starts_a_training_where_there_is_something_to_learn(
    clock: Clock, database: Database, jobs: Jobs, team: Team
) -> None:
    plans = Plans(database)
    plan = plans.change(PROJECT, "ann", cron=" 0  3 * * * ", now=NOON)
    assert plan.cron == "0 3 * * *"
    assert plan.due_at == NOON + timedelta(hours=15)

    clock.tick(NOON + timedelta(hours=16))
    assert jobs.listed() == [], "no label is new"
    team.accept()
    clock.tick(NOON + timedelta(hours=20))
    assert jobs.listed() == []
    clock.tick(NOON + timedelta(days=5))
    (job,) = jobs.listed()
    assert (job.trigger, job.asked_by) == ("schedule", "0 3 * * *")
    assert plans.get(PROJECT).due_at == NOON + timedelta(days=5, hours=15)


def test_two_schedulers_at_once_start_it_once(
    learning: Settings, database: Database, jobs: Jobs, team: Team, trainings_do: Does
) -> None:
    trainings_do(lambda job, progress: {})
    team.accept()
    Plans(database).change(PROJECT, "ann", cron="0 3 * * *", now=NOON)
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
def test_no_schedule_starts_what_is_paused_or_was_taken_back(
    change: dict[str, str], clock: Clock, database: Database, jobs: Jobs, team: Team
) -> None:
    team.accept()
    plans = Plans(database)
    plans.change(PROJECT, "ann", cron="0 3 * * *", now=NOON)
    plans.change(PROJECT, "ann", **change)  # type: ignore[arg-type]
    clock.tick(NOON + timedelta(days=2))
    assert jobs.listed() == []


def test_a_plan_that_cannot_be_is_refused(database: Database) -> None:
    plans = Plans(database)
    with pytest.raises(JobError, match="cannot be read"):
        plans.change(PROJECT, "ann", cron="every night")
    with pytest.raises(JobError, match="at least one"):
        plans.change(PROJECT, "ann", after_labels=0)
    assert plans.all() == []


# -- a clock that goes back


def test_what_waits_does_not_wait_for_a_clock_to_catch_up(
    clock: Clock, database: Database, jobs: Jobs, team: Team
) -> None:
    team.accept(3)
    tomorrow = NOON + timedelta(days=1)
    clock.labels_came(tomorrow)
    later = jobs.ask(
        PROJECT, "scoring", trigger="hand", now=tomorrow, due_at=tomorrow + timedelta(hours=1)
    )
    at_once = jobs.ask("7.1", "training", trigger="hand", now=tomorrow)
    (labels,) = jobs.listed(PROJECT, "training")

    for _ in range(3):
        clock.tick(NOON)

    assert jobs.get(labels.id).due_at == minutes(1)
    assert jobs.get(later.id).due_at == NOON + timedelta(hours=1)
    assert jobs.get(at_once.id).due_at == NOON
    assert clock.rung == [at_once.id]
