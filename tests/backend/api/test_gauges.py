"""What waits and runs, as the graphs of an admin see it."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, update

from backend.api.gauges import read_gauges
from backend.db.engine import Database
from backend.db.models import Delivery, Process, Promotion, lock_samples
from backend.jobs.queue import Jobs
from backend.worker.webhook_inbox import ATTEMPTS, Deliveries
from tests.backend.databases import connect

KEY = "6.1795384361"


def test_an_empty_database_has_every_figure_at_zero(database: Database) -> None:
    now = read_gauges(database)

    assert now.deliveries == {"waiting": 0, "given up": 0}
    assert now.jobs["training", "queued"] == now.jobs["replay", "failed"] == 0
    assert set(now.processes.values()) == {0}
    assert now.champions == {}


def test_deliveries_wait_or_were_given_up(database: Database) -> None:
    deliveries = Deliveries(database)
    for _ in range(5):
        deliveries.store("ANNOTATION_CREATED", 6, b"{}")
    with database.write() as connection:
        connection.execute(update(Delivery).where(Delivery.id == 1).values(attempts=ATTEMPTS))
        connection.execute(
            update(Delivery).where(Delivery.id == 2).values(processed_at=datetime.now(UTC))
        )

    assert read_gauges(database).deliveries == {"waiting": 3, "given up": 1}


def test_jobs_are_counted_by_kind_and_state(database: Database) -> None:
    jobs = Jobs(database)
    jobs.enqueue(KEY, "training", trigger="hand")
    jobs.enqueue("7.1", "training", trigger="hand")
    jobs.cancel(jobs.enqueue(KEY, "scoring", trigger="hand").id, "ann")

    counts = read_gauges(database).jobs

    assert counts["training", "queued"] == 2
    assert counts["scoring", "cancelled"] == 1
    assert counts["scoring", "queued"] == 0


def test_only_processes_that_reported_lately_are_running(database: Database) -> None:
    now = datetime.now(UTC)
    spoke = {"a:1:server": 3, "a:2:server": 600, "a:3:training": 3}
    with database.write() as connection:
        for name, seconds in spoke.items():
            values = {"kind": name.split(":")[2], "started_at": now, "about": {}}
            seen_at = now - timedelta(seconds=seconds)
            connection.execute(insert(Process).values(name=name, seen_at=seen_at, **values))

    assert read_gauges(database).processes == {
        "server": 1,
        "worker": 0,
        "training": 1,
        "scheduler": 0,
    }


def test_only_projects_with_labels_have_a_version(
    database: Database,
) -> None:
    for key in (KEY, "7.1", "8.1"):
        connect(database, key)
    with database.write() as connection:
        lock_samples(connection, "7.1")
    promotion = {"kind": "promotion", "before": "", "who": "ann", "why": ""}
    with database.write() as connection:
        connection.execute(
            insert(Promotion).values(
                project=KEY, version="cats-2", at=datetime.now(UTC), **promotion
            )
        )

    assert read_gauges(database, base="shipped-1").champions == {KEY: "cats-2", "7.1": "shipped-1"}
