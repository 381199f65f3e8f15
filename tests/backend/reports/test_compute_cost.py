"""Costs of accepted regions: computed, updated, edited by hand, and after masks expire."""

import random
from datetime import timedelta

import pytest
from sqlalchemy import delete, func, select, text, update

from backend.db.models import AnnotationTimeRow, EventRow, RegionCostRow, ServedMaskRow
from backend.interaction.submitted import forget_objects
from backend.reports.costs import Costs
from backend.reports.queries import Reports
from backend.reports.records import ReportFilter
from tests.backend.reports.team import TaskSession, Team

FIGURES = [
    column
    for column in RegionCostRow.__table__.c
    if column.name not in ("drawn_at", "digest", "submitted_at", "seconds")
]


@pytest.fixture
def team(tmp_path, database, settings):
    url = database.url.render_as_string(hide_password=False)
    values = {"data": tmp_path / "data", "database_url": url}
    team = Team(settings.model_copy(update=values), database, random.Random(0))
    yield team
    team.close()


@pytest.fixture
def desk(team) -> TaskSession:
    """Ann, on the first task."""
    return team._desk(1, 1)


def label(team: Team, desk: TaskSession) -> None:
    """An object in three clicks, accepted and submitted; the webhook arrives."""
    for x, negative in ((20, False), (70, True), (40, False)):
        desk.page.make_point(x, "Cat", 50, negative=negative)
        turn = desk.page.send_points("Cat")
        team._sent(desk, turn, "negative" if negative else "positive")
    desk.page.accept()
    team.submit(desk)
    arrive(team)


def arrive(team: Team) -> None:
    for body in team.waiting:
        team.tasks._deliveries.store("", 6, body)
    team.waiting.clear()
    team.tasks.process_deliveries()


def the_one(team: Team):
    (cost,) = Reports(team.database).regions(team.key)
    return cost


@pytest.mark.parametrize("idle_minutes", [5.0, 30.0])
def test_a_pause_counts_as_idle_time_up_to_a_limit(team, desk, idle_minutes):
    # given three clicks with an hour after the first, and 20 s after the second
    label(team, desk)
    clicks = (EventRow.kind.in_(("positive_click", "negative_click"))) & (
        EventRow.target_id.is_not(None)
    )
    with team.database.write() as connection:
        numbers = connection.execute(select(EventRow.id).where(clicks).order_by(EventRow.id))
        first, second, third = numbers.scalars()
        at = connection.execute(select(EventRow.created_at).where(EventRow.id == third)).scalar()
        for number, before in ((first, 3620), (second, 20)):
            moved = {"created_at": at - timedelta(seconds=before)}
            connection.execute(update(EventRow).where(EventRow.id == number).values(**moved))
        connection.execute(update(AnnotationTimeRow).values(drawn=""))
    # when
    Costs(team.database, timedelta(minutes=idle_minutes)).catch_up()
    # then
    submit = (the_one(team).submitted_at - at).total_seconds()
    assert submit < 60
    expected = 60 * idle_minutes + 20 + max(submit, 0.0)
    assert the_one(team).seconds == pytest.approx(expected, abs=0.01)


def table(team: Team):
    with team.database.read() as connection:
        query = select(*FIGURES).order_by(RegionCostRow.annotation_id, RegionCostRow.region_id)
        return [tuple(map(str, row)) for row in connection.execute(query)]


def test_an_accepted_object_has_its_figures_at_once(team, desk):
    label(team, desk)
    cost = the_one(team)

    assert (cost.positive, cost.negative, cost.interactions, cost.predictions) == (2, 1, 3, 3)
    assert cost.known
    assert cost.last_iou == cost.ious[-1] == 1.0
    assert cost.first_iou == cost.ious[0] < 1.0
    assert cost.corrected == 0
    assert cost.annotator_name == "ann@example.com"
    assert cost.seconds == pytest.approx((cost.submitted_at - cost.first_at).total_seconds())
    task = Reports(team.database).task(team.key, 1)
    assert (task.interactions, task.abandoned, task.lead_time) == (3, 0, 9.5)
    assert task.regions == (cost,)
    team.check()


def test_an_object_that_a_phrase_suggested_is_known_to_have_taken_no_click(team, desk):
    # given an object that came with the answer to another one's phrase
    label(team, desk)
    clicks = EventRow.kind.in_(("positive_click", "negative_click"))
    with team.database.write() as connection:
        connection.execute(update(EventRow).where(clicks).values(kind="suggest"))
        connection.execute(update(AnnotationTimeRow).values(drawn=""))
    # when
    Costs(team.database).catch_up()
    # then
    cost = the_one(team)
    assert cost.known
    assert (cost.interactions, cost.without_click) == (0, True)
    assert cost.seconds is not None


def test_each_step_of_it_can_be_looked_at(team, desk):
    label(team, desk)
    cost = the_one(team)
    steps = Reports(team.database).history(team.key, 1, cost.region)
    done = [step for step in steps if step.event.kind.endswith("click")]

    assert [step.iou for step in done] == list(cost.ious)
    assert all(step.mask is not None and step.mask.unpack().any() for step in done)
    assert done[0].event.model_version == "v1"
    assert done[0].event.milliseconds == 12.5


def test_an_edit_by_hand_is_measured_against_the_last_answer(team, desk):
    label(team, desk)
    team.draw_on(desk)
    team.submit(desk)
    arrive(team)
    cost = the_one(team)

    assert cost.corrected > 0
    assert cost.last_iou < 1.0
    assert cost.interactions == 3
    team.check()


def test_clicks_after_the_submit_count_once_the_worker_looks(team, desk):
    label(team, desk)
    team.refine(desk)
    reports = Reports(team.database)

    before = reports.task(team.key, 1)
    assert (before.interactions, before.abandoned) == (4, 1)
    team.tasks.compute_costs()
    after = reports.task(team.key, 1)
    assert (after.interactions, after.abandoned) == (4, 0)
    assert team.tasks.compute_costs() == 0


def test_a_deleted_annotation_leaves_its_clicks_to_the_task(team, desk):
    label(team, desk)
    team.delete(desk)
    arrive(team)
    task = Reports(team.database).task(team.key, 1)

    assert (task.interactions, task.abandoned, task.objects) == (3, 3, 0)
    assert not task.known
    assert task.first_iou is None
    team.check()


def test_costs_of_older_labels_are_computed_over_time(team, desk):
    label(team, desk)
    drawn = table(team)
    with team.database.write() as connection:
        connection.execute(delete(RegionCostRow))
        connection.execute(delete(AnnotationTimeRow))
    reports = Reports(team.database)
    assert not reports.reconcile(team.key).agrees

    assert Costs(team.database).catch_up() == 1
    assert table(team) == drawn
    assert reports.reconcile(team.key).agrees


def test_a_task_that_cannot_be_computed_stops_no_other(team, desk, monkeypatch):
    label(team, desk)
    with team.database.write() as connection:
        connection.execute(delete(AnnotationTimeRow))
    costs, update = Costs(team.database), Costs.update

    def updated(self, project, task):
        if task == 0:
            raise OverflowError
        update(self, project, task)

    monkeypatch.setattr(Costs, "update", updated)
    monkeypatch.setattr(costs, "outdated", lambda: [(team.key, 0), (team.key, 1)])
    assert costs.catch_up() == 1


def test_no_costs_are_computed_without_time(team, desk):
    label(team, desk)
    with team.database.write() as connection:
        connection.execute(delete(AnnotationTimeRow))
    assert Costs(team.database).catch_up(seconds=-1) == 0
    assert Costs(team.database).outdated() == [(team.key, 1)]


@pytest.mark.parametrize("seed", [4, 5])
def test_the_order_of_webhooks_changes_nothing(team, seed):
    """Computed in any order, twice, or all at the end: the same rows."""
    team.rng = random.Random(seed)
    team.deliver = team.forget = team.mend = team.nothing
    for _ in range(40):
        team.act()
    sent = list(team.waiting)
    arrive(team)
    team.tasks.compute_costs()
    in_order = table(team)

    with team.database.write() as connection:
        for name in ("region_costs", "annotation_times", "annotations", "annotated_tasks"):
            connection.execute(text(f"DELETE FROM {name}"))
    team.waiting = sent + random.Random(seed).sample(sent, len(sent) // 2)
    team.rng.shuffle(team.waiting)
    arrive(team)
    team.tasks.compute_costs()
    assert table(team) == in_order
    team.check()


def test_masks_go_after_their_time_and_the_figures_stay(team, desk):
    label(team, desk)
    cost = the_one(team)
    now = team.clock.now + timedelta(days=100)
    assert Costs(team.database).forget_masks(timedelta(days=90), now) == 3
    # when: the costs are computed again after another click
    team.refine(desk)
    team.tasks.compute_costs()
    updated = the_one(team)

    assert updated.interactions == 4
    assert updated.first_iou == cost.first_iou
    steps = Reports(team.database).history(team.key, 1, cost.region)
    assert [step.mask for step in steps if step.event.kind.endswith("click")][:3] == [None] * 3


def test_masks_without_costs_and_of_open_objects_stay(team, desk):
    label(team, desk)
    with team.database.write() as connection:
        connection.execute(delete(AnnotationTimeRow))
    other = team._desk(3, 2)
    team.click(other)
    now = team.clock.now + timedelta(days=100)

    assert Costs(team.database).forget_masks(timedelta(days=90), now) == 0
    team.tasks.compute_costs()
    assert Costs(team.database).forget_masks(timedelta(days=90), now) == 3
    forget_objects(team.database, timedelta(days=14), now)
    Costs(team.database).forget_masks(timedelta(days=90), now)
    with team.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(ServedMaskRow)).scalar() == 0


def test_a_region_drawn_by_hand_is_unknown_not_free(team, desk):
    team.draw_new(desk)
    team.submit(desk)
    arrive(team)
    cost = the_one(team)

    assert not cost.known
    assert (cost.interactions, cost.seconds, cost.first_iou, cost.corrected) == (None,) * 4
    (group,) = Reports(team.database).groups(team.key, "label")
    assert (group.n, group.unknown, group.clicks) == (0, 1, None)
    assert Reports(team.database).groups(team.key, "phrase") == []
    assert list(Reports(team.database).regions(team.key, ReportFilter(phrase=False))) == []
