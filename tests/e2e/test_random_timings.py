"""Clicks and Ctrl+Z at random moments, in the real page: an undone click counts no more.

The page says nothing of Ctrl+Z; the backend sees it in a draft, which is saved some seconds later.
Before that it cannot know, and may count what was undone. After it, the count must be exact.
``TIMING_SEQUENCES`` sets how many sequences are tried (``make test-timings``: 200).
"""

import os
import random
import re
import time

import pytest

from tests.e2e.annotator_page import AnnotatorPage
from tests.e2e.photographs import CAT
from tests.e2e.studio import Studio

SEQUENCES = int(os.environ.get("TIMING_SEQUENCES", "2"))
CAT_KEY, ADD, REMOVE = "2", "a", "s"
STEPS = 5
SHORTEST_S, LONGEST_S = 0.2, 12.0
# The page saves a draft up to 5 s after a change, and the backend trusts its clock to 2 s.
KNOWN_AFTER_S = 9.0
COUNT = re.compile(r"^(\d+) clicks?")


def counted(page: AnnotatorPage) -> int:
    """The clicks that the status line says the mask rests on."""
    found = COUNT.match(page.status)
    assert found, page.status
    return int(found[1])


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_the_count_follows_the_page(studio: Studio, page: AnnotatorPage, seed: int) -> None:
    # given an object of one click, with Auto-Accept
    chance = random.Random(seed)
    page.open(studio.project(), studio.task(CAT), auto_accept=True)
    page.click(55, 45, CAT_KEY)
    region = page.only().id
    standing = [1]  # how many clicks each answer rests on that Ctrl+Z can go back to
    undone, undone_at = 0, 0.0
    # when clicks are added, taken back and waited for, each at a random moment
    for step in range(STEPS):
        page.page.wait_for_timeout(1000 * chance.uniform(SHORTEST_S, LONGEST_S))
        if len(standing) > 1 and chance.random() < 0.4:
            page.undo()
            undone += standing.pop() - standing[-1]
            undone_at = time.monotonic()
            continue
        label = chance.choice([ADD, REMOVE])
        known = time.monotonic() - undone_at >= KNOWN_AFTER_S
        x, y = chance.uniform(25, 70), chance.uniform(35, 75)
        page.click(x, y, label, keys=("Control",))
        # then the count is what stands on the page, or more by what could not be known yet
        exact = standing[-1] + 1
        at_most = exact if known else exact + undone
        said = counted(page)
        assert exact <= said <= at_most, (seed, step, page.status, standing, undone)
        standing.append(said)
        undone = 0
        # and it is still the one object
        assert [shown.id for shown in page.regions()] == [region]
