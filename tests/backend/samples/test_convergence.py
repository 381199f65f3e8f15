"""Deliveries in any order, doubled or lost, end in the same samples."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from backend.db.engine import Database
from backend.samples.ingest import SampleStore
from tests.backend.samples.studio import (
    Studio,
    connected,
    reconciliation,
    region,
    settle,
    square,
    state,
)

QUICK = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

Body = dict[str, Any]


@st.composite
def histories(draw: st.DrawFn) -> Studio:
    """Annotators at work on three tasks."""
    studio = Studio()
    for number in (1, 2, 3):
        studio.task(number)
    for number in range(1, draw(st.integers(2, 9))):
        known = sorted(studio.annotations)
        deeds = ["submit"] + ["update", "skip", "delete", "delete task"] * bool(known)
        deed = draw(st.sampled_from(deeds))
        masks = draw(st.lists(st.sampled_from(["a", "b", "empty", "polygon"]), max_size=3))
        result = [_region(name) for name in dict.fromkeys(masks)]
        if deed == "submit" and studio.tasks:
            truth = draw(st.booleans())
            task = draw(st.sampled_from(sorted(studio.tasks)))
            studio.submit(number, task, result, ground_truth=truth)
        elif deed in ("update", "skip"):
            chosen = draw(st.sampled_from(known))
            studio.update(chosen, result, was_cancelled=deed == "skip")
        elif deed == "delete":
            studio.delete(draw(st.sampled_from(known)))
        elif deed == "delete task":
            studio.delete_task(studio.annotations[draw(st.sampled_from(known))]["task"])
    return studio


def _region(name: str) -> Body:
    if name == "empty":
        return region(name, np.zeros((48, 64), dtype=bool))
    if name == "polygon":
        return {**region(name), "type": "polygonlabels", "value": {"points": []}}
    return region(name, square(ord(name) % 40, 5), "Cat" if name == "a" else "Dog")


@pytest.fixture(scope="module")
def one(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One database for all examples of a property: see ``emptied``."""
    path = shutil.copy(migrated, tmp_path_factory.mktemp("convergence") / "db")
    database = Database(f"sqlite:///{path}")
    connected(database)
    yield database
    database.close()


def emptied(database: Database) -> Database:
    """As on the first day."""
    with database.write() as connection:
        for name in ("samples", "annotated_pictures", "annotations", "annotated_tasks"):
            connection.execute(text(f"DELETE FROM {name}"))
        connection.execute(text("DELETE FROM sampled_projects"))
    return database


def taken_in(database: Database, bodies: list[Body]) -> dict[str, Any]:
    store = SampleStore(emptied(database))
    for body in bodies:
        settle(store, body)
    return state(database)


@QUICK
@given(studio=histories(), data=st.data())
def test_any_order_with_duplicates_leads_to_the_same_table(
    one: Database, studio: Studio, data: st.DataObject
) -> None:
    doubled = studio.sent + data.draw(st.lists(st.sampled_from(studio.sent), max_size=4))
    shuffled = data.draw(st.permutations(doubled))

    in_order = taken_in(one, studio.sent)
    assert taken_in(one, list(shuffled)) == in_order
    assert {row[1] for row in in_order["annotations"]} == set(studio.annotations)


@QUICK
@given(studio=histories(), data=st.data())
def test_a_sync_repairs_any_loss(one: Database, studio: Studio, data: st.DataObject) -> None:
    kept = data.draw(st.lists(st.sampled_from(studio.sent), max_size=8))

    taken_in(one, kept)
    (done,) = reconciliation(one, studio).run()
    mended = state(one)

    assert done.complete
    assert mended == taken_in(one, studio.sent)


@QUICK
@given(studio=histories(), data=st.data())
def test_the_next_sync_corrects_late_deliveries(
    one: Database, studio: Studio, data: st.DataObject
) -> None:
    late = data.draw(st.lists(st.sampled_from(studio.sent), max_size=8))

    reconciliation(emptied(one), studio).run()
    asked = state(one)
    for body in late:
        settle(SampleStore(one), body)
    reconciliation(one, studio).run()

    assert state(one) == asked


def test_workers_that_settle_at_once_agree(database: Database) -> None:
    # given: a day's deliveries, and four workers who each see all of them in an order of their own
    studio = Studio()
    for number in range(1, 7):
        studio.submit(number, studio.task(number), [_region("a"), _region("b")])
    for number in (1, 2, 3):
        studio.update(number, [_region("b")])
    studio.delete(3)
    studio.delete_task(4)
    connected(database)
    in_order = taken_in(database, studio.sent)
    emptied(database)

    def work(seed: int) -> None:
        store = SampleStore(database)
        for index in np.random.default_rng(seed).permutation(len(studio.sent)):
            settle(store, studio.sent[index])

    # when
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    # then
    assert state(database) == in_order
