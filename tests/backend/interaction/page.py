"""A page of Label Studio as FACTS measured it, over the real memory and a real database."""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from backend.interaction.answer import Drawn, draw_one
from backend.interaction.objects import Outcome
from backend.interaction.request import Interaction, Prompts, Turn
from backend.interaction.store import InteractionStore
from backend.label_studio import rle
from backend.label_studio.config import parse_config
from backend.label_studio.payloads import parse_predict
from backend.label_studio.regions import parse_result

WIDTH, HEIGHT = 64, 48
START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

CONFIG = """<View>
  <TextArea name="status" toName="image" editable="false" smart="false"/>
  <Image name="image" value="$image"/>
  <BrushLabels name="brush" toName="image"><Label value="Cat"/><Label value="Dog"/></BrushLabels>
  <KeyPointLabels name="kp" toName="image" smart="true">
    <Label value="Cat"/><Label value="Dog"/>{refine}
  </KeyPointLabels>
  <TextArea name="phrase" toName="image" maxSubmissions="1"/>
</View>"""
REFINE = CONFIG.format(refine='<Label value="+ last object"/><Label value="- last object"/>')
PLAIN = CONFIG.format(refine="")

_numbers = itertools.count(1)


@dataclass
class Clock:
    """The backend's clock and, ``ahead`` of it, Label Studio's."""

    now: datetime = START
    ahead: timedelta = timedelta()

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Page:
    """One annotator's page on one task. Every method does what the page does, no more."""

    memory: InteractionStore
    clock: Clock
    config: str = REFINE
    auto_accept: bool = False
    user: str = "ann@example.com"
    task: int = 42
    project: str = "6.1795384361"
    touching: bool = False  # what the model says of a lone click
    broken: bool = False  # the model fails
    champion: str = "v1"  # what serves
    others: dict[str, str] = field(default_factory=dict)  # label -> version that serves instead
    answers_with: str = ""  # another version than the object's, where that cannot be had
    regions: dict[str, dict[str, Any]] = field(default_factory=dict)
    shown: dict[str, dict[str, Any]] = field(default_factory=dict)  # suggestions
    points: dict[str, dict[str, Any]] = field(default_factory=dict)
    phrase: dict[str, Any] | None = None
    draft: dict[str, Any] | None = None
    annotations: list[dict[str, Any]] = field(default_factory=list)
    drafts: list[dict[str, Any]] = field(default_factory=list)  # of other annotations, same user
    asked: int = 0
    last: Turn | None = None
    sent: list[dict[str, Any]] = field(default_factory=list)
    before: list[dict[str, Any]] = field(default_factory=list)

    # -- what the annotator does

    def click(
        self, x: float, label: str = "Cat", y: float = 50.0, *, negative: bool = False
    ) -> Turn:
        """Click, or Alt-click; the page sends all key points of that label."""
        self.make_point(x, label, y, negative=negative)
        return self.send_points(label)

    def make_point(
        self, x: float, label: str = "Cat", y: float = 50.0, *, negative: bool = False
    ) -> str:
        """A key point, made while the page is still busy: nothing is sent."""
        identity = f"kp{next(_numbers):06d}"
        self.points[identity] = {
            "original_width": WIDTH,
            "original_height": HEIGHT,
            "image_rotation": 0,
            "value": {"x": x, "y": y, "width": 0.3, "labels": [label], "keypointlabels": [label]},
            "is_positive": not negative,
            "id": identity,
            "from_name": "kp",
            "to_name": "image",
            "type": "keypointlabels",
            "origin": "manual",
        }
        return identity

    def send_points(self, label: str = "Cat") -> Turn:
        """One request with all key points of a label."""
        of_label = [p for p in self.points.values() if p["value"]["keypointlabels"] == [label]]
        return self.send(of_label)

    def type(self, text: str) -> Turn:
        """Enter a phrase, or edit the one that is there: then it keeps its id."""
        identity = self.phrase["id"] if self.phrase else f"tx{next(_numbers):06d}"
        self.phrase = {
            "value": {"text": [text]},
            "id": identity,
            "from_name": "phrase",
            "to_name": "image",
            "type": "textarea",
            "origin": "manual",
        }
        status = {
            "value": {"text": ["1 click"]},
            "id": "status",
            "from_name": "status",
            "to_name": "image",
            "type": "textarea",
        }
        return self.send([status, self.phrase])

    def remove_phrase(self) -> None:
        """Deleting it sends nothing."""
        self.phrase = None

    def undo_click(self, identity: str | None = None) -> None:
        """Ctrl+Z or deleting a key point sends nothing."""
        del self.points[identity or list(self.points)[-1]]

    def undo_answer(self) -> None:
        """Ctrl+Z after a replacement brings the mask before it back, and sends nothing."""
        self.regions = self.before.pop()

    def accept(self) -> None:
        """The tick: suggestions become regions, the prompts go."""
        self.regions |= self.shown
        self.reject()

    def reject(self) -> None:
        """The cross: suggestions and their prompts go, and nothing is sent."""
        self.shown = {}
        self.points.clear()

    def delete_region(self, identity: str) -> None:
        """Sends nothing."""
        del self.regions[identity]

    def draw(self, identity: str, mask: np.ndarray) -> None:
        """Brush or eraser on an accepted region."""
        labels = self.regions[identity]["value"]["brushlabels"]
        self.regions[identity] = drawn_on(identity, mask, labels)

    def stroke(self, identity: str, *strokes: dict[str, Any]) -> None:
        """Brush or eraser, as a draft keeps it: beside the mask."""
        value = self.regions[identity]["value"]
        touches = [*value.get("touches", ()), *strokes]
        self.regions[identity] = {
            **self.regions[identity],
            "value": {**value, "touches": touches},
        }

    def paint(self, identity: str, *strokes: dict[str, Any]) -> None:
        """A new region, painted from nothing."""
        value = {"format": "rle", "brushlabels": ["Cat"]}
        region = drawn_on(identity, np.zeros((HEIGHT, WIDTH), bool), value=value, score=None)
        self.regions[identity] = region
        self.stroke(identity, *strokes)

    def mask(self, identity: str) -> np.ndarray:
        """The mask of an accepted region."""
        (region,) = parse_result([self.regions[identity]])
        return region.mask()

    def save_draft(self) -> None:
        """The page saves by itself, some seconds late."""
        if self.draft is None:
            self.draft = {"id": next(_numbers), "user": self.user, "created_at": self._time()}
        self.draft["updated_at"] = self._time()
        self.draft["result"] = json.loads(json.dumps(self._canvas()))

    def submit(self) -> None:
        """The draft becomes an annotation, without a suggestion that was not accepted; the smart
        text area asks with an empty context."""
        created = self.draft["created_at"] if self.draft else None
        self.annotations.append(
            {
                "id": next(_numbers),
                "completed_by": 1,
                "result": json.loads(json.dumps(self._canvas())),
                "created_at": self._time(),
                "updated_at": self._time(),
                "draft_created_at": created,
                "was_cancelled": False,
            }
        )
        self.draft = None
        self.reject()
        self.send([])

    def work(self, seconds: float = 30.0) -> None:
        """Time passes, and the draft is saved on the way."""
        self.clock.wait(seconds / 2)
        self.save_draft()
        self.clock.wait(seconds / 2)

    # -- what the page sends and shows

    def body(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """The request as Label Studio makes it: drafts of the asking user only."""
        task = {
            "id": self.task,
            "annotations": self.annotations,
            "drafts": [*self.drafts, self.draft] if self.draft else self.drafts,
            "predictions": [],
            "data": {"image": "/data/upload/6/a.png"},
            "project": 6,
        }
        return {
            "tasks": [json.loads(json.dumps(task))],
            "project": self.project,
            "label_config": self.config,
            "params": {"login": None, "password": None, "context": {"result": items}},
        }

    def send(self, items: list[dict[str, Any]], *, lost: bool = False) -> Turn:
        """Ask, and show the answer; ``lost``: it never reaches the page."""
        self.sent = items or self.sent
        request = parse_predict(json.loads(json.dumps(self.body(items))))
        config = parse_config(request.label_config)
        turn = self.last = self.memory.receive(
            Interaction.read(request, config, self.clock.now),
            touches=self._touches,
            version_for=lambda label: self.others.get(label, self.champion),
        )
        outcome, suggestions = Outcome(milliseconds=1.0), None
        if turn.target is not None:
            self.clock.wait(0.1)
            if self.broken:
                outcome = Outcome(error="The picture could not be read")
            else:
                answer = self.predicted(turn, turn.target)
                version = self.answers_with or turn.target.model_version
                steps = {"decode": 8.0}
                outcome = Outcome(answer.own.mask, 0.9, version, 12.5, steps, digest=answer.digest)
                suggestions = answer.suggestions
                turn = replace(turn, target=answer.target)
                if not lost:
                    self._show(answer.items)
        self.memory.record(turn, outcome, suggestions, self.clock.now)
        return turn

    def predicted(self, turn: Turn, target: Prompts) -> Drawn:
        """What the model answers: no two prompts have the same confidence."""
        return draw_one(turn, target, drawn(turn), 0.9 - turn.number / 1000, 0.5)

    def _show(self, items: list[dict[str, Any]]) -> None:
        self.before.append(dict(self.regions))
        self.shown = {item["id"]: item for item in items}
        if self.auto_accept:
            for identity in self.shown:
                self.regions.pop(identity, None)  # replaced regions come last
            self.accept()

    def _canvas(self) -> list[dict[str, Any]]:
        phrase = [self.phrase] if self.phrase else []
        return [*self.regions.values(), *phrase, *self.points.values()]

    def _touches(self, *_: object) -> bool:
        self.asked += 1
        return self.touching

    def _time(self) -> str:
        return (self.clock.now + self.clock.ahead).isoformat().replace("+00:00", "Z")


def drawn(turn: Turn) -> np.ndarray:
    """A mask that shows its prompts: one square for each click, a bar for words; edited by hand as
    the object is."""
    assert turn.target is not None
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    if turn.target.phrase_source == "typed" and turn.target.phrase:
        mask[0, : 1 + sum(map(ord, turn.target.phrase)) % (WIDTH - 1)] = True
    for sign in (True, False):
        for click in turn.target.clicks:
            if click.positive is sign:
                x = int(click.x_percent / 100 * (WIDTH - 1))
                y = int(click.y_percent / 100 * (HEIGHT - 1))
                size = 3 if sign else 1
                mask[max(0, y - size) : y + size + 1, max(0, x - size) : x + size + 1] = sign
    return mask if turn.target.edits is None else turn.target.edits.applied(mask)


def drawn_on(
    identity: str, mask: np.ndarray, labels: Sequence[str] = ("Cat",), **changes: Any
) -> dict[str, Any]:
    """A brush region as the page writes it."""
    return {
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": rle.encode(mask), "brushlabels": list(labels)},
        "id": identity,
        "from_name": "brush",
        "to_name": "image",
        "type": "brushlabels",
        "origin": "manual",
        "score": 0.9,
        **changes,
    }


OpenPage = Callable[..., Page]
