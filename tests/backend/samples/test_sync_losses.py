"""Rounds where a host has nothing, has lost everything, or never answers: nothing is lost."""

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from backend.db.engine import Database
from backend.db.models import SampledProjectRow
from backend.errors import LabelStudioError
from backend.label_studio.payloads import Project
from tests.backend.samples.studio import (
    PROJECT,
    Studio,
    connected,
    noted,
    reconciliation,
    region,
    samples,
)


@pytest.fixture
def labeled(studio: Studio, database: Database) -> Studio:
    """Thirty labels that are known."""
    connected(database)
    for number in range(1, 31):
        studio.submit(number, studio.task(number), [region()])
    reconciliation(database, studio).run()
    return studio


def test_an_empty_list_deletes_nothing_until_a_second_look_finds_the_same(
    labeled: Studio, database: Database
) -> None:
    # given a Label Studio that lost its database
    labeled.tasks, labeled.annotations = {}, {}
    start = labeled.now + timedelta(hours=2)
    # when
    (first,) = reconciliation(database, labeled, lambda: start).run()
    # then: a few at most
    assert len(samples(database)) >= 20
    assert "lacks" in first.error
    # and a look that comes too soon confirms nothing
    reconciliation(database, labeled, lambda: start + timedelta(minutes=1)).run()
    assert len(samples(database)) >= 20
    # and one that comes later does
    (last,) = reconciliation(database, labeled, lambda: start + timedelta(minutes=15)).run()
    assert samples(database) == []
    assert last.error == ""


def test_tasks_that_come_back_without_annotations_count_as_well(
    labeled: Studio, database: Database
) -> None:
    # given the same tasks, and another Label Studio's empty annotations
    labeled.annotations = {}
    labeled.changed = dict.fromkeys(labeled.tasks, labeled.now + timedelta(minutes=1))

    reconciliation(database, labeled, lambda: labeled.now + timedelta(hours=2)).run()

    assert len(samples(database)) >= 20


def test_labels_that_come_back_before_the_second_look_are_safe(
    labeled: Studio, database: Database
) -> None:
    tasks, annotations = labeled.tasks, labeled.annotations
    start = labeled.now + timedelta(hours=2)
    labeled.tasks, labeled.annotations = {}, {}
    reconciliation(database, labeled, lambda: start).run()

    labeled.tasks, labeled.annotations = tasks, annotations
    reconciliation(database, labeled, lambda: start + timedelta(minutes=30)).run()

    assert len(samples(database)) == 30
    assert noted(database).missing_since is None


def test_a_host_that_only_announced_itself_never_deletes_much(
    labeled: Studio, database: Database
) -> None:
    labeled.tasks, labeled.annotations = {}, {}

    def look(hours: int) -> str:
        rounds = reconciliation(database, labeled, lambda: labeled.now + timedelta(hours=hours))
        rounds.hosts.api.trusted = False  # type: ignore[attr-defined]
        (done,) = rounds.run()
        return done.error

    said = [look(hours) for hours in range(2, 7)]

    assert len(samples(database)) >= 20
    assert all("phraseclick connect" in error for error in said)


def test_hosts_that_never_answer_delay_only_their_own_projects(
    studio: Studio, database: Database
) -> None:
    # given four silent hosts, and a healthy one whose project was tried last
    silent = threading.Event()
    keys = [Project(number, "1") for number in range(1, 5)]
    for project in (*keys, PROJECT):
        connected(database, project)
    studio.submit(1, studio.task(1), [region()])

    class Silent:
        trusted = True

        def __init__(self, number: int) -> None:
            self.url = f"http://silent-{number}.test"

        def project(self, number: int) -> None:
            silent.wait(60)
            raise LabelStudioError("It did not answer in time.")

    rounds = reconciliation(database, studio)
    healthy = rounds.hosts.of(PROJECT)
    hosts: Any = rounds.hosts
    hosts.of = lambda project: healthy if project == PROJECT else Silent(project.id)
    # when
    worker = threading.Thread(target=rounds.run)
    worker.start()
    deadline = time.monotonic() + 30
    while samples(database) != [1] and time.monotonic() < deadline:
        time.sleep(0.05)
    read = samples(database)
    silent.set()
    worker.join()
    # then
    assert read == [1]
    # and next time those tried longest ago come first, whether they succeeded or not
    with database.read() as connection:
        tried = connection.execute(select(SampledProjectRow.tried_at)).scalars().all()
    assert None not in tried
