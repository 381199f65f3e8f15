"""The queue: jobs are enqueued, joined, listed page by page, cancelled."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from backend.errors import JobError
from backend.jobs.queue import Jobs
from tests.backend.jobs.conftest import NOON, PROJECT


def test_an_enqueued_job_waits_and_is_due_at_once(jobs: Jobs) -> None:
    job = jobs.enqueue(PROJECT, "training", trigger="hand", by="ann", now=NOON)

    assert (job.state, job.trigger, job.asked_by) == ("queued", "hand", "ann")
    assert job.due_at == job.created_at == NOON
    assert (job.attempts, job.progress, job.result, job.error) == (0, 0.0, None, "")
    assert jobs.get(job.id) == job


def test_a_request_joins_the_job_that_waits(jobs: Jobs) -> None:
    first = jobs.enqueue(PROJECT, "training", trigger="hand", request={"a": 1})
    again = jobs.enqueue(PROJECT, "training", trigger="hand", request={"b": 2})
    other = jobs.enqueue("7.1", "training", trigger="hand")
    scoring = jobs.enqueue(PROJECT, "scoring", trigger="promotion")

    assert again.id == first.id
    assert again.request == {"a": 1, "b": 2}
    assert len({first.id, other.id, scoring.id}) == 3


def test_ten_requests_at_once_make_one_job(jobs: Jobs) -> None:
    def ask(number: int) -> int:
        return jobs.enqueue(PROJECT, "training", trigger="hand", by=str(number)).id

    with ThreadPoolExecutor(10) as pool:
        numbers = set(pool.map(ask, range(10)))

    assert len(numbers) == 1


def test_each_label_of_a_burst_delays_its_training_up_to_a_limit(jobs: Jobs) -> None:
    quiet = timedelta(seconds=60)
    for second in range(0, 3600, 30):
        now = NOON + timedelta(seconds=second)
        job = jobs.enqueue(PROJECT, "training", trigger="labels", due_at=now + quiet, now=now)
        assert job.due_at == min(now + quiet, NOON + 10 * quiet)

    assert len(jobs.listed()) == 1


def test_a_person_does_not_wait_for_a_burst_of_labels(jobs: Jobs) -> None:
    later = NOON + timedelta(minutes=1)
    waits = jobs.enqueue(PROJECT, "training", trigger="labels", due_at=later, now=NOON)
    asked = jobs.enqueue(PROJECT, "training", trigger="hand", by="ann", now=NOON)
    labels = jobs.enqueue(PROJECT, "training", trigger="labels", due_at=later, now=NOON)

    assert waits.id == asked.id == labels.id
    assert (labels.trigger, labels.asked_by, labels.due_at) == ("hand", "ann", NOON)


def test_lists_are_paged_newest_first(jobs: Jobs) -> None:
    made = [jobs.enqueue(f"{n}.1", "training", trigger="hand").id for n in range(5)]
    jobs.cancel(made[1], "ann")

    first = jobs.listed(limit=2)
    rest = jobs.listed(limit=10, before=first[-1].id)

    assert [job.id for job in (*first, *rest)] == made[::-1]
    assert [job.id for job in jobs.listed(state="cancelled")] == [made[1]]
    assert [job.id for job in jobs.listed("3.1", "training")] == [made[3]]
    assert jobs.listed(kind="scoring") == []
    assert jobs.counts() == {("training", "queued"): 4, ("training", "cancelled"): 1}


def test_a_waiting_job_is_cancelled_at_once(jobs: Jobs) -> None:
    job = jobs.enqueue(PROJECT, "training", trigger="hand")

    ended = jobs.cancel(job.id, "ann")

    assert (ended.state, ended.error) == ("cancelled", "Cancelled by ann.")
    assert ended.ended
    with pytest.raises(JobError, match=f"Job {job.id} has already ended: it is cancelled"):
        jobs.cancel(job.id, "ann")
    assert jobs.enqueue(PROJECT, "training", trigger="hand").id != job.id


def test_an_unknown_job_is_an_error(jobs: Jobs) -> None:
    for call in (lambda: jobs.get(99), lambda: jobs.cancel(99, "ann")):
        with pytest.raises(JobError, match="There is no job 99"):
            call()
