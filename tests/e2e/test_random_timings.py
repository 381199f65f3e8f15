"""Clicks, phrases, and what the page does not send, at random moments in the real page.

Ctrl+Z, rejecting and deleting send nothing; the backend sees them in a draft, which is saved some
seconds later. Before that it cannot know, and may count what was undone or continue what was
rejected. After it, the object and the count must be exact.
``TIMING_SEQUENCES`` sets how many sequences are tried (``make test-timings``: 200).
"""

import os
import random
import re
import time
from dataclasses import dataclass

import pytest

from tests.e2e.annotator_page import AnnotatorPage
from tests.e2e.photographs import CAT
from tests.e2e.studio import Studio

SEQUENCES = int(os.environ.get("TIMING_SEQUENCES", "2"))
CAT_KEY, ADD, REMOVE = "2", "a", "s"
PHRASES = ("the cat", "the grey cat", "the cat in front")
STEPS = 5
SHORTEST_S, LONGEST_S = 0.2, 12.0
# The page saves a draft up to 5 s after a change, and the backend trusts its clock to 2 s.
KNOWN_AFTER_S = 9.0
COUNT = re.compile(r"^(\d+) clicks?")


def counted(page: AnnotatorPage) -> int:
    """The number of clicks that the status line gives for the mask."""
    match = COUNT.match(page.status)
    assert match, page.status
    return int(match[1])


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_the_count_follows_the_page(studio: Studio, page: AnnotatorPage, seed: int) -> None:
    # given an object of one click, with Auto-Accept
    chance = random.Random(seed)
    page.open(studio.project(), studio.task(CAT), auto_accept=True)
    page.click(55, 45, CAT_KEY)
    region = page.only().id
    history = [1]  # the clicks behind each answer that Ctrl+Z can return to
    undone, undone_at = 0, 0.0
    # when clicks are added, taken back and waited for, each at a random moment
    for step in range(STEPS):
        page.page.wait_for_timeout(1000 * chance.uniform(SHORTEST_S, LONGEST_S))
        if len(history) > 1 and chance.random() < 0.4:
            page.undo()
            undone += history.pop() - history[-1]
            undone_at = time.monotonic()
            continue
        label = chance.choice([ADD, REMOVE])
        known = time.monotonic() - undone_at >= KNOWN_AFTER_S
        x, y = chance.uniform(25, 70), chance.uniform(35, 75)
        page.click(x, y, label, keys=("Control",))
        # then the count is that of the page, or more by what could not be known yet
        exact = history[-1] + 1
        at_most = exact if known else exact + undone
        reported = counted(page)
        assert exact <= reported <= at_most, (seed, step, page.status, history, undone)
        history.append(reported)
        undone = 0
        # and it is still the one object
        assert [shown.id for shown in page.regions()] == [region]


@dataclass(eq=False)
class MeantObject:
    """An object as the annotator means it."""

    region: str
    clicks: int
    reported: int = 0  # clicks behind the newest answer
    accepted: int = 0  # clicks behind the accepted mask; 0: it is not accepted
    removed_at: float = 0.0  # when it was rejected or deleted
    undone: int = 0  # clicks of a refinement that was rejected
    undone_at: float = 0.0

    def counts(self) -> set[int]:
        """What the next click may be counted as."""
        known = time.monotonic() - self.undone_at >= KNOWN_AFTER_S
        return {self.clicks + 1} | (set() if known else {self.clicks + 1 + self.undone})


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_the_object_follows_the_page(studio: Studio, page: AnnotatorPage, seed: int) -> None:
    # given an empty task, without Auto-Accept
    chance = random.Random(1000 + seed)
    page.open(studio.project(), studio.task(CAT), auto_accept=False)
    objects: list[MeantObject] = []  # in the order of their last use
    pending: MeantObject | None = None
    label, words = CAT_KEY, ""
    done: list[str] = []
    # when objects are made, refined, accepted, rejected and deleted, each at a random moment
    for _ in range(2 * STEPS):
        page.page.wait_for_timeout(1000 * chance.uniform(SHORTEST_S, LONGEST_S))
        alive = [meant for meant in objects if meant.accepted and not meant.removed_at]
        moves = ["more", "phrase", "accept", "accept", "reject"] if pending else ["new"]
        if pending is None and alive:
            moves += ["refine", "refine", "delete"]
        move = chance.choice(moves)
        done.append(move)
        if move == "accept" and pending is not None:
            page.accept()
            pending.clicks = pending.accepted = pending.reported
            pending.removed_at, pending.undone, pending = 0.0, 0, None
        elif move == "reject" and pending is not None:
            page.reject()
            pending.undone, pending.undone_at = (
                pending.reported - pending.accepted,
                time.monotonic(),
            )
            pending.clicks = pending.accepted
            if not pending.accepted:
                pending.removed_at = time.monotonic()
            pending = None
        elif move == "delete":
            page.delete(alive[-1].region)
            alive[-1].removed_at = time.monotonic()
        elif move == "phrase" and pending is not None:
            # Entering the same words again sends nothing.
            words = chance.choice([other for other in PHRASES if other != words])
            page.say(words)
            # then words refine the object that is in progress
            assert suggested(page) == pending.region, (seed, done, page.status)
            pending.reported = counted(page)
            allowed_counts = {pending.clicks, pending.clicks + pending.undone}
            assert pending.reported in allowed_counts, (seed, done, page.status)
        else:
            label = {"new": CAT_KEY, "refine": ADD}.get(move, label)
            page.click(chance.uniform(25, 70), chance.uniform(35, 75), label, keys=("Control",))
            region, reported = suggested(page), counted(page)
            if move == "new":
                # then a click with a label begins an object
                assert region not in {meant.region for meant in objects}, (seed, done, page.status)
                pending = MeantObject(region, 0)
                objects.append(pending)
            elif move == "refine":
                # then the last object is the one that was used last, or what was removed just now
                pending = next(meant for meant in objects if meant.region == region)
                allowed = [
                    alive[-1],
                    *(t for t in objects[objects.index(alive[-1]) :] if recent(t)),
                ]
                assert pending in allowed, (seed, done, page.status)
            assert pending is not None
            assert region == pending.region, (seed, done, page.status)
            assert reported in pending.counts(), (seed, done, page.status)
            pending.clicks, pending.reported = pending.clicks + 1, reported
            objects.remove(pending)
            objects.append(pending)
        # and no answer adds or removes an accepted mask
        shown = {one.region for one in objects if one.accepted and not one.removed_at}
        assert {r.id for r in page.regions() if not r.suggested} == shown, (seed, done)


def suggested(page: AnnotatorPage) -> str:
    """The region that waits to be accepted."""
    (region,) = [region for region in page.regions() if region.suggested]
    return region.id


def recent(meant: MeantObject) -> bool:
    """Whether it was removed too shortly ago for a draft to show it."""
    return bool(meant.removed_at) and time.monotonic() - meant.removed_at < KNOWN_AFTER_S
