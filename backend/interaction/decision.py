"""What one request belongs to: the page's drafts, the rules, and the prompts for the predictor.

A decision reads and changes the task's objects in memory only. The store writes it, and has it
made again where another request for the same task was faster.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from secrets import token_hex
from typing import Literal

import numpy as np

from backend.db.packed_mask import PackedMask
from backend.interaction.assignment import Policy
from backend.interaction.draft_sync import DraftSync
from backend.interaction.events import Event
from backend.interaction.label_words import asks_for_all
from backend.interaction.manual_edits import ManualEdits
from backend.interaction.mask_history import MaskHistory, TaskMasks
from backend.interaction.objects import Click, Target, TaskObjects
from backend.interaction.request import Interaction
from backend.interaction.rules import Rules
from backend.label_studio.controls import BrushControl, ImageControls, Label

PhraseSource = Literal["typed", "label", "none"]


@dataclass(frozen=True)
class Prompts:
    """An object as the predictor and the answer need it."""

    id: int
    region_id: str  # the region to answer with: Label Studio replaces the one of the same id
    label: Label | None  # None for a plain <Brush>
    brush: BrushControl
    image: ImageControls
    clicks: tuple[Click, ...]
    phrase: str  # what the model reads; '': nothing
    phrase_source: PhraseSource
    packed_mask: PackedMask | None = None
    edits: ManualEdits | None = None  # by hand, to be kept in the answer
    model_version: str = ""  # what it began with and finishes on; '': the project's champion
    every: bool = False  # the phrase alone asks, and it means every one of a kind
    accepted: bool = False  # a draft or an annotation has shown its mask

    @property
    def points(self) -> tuple[Click, ...]:
        """Its clicks without the boxes."""
        return tuple(click for click in self.clicks if click.box is None)

    @property
    def box(self) -> Click | None:
        """Its newest box."""
        return next((click for click in reversed(self.clicks) if click.box is not None), None)

    @property
    def previous_mask(self) -> np.ndarray | None:
        """H,W bool: the mask before this request that fits its prompts; None for a new object."""
        return None if self.packed_mask is None else self.packed_mask.unpack()


@dataclass(frozen=True)
class Suggestion:
    """Another object of a phrase that made several, while nobody has accepted it."""

    region_id: str
    label: Label | None
    brush: BrushControl
    packed_mask: PackedMask
    confidence: float
    same_phrase: bool  # as the object that the request is about
    id: int = 0  # 0 until it is written


@dataclass(frozen=True)
class Turn:
    """What to do with a request. Pass it to ``record`` with the outcome, failures too."""

    request_id: str
    ask: Interaction
    target: Prompts | None = None  # None: there is nothing to predict
    started: bool = False  # the object is new with this request
    new: tuple[str, ...] = ()  # kinds of the interactions that this request added to the log
    notes: tuple[str, ...] = ()  # for the status line, plain sentences without a full stop
    number: int = 0  # the object's turn; a late answer never overwrites a later one
    shown_mask: PackedMask | None = None  # what the page showed last, to measure the change
    suggestions: tuple[Suggestion, ...] = ()  # other objects that the page shows, not accepted yet


# Whether a lone positive click's own mask would touch an object's mask. May run the model.
Touches = Callable[[Click, Prompts], bool]
# Whether a model version knows the words of a label's name.
Knows = Callable[[str, str], bool]


@dataclass
class Decision:
    """What one request belongs to; made again for each state of the task that it meets."""

    ask: Interaction
    policy: Policy
    touches: Touches
    knows: Knows
    version_for: Callable[[str], str]  # label -> the model version that a new object begins with
    carried: str = ""  # the phrase that the annotator typed on another task, by setting
    request_id: str = field(default_factory=lambda: token_hex(16))
    # The model is asked once about an object and a click, however often the task changes.
    touched: dict[tuple[int, str], bool] = field(default_factory=dict)
    # To be written: log entries, and the histories that the page has changed.
    events: list[Event] = field(default_factory=list)
    histories: list[tuple[Target, MaskHistory]] = field(default_factory=list)

    def make(self, task: TaskObjects, masks: TaskMasks, logged: Mapping[str, bool]) -> Turn:
        """Decide on this state of the task. Changes its objects; nothing is written."""
        ask = self.ask
        drafts = DraftSync(task, ask.saved, ask.user, ask.received_at, masks)
        drafts.apply()
        self.events, self.histories = drafts.events, []
        turn = Turn(self.request_id, ask, notes=ask.ignored)
        if ask.image is None:
            return turn
        rules = Rules(
            ask=ask,
            image=ask.image,
            task=task,
            drafts=drafts,
            policy=self.policy,
            request_id=self.request_id,
            logged=logged,
            touches=lambda click, target: self._touching(click, target, masks),
            masks=masks,
            carried=self.carried,
            version_for=self.version_for,
        )
        rules.decide()
        target = rules.target
        new = tuple(event.kind for event in rules.events if event.request_id)
        turn = replace(turn, new=new, notes=(*rules.notes, *ask.ignored))
        if target is None:
            self.events = [*drafts.events, *rules.events]
            return turn
        history = masks.of(target)
        undone = self._follow_page(target, history, drafts)
        self.events = [*drafts.events, *undone, *rules.events]
        previous = history.previous(target)
        mask, edits = (previous.mask, previous.edits_before(target)) if previous else (None, None)
        return replace(
            turn,
            target=self._prompts(target, ask.image, mask, edits),
            started=rules.started,
            number=target.turn,
            shown_mask=history.shown(),
            suggestions=tuple(self._suggestions(task, target, ask.image, masks)),
        )

    def _suggestions(
        self, task: TaskObjects, target: Target, image: ImageControls, masks: TaskMasks
    ) -> Iterator[Suggestion]:
        """Objects of a phrase that nobody has accepted: the page takes them away with an answer
        that lacks them."""
        others = [
            other
            for other in task.targets
            if other.phrase_group
            and other.answered_turn
            and other.state == "open"
            and not other.accepted
            and other is not target
            and other.image == image.name
            and other.owner in ("", self.ask.user)
        ]
        masks.need(others)
        for other in others:
            mask = masks.of(other).fitting(other)
            brush = image.brush(other.brush)
            if mask is not None and brush is not None:
                yield Suggestion(
                    region_id=other.region_id,
                    label=brush.label(other.label),
                    brush=brush,
                    packed_mask=mask,
                    confidence=other.confidence or 0.0,
                    same_phrase=other.phrase_group == target.region_id and other.untouched,
                    id=other.id,
                )

    def _follow_page(self, target: Target, history: MaskHistory, drafts: DraftSync) -> list[Event]:
        """Take over the mask that the page shows, where that is another one than was answered."""
        showing = drafts.showing(target)
        # An object without an answer was made from the page's mask; else the page must be newer.
        answered = target.answered_at
        if showing is None or (answered is not None and not drafts.newer(showing, answered)):
            return []
        self.histories.append((target, history))
        return history.follow_page(target, showing, self.ask)

    def _touching(self, click: Click, target: Target, masks: TaskMasks) -> bool:
        if not target.answered_turn or self.ask.image is None:
            return False
        key = target.id, click.id
        if key not in self.touched:
            prompts = self._prompts(target, self.ask.image, masks.of(target).shown())
            self.touched[key] = self.touches(click, prompts)
        return self.touched[key]

    def _prompts(
        self,
        target: Target,
        image: ImageControls,
        mask: PackedMask | None,
        edits: ManualEdits | None = None,
    ) -> Prompts:
        """An object as the predictor needs it, with the mask before and what a hand drew in it."""
        brush = image.brush(target.brush) or image.brushes[0]
        label = brush.label(target.label)
        phrase, source = self._phrase(target, label)
        return Prompts(
            id=target.id,
            region_id=target.region_id,
            label=label,
            brush=brush,
            image=image,
            clicks=target.counting,
            phrase=phrase,
            phrase_source=source,
            packed_mask=mask,
            edits=edits or None,
            model_version=target.model_version,
            every=source == "typed" and not target.counting and asks_for_all(phrase, image.labels),
            accepted=target.accepted,
        )

    def _phrase(self, target: Target, label: Label | None) -> tuple[str, PhraseSource]:
        """What was typed; else the label's own name where the model knows its words."""
        if target.phrase:
            return target.phrase, "typed"
        if label is not None and self.policy.label_as_phrase:
            for name in (label.value, label.alias):
                if name and self.knows(name, target.model_version):
                    return name, "label"
        return "", "none"
