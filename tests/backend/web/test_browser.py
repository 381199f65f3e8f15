"""The dashboard in Chromium: empty, with a team's weeks, with 100,000 interactions.

What every page owes its readers is held on every page; what buttons say is held by pressing them.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from playwright.sync_api import expect
from sqlalchemy import insert, update

from backend.db.engine import Database
from backend.db.models import RegionCostRow
from backend.db.models.jobs import Job, LogLine
from tests.backend.programs import until
from tests.backend.web import scene
from tests.backend.web.scene import SCRIPT
from tests.backend.web.sites import Filled, LargeSite, Site
from tests.backend.web.window import LAPTOP, PHONE, Scheme, Window, contrast

pytestmark = pytest.mark.slow

ARTEFACTS = Path(__file__).parents[2] / "artefacts" / "dashboard"
# Limits of any page on two cores: seconds of CPU, and seconds until it has loaded.
SECONDS = 1.0


# -- every page


@pytest.mark.parametrize(("size", "scheme"), [(LAPTOP, "light"), (PHONE, "dark")])
@pytest.mark.parametrize("filled", ["nothing", "small"])
def test_every_page_can_be_read_by_everybody(
    look: Callable[..., Window],
    request: pytest.FixtureRequest,
    filled: str,
    size: tuple[int, int],
    scheme: Scheme,
) -> None:
    site: Site = request.getfixturevalue(filled)
    seen = look(site, size, scheme)

    for name, path in site.pages.items():
        answer = seen.go(path)
        seen.see_pictures()
        seen.picture(ARTEFACTS, f"{site.name}-{name}-{size[0]}-{scheme}")

        assert answer.status == 200, name
        assert seen.faults() == [], name
    assert len(seen.asked) > 2 * len(site.pages), "requests were looked at"


@pytest.mark.timed
def test_every_page_is_quick_on_100_000_interactions(
    look: Callable[..., Window], long: LargeSite
) -> None:
    # when the server has just started and read its history, as it does by itself
    seen = look(long, PHONE)
    until(lambda: "figures of 2 projects" in long.server.log.read_text(), long.server.log)

    # then the first look at each page is as quick as the second, and as that after a new label:
    # each computes no longer than the bound, and the middle one has loaded within it, none far
    # beyond it on a machine that does other things
    spent: dict[tuple[str, str], float] = {}
    took: dict[str, list[float]] = {}
    for turn in ("first", "second", "third"):
        if turn == "third":
            _relabel(long.database)
        for name, path in long.pages.items():
            before = long.computed()
            answer = seen.go(path)
            seen.see_pictures()
            spent[turn, name] = long.computed() - before
            took.setdefault(name, []).append(seen.loading())
            assert answer.status == 200, name
            assert seen.faults() == [], name
            if turn == "first":
                seen.picture(ARTEFACTS, f"long-{name}-{PHONE[0]}-light")

    assert max(spent.values()) <= SECONDS, spent
    assert max(map(median, took.values())) < SECONDS, took
    assert max(map(max, took.values())) < 2 * SECONDS, took


# -- live updates


def test_a_running_job_moves_without_a_reload(look: Callable[..., Window], small: Filled) -> None:
    job, database = small.scene.running, small.service.database
    seen = look(small)
    seen.go(f"/training/{job}")
    page = seen.page
    page.evaluate("window.stayed = true")
    expect(page.locator("#head progress")).to_have_js_property("value", 0.42)
    loss = page.locator("#charts .for-wide path.s0").first
    before = loss.get_attribute("d")
    expect(page.locator("#charts figure h3")).to_have_text(["Loss", "IoU"])

    # when the worker continues
    with database.write() as connection:
        values = {"progress": 0.6, "message": "Step 30 of 50", "heartbeat_at": datetime.now(UTC)}
        connection.execute(update(Job).where(Job.id == job).values(values))
        point = {**_line(job, ""), "figures": {"step": 30, "loss": 0.2}}
        connection.execute(insert(LogLine), [_line(job, f"Saw {SCRIPT}."), point])

    # then the page updates itself
    expect(page.locator("#head progress")).to_have_js_property("value", 0.6)
    expect(page.locator("#head")).to_contain_text("60 % · training · Step 30 of 50")
    expect(page.locator("#lines")).to_contain_text(f"Saw {SCRIPT}.")
    expect(loss).not_to_have_attribute("d", before or "")
    assert page.evaluate("window.stayed") is True


def test_the_list_of_jobs_moves_without_a_reload(
    look: Callable[..., Window], small: Filled
) -> None:
    job = _waiting_job(small, state="running", progress=0.1, heartbeat_at=datetime.now(UTC))
    seen = look(small)
    seen.go("/training")
    bar = seen.page.get_by_role("progressbar", name=f"Job {job}:")
    expect(bar).to_have_js_property("value", 0.1)
    seen.page.evaluate("window.stayed = true")

    _change(small, job, progress=0.7)
    expect(bar).to_have_js_property("value", 0.7)

    _change(small, job, state="done", ended_at=datetime.now(UTC))
    expect(bar).to_have_count(0)
    row = seen.page.get_by_role("row").filter(has_text=f"Scoring {job}")
    expect(row).to_contain_text("done")
    assert seen.page.evaluate("window.stayed") is True


# -- layout and accessibility


def test_light_and_dark_follow_the_system_until_one_is_chosen(
    look: Callable[..., Window], small: Filled
) -> None:
    light, dark = look(small), look(small, LAPTOP, "dark")
    grounds = {}
    for name, seen in (("light", light), ("dark", dark)):
        seen.go()
        ground, ink, soft = (
            seen.luminance(what) for what in ("background-color", "color", "--soft")
        )
        grounds[name] = ground
        assert contrast(ground, ink) > 7
        assert contrast(ground, soft) > 4.5
    assert grounds["light"] > 0.8
    assert grounds["dark"] < 0.05

    light.page.get_by_role("button", name="Switch between light and dark").click()
    assert light.luminance("background-color") == grounds["dark"]
    light.go("/versions")
    assert light.luminance("background-color") == grounds["dark"], "it stays chosen"


def test_everything_is_reached_by_keyboard_and_seen_to_be(
    look: Callable[..., Window], small: Filled
) -> None:
    seen = look(small)
    seen.go("/training")
    reached = []
    for _ in range(40):
        seen.page.keyboard.press("Tab")
        here = seen.focused()
        if here["tag"] == "body":
            break
        assert here["shown"], here
        assert here["outlined"], here
        reached.append(here["name"])

    assert reached[0] == "Skip to content"
    assert reached[1:6] == ["PhraseClick", "Overview", "Training", "Versions", "Health"]
    for name in ("Switch between light and dark", "after_labels", "cron", "paused", "Save"):
        assert name in reached
    assert "Train now for Project 6" in reached
    assert "Jobs" in reached, "a table that may have to be scrolled"

    # when the content is skipped to, the next stop is in it
    seen.go(f"/training/{small.scene.running}")
    seen.page.keyboard.press("Tab")
    seen.page.keyboard.press("Enter")
    seen.page.keyboard.press("Tab")
    assert seen.focused()["address"] == "/dashboard/training"


# -- inside


def _relabel(url: str) -> None:
    """An annotation changed, so an object's costs are computed again."""
    database = Database(url)
    with database.write() as connection:
        one = RegionCostRow.annotation_id == 5
        drawn = update(RegionCostRow).where(one).values(drawn_at=datetime.now(UTC))
        assert connection.execute(drawn).rowcount
    database.close()


def _line(job: int, text: str) -> dict[str, Any]:
    at = datetime.now(UTC)
    values = {"job_id": job, "at": at, "attempt": 1, "level": "info", "line": text}
    return {**values, "figures": None}


def _waiting_job(site: Filled, **values: Any) -> int:
    now = datetime.now(UTC)
    values = {"kind": "scoring", "started_at": now, "attempts": 1, **values}
    return scene._job(site.service.database, values.pop("state"), now, **values)


def _change(site: Filled, job: int, **values: Any) -> None:
    with site.service.database.write() as connection:
        connection.execute(update(Job).where(Job.id == job).values(values))
