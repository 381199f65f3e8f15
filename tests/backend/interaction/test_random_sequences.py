"""Random sequences on the page, held against a model that is told by the annotator, not by the
requests: it knows what each act means, so which object must be the target and which clicks count.

The page (conftest) only does what Label Studio does; the memory sees only what the page sends.
"""

import itertools
from collections.abc import Callable
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select

from backend.db.engine import Database
from backend.db.models import EventRow
from backend.interaction.draft_sync import STAYS_AFTER
from backend.interaction.store import InteractionStore
from backend.settings import Settings

PLACES = st.integers(min_value=1, max_value=99)
LABELS = st.sampled_from(["Cat", "Dog"])
ANNOTATORS = st.sampled_from(["ann", "bob"])


class ExpectedObjects:
    """What one annotator means: the objects on their page, each a region id and its click ids."""

    def __init__(self) -> None:
        self.objects: list[dict] = []  # in the order of their last use
        self.phrase: tuple[str, dict] | None = None  # text and the object it was said of

    def last(self, label: str | None = None) -> dict | None:
        alive = [o for o in self.objects if o["alive"] and label in (None, o["label"])]
        return alive[-1] if alive else None

    def use(self, thing: dict) -> None:
        self.objects.remove(thing) if thing in self.objects else None
        self.objects.append(thing)

    def new(self, label: str) -> dict:
        thing = {"label": label, "clicks": {}, "region": None, "alive": True, "phrase": ""}
        thing |= {"accepted": False, "stays": False, "answered": None, "clicked": False}
        self.objects.append(thing)
        return thing


def machine(page_on: Callable, folder: Path, migrated: Path) -> type[RuleBasedStateMachine]:
    runs = itertools.count()

    class Sequences(RuleBasedStateMachine):
        @initialize(auto_accept=st.booleans())
        def begin(self, auto_accept: bool) -> None:
            path = folder / f"run{next(runs)}.db"
            path.write_bytes(migrated.read_bytes())
            self.path, self.database = path, Database(f"sqlite:///{path}")
            self.auto_accept = auto_accept
            self.pages, self.truths, self.logged = {}, {}, 0
            for name in ("ann", "bob"):
                memory = InteractionStore(self.database, Settings())
                page = page_on(memory, user=f"{name}@example.com", auto_accept=auto_accept)
                # Each has been here for a while, so that Label Studio knows a draft of theirs.
                page.save_draft()
                self.pages[name], self.truths[name] = page, ExpectedObjects()
            page.clock.wait(30)

        def teardown(self) -> None:
            if hasattr(self, "database"):
                self.database.close()

        def check(self, name: str, turn, thing: dict | None, *, logged: int) -> None:
            """The target is the object that was meant, and exactly its clicks count."""
            self.logged += logged
            if thing is None:
                assert turn.target is None
                return
            assert turn.target is not None
            if thing["region"] is None:
                assert turn.started
                everyone = [o for t in self.truths.values() for o in t.objects]
                assert turn.target.region_id not in [o["region"] for o in everyone]
                thing["region"] = turn.target.region_id
            assert turn.target.region_id == thing["region"]
            assert {c.id: c.positive for c in turn.target.clicks} == thing["clicks"]
            assert turn.target.label.value == thing["label"]
            typed = turn.target.phrase if turn.target.phrase_source == "typed" else ""
            assert typed == thing["phrase"]
            assert len(turn.new) == logged
            self.truths[name].use(thing)
            thing["answered"] = self.pages[name].clock.now
            thing["clicked"] = thing["clicked"] or bool(thing["clicks"])

        def settled(self, name: str) -> None:
            """A pause in which the page saves and the memory is asked, so that drafts are known."""
            self.pages[name].work()
            self.pages[name].send([])

        def stays(self, name: str, pending: set[str]) -> None:
            """Points that are there long after their answer: Auto-Accept must be off."""
            now = self.pages[name].clock.now
            for thing in self.truths[name].objects:
                if pending & set(thing["clicks"]) and now > thing["answered"] + STAYS_AFTER:
                    thing["stays"] = True

        # -- what annotators do

        @rule(name=ANNOTATORS, x=PLACES, label=LABELS, negative=st.booleans())
        def click(self, name: str, x: int, label: str, negative: bool) -> None:
            page, truth = self.pages[name], self.truths[name]
            pending = {i for i, p in page.points.items() if p["value"]["labels"] == [label]}
            self.stays(name, pending)
            turn = page.click(x, label, negative=negative)
            came = {point["id"] for point in page.sent}
            new = next(iter(came - pending))
            thing = next((o for o in truth.objects if pending & set(o["clicks"])), None)
            if thing is None:
                thing = self.meant(truth, label, negative)
                if thing is not None:  # Alt-clicks that found no object until now come along
                    thing["clicks"].update(dict.fromkeys(pending, False))
            if thing is None:
                self.check(name, turn, None, logged=1)
                return
            thing["alive"] = True
            thing["clicks"][new] = not negative
            self.check(name, turn, thing, logged=1)

        def meant(self, truth: ExpectedObjects, label: str, negative: bool) -> dict | None:
            if negative:
                return truth.last(label)
            waiting = truth.objects[-1] if truth.objects else None
            by_words = waiting and waiting["phrase"] and not waiting["clicked"] and waiting["alive"]
            if by_words and not waiting["accepted"] and waiting["label"] == label:
                return waiting
            return truth.new(label)

        @precondition(lambda self: self.auto_accept)
        @rule(name=ANNOTATORS, first=PLACES, second=PLACES, label=LABELS)
        def click_twice_quickly(self, name: str, first: int, second: int, label: str) -> None:
            """The answer to the first click is thrown away, so the second one brings both."""
            page, truth = self.pages[name], self.truths[name]
            if page.points:
                return
            one = page.make_point(first, label)
            thing = self.meant(truth, label, negative=False)
            thing["clicks"][one] = True
            self.check(name, page.send([page.points[one]], lost=True), thing, logged=1)
            two = page.make_point(second, label)
            thing["clicks"][two] = True
            self.check(name, page.send_points(label), thing, logged=1)

        @rule(name=ANNOTATORS, x=PLACES, take_away=st.booleans())
        def refine(self, name: str, x: int, take_away: bool) -> None:
            page, truth = self.pages[name], self.truths[name]
            label = "- last object" if take_away else "+ last object"
            pending = {i for i, p in page.points.items() if p["value"]["labels"] == [label]}
            self.stays(name, pending)
            turn = page.click(x, label)
            new = next(iter({c["id"] for c in page.sent} - pending))
            thing = next((o for o in truth.objects if pending & set(o["clicks"])), None)
            if thing is None:
                thing = truth.last()
                if thing is not None:
                    thing["clicks"].update(dict.fromkeys(pending, not take_away))
            if thing is not None:
                thing["alive"] = True
                thing["clicks"][new] = not take_away
            self.check(name, turn, thing, logged=1)

        @precondition(lambda self: self.auto_accept)
        @rule(name=ANNOTATORS, x=PLACES, after=PLACES)
        def undo_a_refinement(self, name: str, x: int, after: int) -> None:
            """Ctrl+Z sends nothing; the page may save no earlier than with the next click."""
            page, truth = self.pages[name], self.truths[name]
            thing = truth.last()
            if thing is None or thing["region"] not in page.regions or page.points:
                return
            page.click(x, "+ last object")
            page.undo_answer()
            self.logged += 1
            page.clock.wait(12)
            thing["clicks"][page.make_point(after, "+ last object")] = True
            page.save_draft()
            self.check(name, page.send_points("+ last object"), thing, logged=1)

        @rule(name=ANNOTATORS, label=LABELS, word=st.sampled_from(["red", "big", "left"]))
        def type(self, name: str, label: str, word: str) -> None:
            page, truth = self.pages[name], self.truths[name]
            page.remove_phrase()  # a fresh entry each time; editing is tested one by one
            text = f"the {word} {label.lower()}"
            last = truth.objects[-1] if truth.objects else None
            # The tick ends an object, where it is known to be one; a refinement opens it again.
            closed = last and last["accepted"] and last["stays"]
            closed = closed and not set(last["clicks"]) & set(page.points)
            thing = last if last and last["alive"] and last["label"] == label else None
            if thing is None or closed:
                thing = truth.new(label)
            turn = page.type(text)
            thing["phrase"], truth.phrase = text, (text, thing)
            self.check(name, turn, thing, logged=1)

        @rule(name=ANNOTATORS)
        def say_it_again(self, name: str) -> None:
            """A request delivered twice counts nothing and changes nothing."""
            page, truth = self.pages[name], self.truths[name]
            if page.sent and page.last.target is not None and not self.auto_accept:
                thing = next(o for o in truth.objects if o["region"] == page.last.target.region_id)
                if all(i["id"] in page.points for i in page.sent if "x" in i["value"]):
                    self.stays(name, {i["id"] for i in page.sent})
                    self.check(name, page.send(page.sent), thing, logged=0)

        @precondition(lambda self: not self.auto_accept)
        @rule(name=ANNOTATORS, which=st.integers(0, 5))
        def undo_a_click(self, name: str, which: int) -> None:
            """A key point is deleted; the next request of its label shows it."""
            page, truth = self.pages[name], self.truths[name]
            points = list(page.points)
            if not points:
                return
            gone = points[which % len(points)]
            label = page.points[gone]["value"]["labels"]
            rest = [p for i, p in page.points.items() if i != gone]
            thing = next((o for o in truth.objects if gone in o["clicks"]), None)
            if thing is None or not any(p["value"]["labels"] == label for p in rest):
                return  # the last one of its label: only a draft tells, see test_drafts
            page.undo_click(gone)
            self.stays(name, {i for i, p in page.points.items() if p in rest})
            del thing["clicks"][gone]
            turn = page.send_points(label[0])
            self.check(name, turn, thing, logged=0)

        @precondition(lambda self: not self.auto_accept)
        @rule(name=ANNOTATORS)
        def accept(self, name: str) -> None:
            page, truth = self.pages[name], self.truths[name]
            if not page.shown:
                return
            (region,) = page.shown
            page.accept()
            for thing in truth.objects:
                # Suggestions that were replaced unaccepted are off the page, and their points; but
                # words that are still there are still said.
                shown = thing["region"] in page.regions
                thing["alive"] = thing["alive"] and (shown or self.said_of(truth, thing))
                thing["accepted"] = shown
                if not shown:
                    thing["clicks"].clear()
            assert region in page.regions
            self.settled(name)

        @precondition(lambda self: not self.auto_accept)
        @rule(name=ANNOTATORS, seconds=st.sampled_from([0.3, 2, 8]))
        def reject(self, name: str, seconds: float) -> None:
            """The cross takes the suggestion and all points; the page saves at most 5 s later."""
            page, truth = self.pages[name], self.truths[name]
            if not page.shown:
                return
            pending = set(page.points)
            page.clock.wait(seconds)
            page.reject()
            for thing in truth.objects:
                shown = thing["region"] in page.regions
                thing["alive"] = thing["alive"] and (shown or self.said_of(truth, thing))
                for gone in pending & set(thing["clicks"]) if shown else set(thing["clicks"]):
                    del thing["clicks"][gone]
            page.clock.wait(4.6)
            page.save_draft()
            page.send([])

        @rule(name=ANNOTATORS)
        def pause(self, name: str) -> None:
            page, truth = self.pages[name], self.truths[name]
            self.settled(name)
            for thing in truth.objects:
                shown = thing["region"] in page.regions
                points = set(thing["clicks"]) & set(page.points)
                words = bool(thing["phrase"]) and self.said_of(truth, thing)
                thing["accepted"] = thing["accepted"] or shown
                # What is not accepted and has points there: asked now, the memory sees them stay.
                thing["stays"] = thing["stays"] or (bool(points) and not shown)
                thing["alive"] = shown or bool(points) or (words and thing["alive"])

        def said_of(self, truth: ExpectedObjects, thing: dict) -> bool:
            """Whether its words are still said; of what was clicked, the clicks count."""
            said = truth.phrase is not None and truth.phrase[1] is thing
            return said and not thing["clicked"]

        @rule(name=ANNOTATORS, which=st.integers(0, 5))
        def delete_a_region(self, name: str, which: int) -> None:
            page, truth = self.pages[name], self.truths[name]
            if not page.regions:
                return
            self.pause(name)
            region = list(page.regions)[which % len(page.regions)]
            page.delete_region(region)
            for thing in truth.objects:
                if thing["region"] == region:
                    thing["alive"] = bool(set(thing["clicks"]) & set(page.points))
            self.settled(name)

        @rule()
        def restart(self) -> None:
            self.database.close()
            self.database = Database(f"sqlite:///{self.path}")
            for page in self.pages.values():
                page.memory = InteractionStore(self.database, Settings())

        @invariant()
        def every_interaction_is_logged_once(self) -> None:
            if not hasattr(self, "database"):
                return
            counted = EventRow.kind.in_(("positive_click", "negative_click", "phrase"))
            with self.database.read() as connection:
                query = select(func.count()).select_from(EventRow).where(counted)
                assert connection.execute(query).scalar_one() == self.logged

    return Sequences


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_random_sequences_equal_what_the_annotators_meant(page_on, tmp_path, migrated):
    run_state_machine_as_test(
        machine(page_on, tmp_path, migrated),
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
