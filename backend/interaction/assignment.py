"""What the rules share: a request that is being assigned, new objects, labels, and log entries."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from backend.db.models import EventKind
from backend.interaction.draft_sync import DraftSync
from backend.interaction.events import Event
from backend.interaction.label_words import labels_named
from backend.interaction.mask_history import TaskMasks
from backend.interaction.objects import Click, Target, TaskObjects
from backend.interaction.request import Interaction
from backend.label_studio.controls import BrushControl, ClickLabel, ImageControls, Label
from backend.registry.pruning import STICKY_FOR
from backend.settings import Settings

LABEL_UNKNOWN = "The brush has no label of that name: choose one for this mask"

Class = tuple[BrushControl, Label | None]
# What a phrase names, the likeliest first.
Named = tuple[tuple[BrushControl, Label], ...]


@dataclass(frozen=True)
class Policy:
    """What the rules leave to settings."""

    new_object: Literal["auto", "refine", "new"] = "auto"
    carry_phrase: Literal["none", "target", "task"] = "none"
    label_as_phrase: bool = True
    forget_after: timedelta = timedelta(days=14)

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        """From the settings of this process."""
        return cls(
            new_object=settings.new_object,
            carry_phrase=settings.carry_phrase,
            label_as_phrase=settings.label_as_phrase,
            forget_after=timedelta(days=settings.forget_after_days),
        )


@dataclass
class Assignment:
    """One request on its way to an object, and what every rule does with objects and the log."""

    ask: Interaction
    image: ImageControls
    task: TaskObjects
    drafts: DraftSync
    policy: Policy
    request_id: str
    logged: Mapping[str, bool]  # signs of clicks that were logged before, by id
    touches: Callable[[Click, Target], bool]  # may run the model
    masks: TaskMasks
    carried: str  # a phrase from another task, by setting
    version_for: Callable[[str], str]  # label -> the model version that a new object begins with
    events: list[Event] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    target: Target | None = None
    started: bool = False
    lane: list[Target] = field(init=False)  # what may be the last object, newest first

    def __post_init__(self) -> None:
        self.lane = self.drafts.last_objects(self.image)

    @property
    def now(self) -> datetime:
        """When the request came."""
        return self.ask.received_at

    def _held_phrase(self, brush: BrushControl, label: str) -> tuple[str, str]:
        """The typed phrase (id, text) that a new object begins with: none, but by setting."""
        if self.policy.carry_phrase == "none":
            return "", ""
        typed = [t for t in self.lane if t.phrase]
        holder = max(typed, key=lambda t: t.phrase_sequence, default=None)
        identity, text = (holder.phrase_id, holder.phrase) if holder else ("", self.carried)
        named = labels_named(text, self.image.labels)
        if named and not among(named, (brush.name, label)):
            return "", ""  # "red cat" does not describe a click for Dog
        return identity, text

    def _start(self, brush: BrushControl, label: str, phrase: str | None = None) -> Target:
        """A new object; ``phrase`` None: with the phrase that still holds."""
        self.started = True
        identity, text = self._held_phrase(brush, label) if phrase is None else ("", phrase)
        return self.task.start(
            owner=self.ask.user,
            image=self.image.name,
            brush=brush.name,
            label=label,
            state="open",
            sequence=0,
            turn=0,
            clicks=(),
            created_at=self.now,
            updated_at=self.now,
            phrase_id=identity,
            phrase=text,
            phrase_sequence=self.task.revision + 1 if text else 0,
        )

    def _turned(self, target: Target) -> None:
        """It is the last object now."""
        if target.sequence != self.task.revision + 1:
            target.turn += 1
            if not self._goes_on(target):
                target.model_version = self.version_for(target.label)
        target.sequence = self.task.revision + 1
        target.updated_at = self.now
        target.owner = target.owner or self.ask.user
        if target.state == "gone":
            target.state = "open"

    def _goes_on(self, target: Target) -> bool:
        """Whether it is still in progress, and so finishes on the version it began with."""
        fresh = self.now - target.updated_at <= STICKY_FOR
        return bool(target.model_version) and target.state in ("open", "kept") and fresh

    def _class_of(self, clicks: tuple[Click, ...]) -> Class | None:
        """The class of the newest click whose label is a class; None: keep the object's."""
        for click in reversed(clicks):
            label = self._click_label(click)
            if label is not None and label.role == "object" and label.brush_label is not None:
                brush = self.image.brush(label.brush)
                if brush is not None:
                    return brush, label.brush_label
        return None

    def _unlabelled(self, clicks: tuple[Click, ...]) -> bool:
        """Whether the key points have no labels that could say what is meant."""
        return not any(self._click_label(click) for click in clicks)

    def _fallback_label(self, *, guess: bool = True) -> Class:
        """The label used last; else, where one is to be guessed, the first one of the config."""
        for target in self.lane:
            brush = self.image.brush(target.brush)
            label = brush.label(target.label) if brush else None
            if brush is not None and (label is not None or not brush.labels):
                return brush, label
        first = self.image.brushes[0]
        if not guess and first.labels:
            self.notes.append(LABEL_UNKNOWN)
        return first, first.labels[0] if guess and first.labels else None

    def _click_label(self, click: Click) -> ClickLabel | None:
        control = self.image.click(click.from_name)
        return control.label(click.label) if control else None

    def _role(self, click: Click) -> str:
        label = self._click_label(click)
        return label.role if label else "object"

    def _known(self, click: Click) -> Click | None:
        """The same click as an earlier request brought it."""
        target = self.task.with_click(click.id, self.ask.user)
        return target.click(click.id) if target else None

    def _signed(self, click: Click) -> Click:
        """With the sign that the page sent; where it has lost it, the one that is logged."""
        if click.signed:
            return click
        known = self._known(click)
        if known is not None:
            positive = known.positive
        elif click.id in self.logged:
            positive = self.logged[click.id]
        else:
            signs = (saved.clicks.get(click.id) for saved in self.ask.saved)
            positive = next((sign for sign in signs if sign is not None), True)
        return replace(click, positive=positive, signed=True)

    def _first(self) -> bool:
        """The event that begins an object is the first that its request writes."""
        return self.started and not any(event.starts for event in self.events)

    def _log_click(self, click: Click, target: Target | None) -> None:
        """Log a click, unless an earlier request did."""
        if click.id in self.logged:
            return
        x, y = click.pixel(*self.ask.size) if self.ask.size else (None, None)
        kind: EventKind = "positive_click" if click.positive else "negative_click"
        self.events.append(
            Event(
                kind if click.box is None else "box",
                target_id=target.id if target else None,
                region_id=target.region_id if target else "",
                request_id=self.request_id,
                starts=self._first(),
                click_id=click.id,
                x_percent=click.x_percent,
                y_percent=click.y_percent,
                x_pixel=x,
                y_pixel=y,
                x2_percent=click.x2_percent,
                y2_percent=click.y2_percent,
                label=click.label,
            )
        )

    def _undo(self, target: Target, click: Click) -> None:
        """It was taken off the page, and counts no longer."""
        target.change(click.id, counts=False, on_page=False)
        self.events.append(Event.about(target, "undo", click_id=click.id))


def among(named: Named, of_class: tuple[str, str]) -> bool:
    """Whether a phrase names a class: brush control and label."""
    return any((brush.name, label.value) == of_class for brush, label in named)
