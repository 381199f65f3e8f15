"""Rounds that ask Label Studio: complete, polite, bounded, and safe where it is away or empty."""

import logging
import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from backend.db.engine import Database
from backend.db.models import AnnotationRow, SampledProjectRow
from backend.errors import LabelStudioError
from backend.label_studio.payloads import Project
from backend.samples.ingest import SampleStore
from tests.backend.samples.studio import (
    PROJECT,
    START,
    Studio,
    connected,
    noted,
    reconciliation,
    region,
    samples,
    settle,
)


@pytest.fixture
def team(studio: Studio, database: Database) -> Studio:
    """Nine tasks with an annotation each, of which no webhook ever came."""
    connected(database)
    for number in range(1, 10):
        studio.submit(number, studio.task(number), [region()])
    studio.sent.clear()
    return studio


def test_what_no_webhook_reported_is_read(team: Studio, database: Database) -> None:
    (done,) = reconciliation(database, team).run()

    assert samples(database) == list(range(1, 10))
    assert (done.tasks, done.complete, done.error) == (9, True, "")
    assert noted(database).asked_at == team.now + timedelta(hours=1)
    assert noted(database).label_config == team.config


def test_tasks_are_read_a_few_at_a_time_and_only_when_something_changed(
    team: Studio, database: Database
) -> None:
    rounds = reconciliation(database, team)
    rounds.run()
    assert team.asked == [
        "project",
        "list",
        "tasks [1, 2, 3, 4]",
        "tasks [5, 6, 7, 8]",
        "tasks [9]",
    ]
    # when one annotation changes, and one is deleted
    team.asked.clear()
    team.update(3, [region(label="Dog")])
    team.delete(5)
    (done,) = reconciliation(database, team).run()
    # then those are asked for: the first as listed, the second because it is listed no more
    assert team.asked == ["project", "list", "tasks [3]", "tasks [5]"]
    assert samples(database) == [1, 2, 3, 4, 6, 7, 8, 9]
    assert done.tasks == 2

    # and a project at rest costs its list alone
    team.asked.clear()
    reconciliation(database, team).run()
    assert team.asked == ["project", "list"]


def test_once_a_day_everything_is_read_anyway(team: Studio, database: Database) -> None:
    reconciliation(database, team).run()
    # given: something that changes no date, such as a ground truth set for many tasks at once
    team.annotations[2]["ground_truth"] = True
    reconciliation(database, team).run()

    later = team.now + timedelta(hours=26)
    reconciliation(database, team, lambda: later).run()

    with database.read() as connection:
        query = select(AnnotationRow.annotation_id).where(AnnotationRow.ground_truth)
        assert list(connection.execute(query).scalars()) == [2]


def test_where_label_studio_goes_away_what_was_read_stays_and_the_rest_comes_later(
    team: Studio, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    # given: it goes after the first tasks
    hosts_fail_from = 3
    rounds = reconciliation(database, team)
    answer, count = team._answer, 0

    def failing(what: str) -> None:
        nonlocal count
        count += 1
        team.away = 1 if count > hosts_fail_from else 0
        answer(what)

    team._answer = failing  # type: ignore[method-assign]
    caplog.set_level(logging.WARNING)
    (done,) = rounds.run()
    # then
    assert not done.complete
    assert "could not be reached" in done.error
    assert samples(database) == [1, 2, 3, 4]
    assert noted(database).error == done.error
    assert noted(database).asked_at is None
    assert caplog.text.count("could not be reached") == 1

    # and while it stays away, nothing is lost, and the log is not filled
    rounds.run()
    assert samples(database) == [1, 2, 3, 4]
    assert caplog.text.count("could not be reached") == 1

    # and when it is back, the rest is asked for
    team._answer = answer  # type: ignore[method-assign]
    team.asked.clear()
    (done,) = reconciliation(database, team).run()
    assert done.complete
    assert team.asked == ["project", "list", "tasks [5, 6, 7, 8]", "tasks [9]"]
    assert samples(database) == list(range(1, 10))
    assert noted(database).error == ""


def test_a_round_that_takes_too_long_continues_next_time(team: Studio, database: Database) -> None:
    (done,) = reconciliation(database, team, round_s=0.0).run()
    assert (done.complete, done.error) == (False, "")

    (done,) = reconciliation(database, team).run()
    assert done.complete
    assert samples(database) == list(range(1, 10))


def test_another_project_of_that_number_is_left_alone(studio: Studio, database: Database) -> None:
    # given: Label Studio was reinstalled, and its sixth project is another one
    old = Project(6, "1234567890")
    connected(database, old)
    settle_old = studio.submit(1, studio.task(1), [region()])
    settle_old["project"]["created_at"] = "2009-02-13T23:31:30+00:00"
    settle(SampleStore(database), settle_old)
    studio.delete_task(1)

    (done,) = reconciliation(database, studio).run()

    assert "another project 6" in done.error
    assert samples(database) == [1]


def test_one_projects_trouble_is_its_own(team: Studio, database: Database) -> None:
    # given: another project, first in line, whose Label Studio answers with nonsense
    other = Project(5, "1")
    connected(database, other)
    rounds = reconciliation(database, team)
    hosts: Any = rounds.hosts

    class Nonsense:
        def of(self, project: Project) -> Any:
            if project == other:
                raise ValueError("Invalid header value")
            return hosts.of(project)

    rounds = replace(rounds, hosts=Nonsense())  # type: ignore[arg-type]
    # when
    first, second = rounds.run()
    # then: it is reported with that project, and the other one is read
    assert (first.project, first.complete) == (other.key, False)
    assert "unexpected error" in first.error
    assert second.complete
    assert samples(database) == list(range(1, 10))


def test_the_project_that_was_read_longest_ago_is_first(team: Studio, database: Database) -> None:
    connected(database, Project(5, "1"))
    reconciliation(database, team).run()

    rounds = reconciliation(database, team, lambda: team.now + timedelta(hours=2)).run()
    assert [done.project for done in rounds] == ["5.1", PROJECT.key]


def test_what_a_webhook_reports_during_a_round_is_not_deleted(
    team: Studio, database: Database
) -> None:
    # given: an annotation that Label Studio's answer does not hold yet
    rounds = reconciliation(database, team, lambda: START + timedelta(seconds=20))
    created = team.submit(70, 7, [region()])
    settle(SampleStore(database), created, START + timedelta(seconds=10))
    hidden = team.annotations.pop(70)
    rounds.run()
    assert 70 in samples(database)
    # then: the next round sees it, and would notice were it really gone
    team.annotations[70] = hidden
    later = START + timedelta(minutes=15)
    reconciliation(database, team, lambda: later).run()
    assert 70 in samples(database)
    del team.annotations[70]
    later = START + timedelta(minutes=30)
    team.changed[7] = later
    reconciliation(database, team, lambda: later).run()
    assert 70 not in samples(database)


def test_skipped_annotations_are_asked_for_too(team: Studio, database: Database) -> None:
    team.submit(20, team.task(20), [region()], was_cancelled=True)
    reconciliation(database, team).run()

    with database.read() as connection:
        query = select(AnnotationRow.annotation_id).where(AnnotationRow.skipped)
        assert list(connection.execute(query).scalars()) == [20]


# -- hosts that have nothing, have lost everything, or never answer: nothing is lost


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
        now = labeled.now + timedelta(hours=hours)
        (done,) = reconciliation(database, labeled, lambda: now, trusted=False).run()
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
