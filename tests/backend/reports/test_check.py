"""A long random history, and in the end everything agrees: the sums over tasks are the event log's,
the log is what annotators did, and the regions are those that Label Studio's annotations hold.

With deletes, edits, undone clicks, hand-drawn regions, annotators who share a prediction's region,
processes that die, webhooks that are lost, doubled and late, and memories that forget.
"""

import random

import pytest

from tests.backend.reports.team import Team


@pytest.fixture
def settings_of(tmp_path, database, settings):
    url = database.url.render_as_string(hide_password=False)
    return settings.model_copy(update={"data": tmp_path / "data", "database_url": url})


def history(team: Team, acts: int) -> None:
    try:
        for number in range(acts):
            team.act()
            if number % 20 == 19:
                team.check_log()
            if number % 100 == 99:
                team.mend()
                team.check()
        team.mend()
        team.check()
    finally:
        team.close()


# Each seed on one kind of database: a long history takes minutes.
ON_POSTGRESQL = pytest.param("postgresql", 3, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("database", "seed"), [("sqlite", 1), ("sqlite", 2), ON_POSTGRESQL], indirect=["database"]
)
def test_after_a_history_all_agrees(settings_of, database, seed):
    history(Team(settings_of, database, random.Random(seed)), 60)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("database", "seed"), [("sqlite", 11), ("postgresql", 12)], indirect=["database"]
)
def test_after_a_long_history_all_agrees(settings_of, database, seed):
    history(Team(settings_of, database, random.Random(seed)), 700)
