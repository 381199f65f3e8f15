"""The clicks and the phrase behind an accepted region: from the memory, and from the log alone."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select, text

from backend.db.engine import Database
from backend.db.models import SampleRow
from backend.interaction.store import InteractionStore
from backend.samples.ingest import SampleStore
from backend.settings import Settings
from tests.backend.interaction.page import REFINE, Clock, Page, drawn_on
from tests.backend.samples.studio import settle, square

POSITIVE, NEGATIVE = True, False


@pytest.fixture
def page_of_ann(database: Database) -> Page:
    """An annotator's page with Auto-Accept on, over the real memory."""
    memory = InteractionStore(database, Settings())
    return Page(memory, Clock(), config=REFINE, auto_accept=True)


def submitted(page: Page) -> dict[str, Any]:
    """The webhook of what the page submits now."""
    page.submit()
    created = datetime.fromtimestamp(int(page.project.partition(".")[2]), UTC).isoformat()
    return {
        "action": "ANNOTATION_CREATED",
        "annotation": {**page.annotations[-1], "task": page.task},
        "task": {"id": page.task, "data": {"image": "/data/upload/6/a.png"}},
        "project": {"id": 6, "created_at": created, "label_config": page.config},
    }


def prompts(database: Database) -> dict[str, tuple[list[list[Any]], str]]:
    with database.read() as connection:
        rows = connection.execute(select(SampleRow)).all()
    return {row.region_id: ([[round(x), p] for x, _, p in row.clicks], row.phrase) for row in rows}


@pytest.fixture(params=["the memory", "the log alone"])
def forgotten(request: pytest.FixtureRequest, database: Database) -> Callable[[], None]:
    """With ``forgotten()`` before the delivery: as two weeks later, when the targets are gone."""

    def forget() -> None:
        if request.param == "the log alone":
            with database.write() as connection:
                connection.execute(text("DELETE FROM answers"))
                connection.execute(text("DELETE FROM targets"))

    return forget


def test_clicks_and_phrase_of_each_region(
    page_of_ann: Page, store: SampleStore, database: Database, forgotten: Callable[[], None]
) -> None:
    first = page_of_ann.click(20)
    page_of_ann.click(40, "+ last object")
    page_of_ann.click(30, "- last object")
    page_of_ann.work()
    second = page_of_ann.click(80, "Dog")
    page_of_ann.type("the brown dog")
    body = submitted(page_of_ann)
    assert first.target is not None
    assert second.target is not None
    forgotten()

    settle(store, body)

    assert prompts(database) == {
        first.target.region_id: ([[20, POSITIVE], [40, POSITIVE], [30, NEGATIVE]], ""),
        second.target.region_id: ([[80, POSITIVE]], "the brown dog"),
    }


def test_an_undone_click_is_none_of_them(
    store: SampleStore, database: Database, forgotten: Callable[[], None]
) -> None:
    # given: without Auto-Accept key points stay, and one is taken back
    page = Page(InteractionStore(database, Settings()), Clock(), config=REFINE)
    page.click(20)
    page.click(60)
    page.undo_click()
    turn = page.click(40)
    page.accept()
    body = submitted(page)
    assert turn.target is not None
    forgotten()

    settle(store, body)

    assert prompts(database) == {turn.target.region_id: ([[20, POSITIVE], [40, POSITIVE]], "")}


def test_after_ctrl_z_the_prompts_are_those_of_the_mask_that_is_there_again(
    page_of_ann: Page, store: SampleStore, database: Database
) -> None:
    turn = page_of_ann.click(20)
    page_of_ann.click(60, "+ last object")
    page_of_ann.undo_answer()  # sends nothing
    settle(store, submitted(page_of_ann))

    assert turn.target is not None
    assert prompts(database) == {turn.target.region_id: ([[20, POSITIVE]], "")}


def test_a_region_drawn_by_hand_has_none(
    page_of_ann: Page, store: SampleStore, database: Database
) -> None:
    page_of_ann.click(20)
    page_of_ann.regions = {
        "by-hand": drawn_on("by-hand", square(3, 3), ["Dog"]),
    }
    settle(store, submitted(page_of_ann))

    assert prompts(database) == {"by-hand": ([], "")}


def test_a_region_drawn_on_afterwards_keeps_the_clicks_that_made_it(
    page_of_ann: Page, store: SampleStore, database: Database, forgotten: Callable[[], None]
) -> None:
    turn = page_of_ann.click(20)
    assert turn.target is not None
    page_of_ann.work()
    page_of_ann.draw(turn.target.region_id, square(1, 1, 40))
    body = submitted(page_of_ann)
    forgotten()

    settle(store, body)

    assert prompts(database) == {turn.target.region_id: ([[20, POSITIVE]], "")}
