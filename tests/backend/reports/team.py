"""A team at work on a few tasks, with the real memory, samples and costs, and a count of its own.

The count is made here, from what the annotators do and see, and never from the backend's tables:
so it can tell whether those are right.
"""

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np

from backend.db.engine import Database
from backend.interaction.store import InteractionStore
from backend.interaction.submitted import forget_objects
from backend.label_studio import rle
from backend.reports.queries import Reports
from backend.settings import Settings
from backend.worker.tasks import Tasks
from backend.worker.webhook_inbox import Deliveries
from tests.backend.interaction.page import HEIGHT, REFINE, WIDTH, Clock, Page, drawn
from tests.backend.samples.studio import Studio, connected, reconciliation, region

USERS = {1: "ann@example.com", 2: "bob@example.com", 3: "cem@example.com"}


@dataclass
class TaskSession:
    """One annotator on one task: the page, and what was done on it."""

    page: Page
    number: int  # of the annotator
    annotation: int | None = None  # in Label Studio
    # Region id -> (kind, mask that the page showed after it, None where none came), in order.
    made: dict[str, list[tuple[str, np.ndarray | None]]] = field(default_factory=dict)


@dataclass
class Team:
    """Annotators, their Label Studio and this backend."""

    settings: Settings
    database: Database
    rng: random.Random
    clock: Clock = field(default_factory=Clock)
    studio: Studio = field(default_factory=lambda: Studio(config=REFINE))
    desks: dict[tuple[int, int], TaskSession] = field(default_factory=dict)
    shared: dict[int, list[dict[str, Any]]] = field(default_factory=dict)  # task -> annotations
    counts: dict[int, Counter[str]] = field(default_factory=dict)  # task -> what was done
    # What an annotator did on a task before the annotation was deleted: who begins with the same
    # prediction again, or is quicker than the news of the deletion, goes on with the same regions.
    went_on: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    waiting: list[bytes] = field(default_factory=list)  # webhooks on their way
    ids: int = 100
    lost: int = 0

    def __post_init__(self) -> None:
        connected(self.database, self.studio.project)
        self.tasks = Tasks(self.settings)
        self.memory = InteractionStore(self.database, Settings())
        self.reports = Reports(self.database)
        for task in (1, 2, 3):
            self.studio.task(task)
            self.shared[task] = []
            self.counts[task] = Counter()

    @property
    def key(self) -> str:
        return self.studio.project.key

    def close(self) -> None:
        self.tasks.close()

    # -- what annotators do

    def act(self) -> None:
        """A random action."""
        desk = self._desk(self.rng.choice([1, 2, 3]), self.rng.choice([1, 2, 3]))
        deeds = {
            self.click: 30,
            self.refine: 14,
            self.type: 5,
            self.die: 2,
            self.fail: 2,
            self.undo: 4,
            self.accept: 16,
            self.pause: 8,
            self.draw_on: 3,
            self.draw_new: 2,
            self.erase_region: 3,
            self.submit: 12,
            self.delete: 3,
        }
        (deed,) = self.rng.choices(list(deeds), weights=list(deeds.values()))
        deed(desk)
        (event,) = self.rng.choices(
            [self.nothing, self.deliver, self.restart, self.forget, self.mend],
            weights=[60, 30, 3, 2, 3],
        )
        event()

    def click(self, desk: TaskSession) -> None:
        negative = self.rng.random() < 0.3
        label = self.rng.choice(["Cat", "Dog"])
        page = desk.page
        page.make_point(self._place(), label, self._place(), negative=negative)
        self._sent(desk, page.send_points(label), "negative" if negative else "positive")

    def refine(self, desk: TaskSession) -> None:
        take = self.rng.random() < 0.5
        label = "- last object" if take else "+ last object"
        desk.page.make_point(self._place(), label, self._place())
        self._sent(desk, desk.page.send_points(label), "negative" if take else "positive")

    def type(self, desk: TaskSession) -> None:
        desk.page.remove_phrase()
        words = f"the {self.rng.choice(['red', 'big', 'left'])} {self.rng.choice(['cat', 'dog'])}"
        self._sent(desk, desk.page.type(words), "phrases")

    def die(self, desk: TaskSession) -> None:
        """The process ends while the model runs: nothing is answered."""
        vars(self.memory)["record"] = lambda *_: None
        page, kept = desk.page, dict(desk.page.regions)
        before = page.shown
        page.make_point(self._place(), "Cat", self._place())
        of_label = [p for p in page.points.values() if p["value"]["keypointlabels"] == ["Cat"]]
        turn = page.send(of_label, lost=True)
        page.regions, page.shown = kept, before
        self._count(desk, turn, "positive", None)
        self.restart()

    def fail(self, desk: TaskSession) -> None:
        desk.page.broken = True
        desk.page.make_point(self._place(), "Cat", self._place())
        turn = desk.page.send_points("Cat")
        desk.page.broken = False
        self._count(desk, turn, "positive", None)

    def undo(self, desk: TaskSession) -> None:
        """Ctrl+Z on a key point, which sends nothing."""
        if desk.page.points:
            desk.page.undo_click(self.rng.choice(list(desk.page.points)))

    def accept(self, desk: TaskSession) -> None:
        desk.page.accept()
        if self.rng.random() < 0.7:
            self.pause(desk)

    def pause(self, desk: TaskSession) -> None:
        desk.page.work(self.rng.choice([12.0, 30.0, 600.0]))
        desk.page.send([])

    def draw_on(self, desk: TaskSession) -> None:
        """Brush and eraser on a region."""
        if desk.page.regions:
            name = self.rng.choice(list(desk.page.regions))
            mask = decoded(desk.page.regions[name])
            mask[20:28, 10:20] ^= True
            if mask.any():
                desk.page.draw(name, mask)

    def draw_new(self, desk: TaskSession) -> None:
        self.ids += 1
        name = f"hand{self.ids}"
        mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
        mask[5:15, 30:44] = True
        desk.page.regions[name] = region(name, mask, "Cat")

    def erase_region(self, desk: TaskSession) -> None:
        if desk.page.regions:
            desk.page.delete_region(self.rng.choice(list(desk.page.regions)))

    def submit(self, desk: TaskSession) -> None:
        """Submit, or update an annotation; its webhook is delivered later."""
        page = desk.page
        self.clock.wait(2.0)
        self.studio.now = self.clock.now
        task, result = page.task, list(page.regions.values())
        if desk.annotation is None:
            page.submit()
            made = page.annotations.pop()
            made |= {"completed_by": desk.number, "lead_time": 9.5}
            made["created_username"] = f"{page.user}, {desk.number}"
            desk.annotation = made["id"]
            body = self.studio.submit(made["id"], task, json.loads(json.dumps(result)), **{
                name: made[name] for name in (
                    "completed_by", "lead_time", "created_username", "draft_created_at",
                )
            })  # fmt: skip
        else:
            kept = self.studio.annotations[desk.annotation]
            kept_names = ("completed_by", "lead_time", "created_username", "draft_created_at")
            changes = {name: kept[name] for name in (*kept_names, "created_at")}
            body = self.studio.update(desk.annotation, json.loads(json.dumps(result)), **changes)
        self._show(task)
        self._send(body)
        self.clock.wait(5.0)
        # What is done from here on belongs to a draft of the annotation.
        page.save_draft()

    def delete(self, desk: TaskSession) -> None:
        if desk.annotation is None:
            return
        self.studio.now = self.clock.now
        self._send(self.studio.delete(desk.annotation))
        self._show(desk.page.task)
        gone = self.desks.pop((desk.page.task, desk.number))
        self.went_on[desk.page.task, desk.number] = gone.made

    # -- what happens to the backend

    def nothing(self) -> None:
        """A webhook is sent, mostly."""

    def deliver(self) -> None:
        """Some webhooks arrive: in any order, some twice."""
        self.rng.shuffle(self.waiting)
        for body in self.waiting[: self.rng.randrange(1, 4)]:
            for _ in range(self.rng.choice([1, 1, 1, 2])):
                Deliveries(self.database).store("", 6, body)
        self.waiting = self.waiting[self.rng.randrange(1, 4) :]  # the others were lost
        self.tasks.process_deliveries()

    def restart(self) -> None:
        """New processes on the same database."""
        self.memory = InteractionStore(self.database, Settings())
        for desk in self.desks.values():
            desk.page.memory = self.memory

    def forget(self) -> None:
        """Two weeks later."""
        self.clock.wait(15 * 86_400)
        forget_objects(self.database, timedelta(days=14), self.clock.now)
        for desk in self.desks.values():
            desk.page.save_draft()

    def mend(self) -> None:
        """Reconcile with Label Studio, for lost webhooks."""
        self.waiting.clear()
        at = max(self.clock.now, self.studio.now) + timedelta(hours=1)
        reconciliation(self.database, self.studio, clock=lambda: at).run()
        self.tasks.compute_costs()
        self.clock.wait(2 * 3600.0)

    # -- invariants

    def check_log(self) -> None:
        """At any time, the sums over tasks are the actions done."""
        fresh = Reports(self.database).tasks(self.key, size=99).items
        # A running server and a new one have the same figures.
        assert self.reports.tasks(self.key, size=99).items == fresh
        by_task = {task.task: task for task in fresh}
        for number, counts in self.counts.items():
            cost = by_task.get(number)
            for kind in ("positive", "negative", "phrases"):
                assert (getattr(cost, kind) if cost else 0) == counts[kind], (number, kind)

    def check(self) -> None:
        """Once all is processed, tasks, log, annotations and each region agree."""
        self.check_log()
        reports = Reports(self.database)
        agreed = reports.reconcile(self.key)
        assert agreed.differences == ()
        costs = {(cost.annotation, cost.region): cost for cost in reports.regions(self.key)}
        held = {
            (number, item["id"]): (annotation, item)
            for number, annotation in self.studio.annotations.items()
            for item in annotation["result"]
            if "rle" in item["value"] and decoded(item).any()
        }
        assert set(costs) == set(held)
        by_annotation = {desk.annotation: desk for desk in self.desks.values()}
        for key, (annotation, item) in held.items():
            self._check_region(costs[key], by_annotation[key[0]], annotation, item)
        for task in reports.tasks(self.key, size=99).items:
            mine = [cost for cost in costs.values() if cost.task == task.task]
            accepted = sum(cost.interactions or 0 for cost in mine)
            assert task.interactions == task.abandoned + accepted
            assert task.objects == len(mine)
            assert task.known == (bool(mine) and all(cost.known for cost in mine))

    def _check_region(self, cost: Any, desk: TaskSession, annotation: Any, item: Any) -> None:
        steps = desk.made.get(item["id"], [])
        assert cost.known == bool(steps)
        assert cost.annotator == annotation["completed_by"]
        assert cost.annotator_name == USERS[desk.number]
        if not steps:
            assert cost.interactions is None
            assert cost.first_iou is None
            assert cost.seconds is None
            return
        accepted = decoded(item)
        assert cost.interactions == len(steps)
        assert cost.positive == sum(kind == "positive" for kind, _ in steps)
        assert cost.phrases == sum(kind == "phrases" for kind, _ in steps)
        shown, expected = None, []
        for _, mask in steps:
            shown = iou(mask, accepted) if mask is not None and mask.any() else shown
            expected.append(shown)
        assert len(cost.ious) == len(expected)
        empty = any(mask is not None and not mask.any() for _, mask in steps)
        if not empty:  # an empty answer is not served; the log cannot tell it from a dropped one
            assert list(cost.ious) == expected
            served = [value for value in expected if value is not None]
            assert cost.needed_85 == next(
                (n for n, value in enumerate(expected, 1) if value is not None and value >= 0.85),
                None,
            )
            assert not served or cost.last_iou is not None
        assert cost.seconds is None or cost.seconds >= 0

    # -- inside

    def _desk(self, number: int, task: int) -> TaskSession:
        if (task, number) not in self.desks:
            page = Page(
                self.memory,
                self.clock,
                config=REFINE,
                auto_accept=number == 2,
                user=USERS[number],
                task=task,
                project=self.key,
                annotations=self.shared[task],
            )
            if task == 3:
                # All start with the same prediction, so with the same region id.
                mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
                mask[30:40, 5:25] = True
                page.regions["predicted"] = region("predicted", mask, origin="prediction")
            page.save_draft()
            self.clock.wait(30.0)
            made = self.went_on.get((task, number), {})
            self.desks[task, number] = TaskSession(page, number, made=made)
        return self.desks[task, number]

    def _sent(self, desk: TaskSession, turn: Any, kind: str) -> None:
        mask = drawn(turn) if turn.target is not None else None
        self._count(desk, turn, kind, mask)

    def _count(self, desk: TaskSession, turn: Any, kind: str, mask: np.ndarray | None) -> None:
        self.clock.wait(self.rng.uniform(1.0, 4.0))
        self.counts[desk.page.task][kind] += 1
        if turn.target is not None:
            desk.made.setdefault(turn.target.region_id, []).append((kind, mask))

    def _place(self) -> float:
        return float(self.rng.randrange(5, 95))

    def _send(self, body: dict[str, Any]) -> None:
        self.waiting.append(json.dumps(body).encode())

    def _show(self, task: int) -> None:
        """The prediction that each page of the task shows from now on."""
        annotations = self.studio.annotations.values()
        self.shared[task][:] = [a for a in annotations if a["task"] == task]


def decoded(item: dict[str, Any]) -> np.ndarray:
    """The mask of a region."""
    return rle.decode(item["value"]["rle"], WIDTH, HEIGHT)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Of two masks."""
    either = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / either if either else 1.0
