"""What the rules share: the request that is being assigned, new objects, labels, log entries."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from secrets import token_hex

from backend.db.models import EventKind
from backend.interaction.draft_sync import DraftSync
from backend.interaction.label_words import asks_for_all, labels_named
from backend.interaction.mask_history import MaskHistory, TaskMasks, digest
from backend.interaction.objects import Click, Event, Target, TaskObjects
from backend.interaction.page_changes import follow_page
from backend.interaction.request import (
    Interaction,
    PhraseSource,
    Prompts,
    Saved,
    Suggestion,
    Turn,
)
from backend.label_studio.controls import BrushControl, ClickLabel, ImageControls, Label
from backend.label_studio.regions import Region
from backend.label_studio.rle import PackedMask
from backend.registry.champions import STICKY_FOR
from backend.settings import Settings

LABEL_UNKNOWN = "The brush has no label of that name: choose one for this mask"

Touches = Callable[[Click, Prompts], bool]
Knows = Callable[[str, str], bool]
Class = tuple[BrushControl, Label | None]
# What a phrase names, the likeliest first.
Named = tuple[tuple[BrushControl, Label], ...]


@dataclass(frozen=True)
class Context:
    """What a decision rests on beside the task, and asks; the same at each attempt."""

    settings: Settings
    # Whether a lone positive click's own mask would touch an object's mask. May run the model.
    touches: Touches
    # Whether a model version knows the words of a label's name.
    knows: Knows
    version_for: Callable[[str], str]  # label -> the model version that a new object begins with
    carried: str = ""  # the phrase that the annotator typed on another task, by setting
    request_id: str = field(default_factory=lambda: token_hex(16))
    # The model is asked once about an object and a click, however often the task changes.
    touched: dict[tuple[int, str], bool] = field(default_factory=dict)


@dataclass
class Assignment:
    """One request on its way to an object, and what every rule does with objects and the log.

    It reads and changes the task's objects in memory only. The store writes them, and has the
    request assigned again where another one for the same task was faster.
    """

    ask: Interaction
    context: Context
    task: TaskObjects
    masks: TaskMasks
    logged: Mapping[str, bool]  # signs of clicks that were logged before, by id
    drafts: DraftSync = field(init=False)
    lane: list[Target] = field(init=False)  # what may be the last object, newest first
    target: Target | None = None
    started: bool = False
    notes: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    undone: list[Event] = field(default_factory=list)  # that the page's mask implies
    histories: list[tuple[Target, MaskHistory]] = field(default_factory=list)  # changed ones

    def __post_init__(self) -> None:
        ask = self.ask
        self.drafts = DraftSync(self.task, ask.saved, ask.user, ask.received_at, self.masks)
        self.drafts.apply()
        self.lane = self.drafts.last_objects(ask.image) if ask.image else []

    @property
    def log(self) -> list[Event]:
        return [*self.drafts.events, *self.undone, *self.events]

    @property
    def image(self) -> ImageControls:
        assert self.ask.image is not None, "a request without prompts is not assigned"
        return self.ask.image

    @property
    def now(self) -> datetime:
        return self.ask.received_at

    def _masks_of(self, saved: Saved) -> Iterator[tuple[Region, BrushControl]]:
        """The masks on this image that a draft or an annotation shows, the newest first."""
        for region in reversed(list(saved.regions.values())):
            brush = self.image.brush(region.control)
            here = self.image.shows(region.control, region.image)
            if brush is not None and here and region.complete:
                yield region, brush

    def _held_phrase(self, brush: BrushControl, label: str) -> tuple[str, str]:
        """The typed phrase (id, text) that a new object begins with: none, but by setting."""
        if self.context.settings.carry_phrase == "none":
            return "", ""
        typed = [t for t in self.lane if t.phrase]
        holder = max(typed, key=lambda t: t.phrase_sequence, default=None)
        identity, text = (holder.phrase_id, holder.phrase) if holder else ("", self.context.carried)
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
            # What is in progress finishes on the version it began with: one that serves its label.
            fresh = self.now - target.updated_at <= STICKY_FOR
            in_progress = target.state in ("open", "kept") and fresh
            if not (target.model_version and in_progress) or self.task.relabeled(target):
                target.model_version = self.context.version_for(target.label)
        target.sequence = self.task.revision + 1
        target.updated_at = self.now
        target.owner = target.owner or self.ask.user
        if target.state == "gone":
            target.state = "open"

    def _class_of(self, clicks: tuple[Click, ...]) -> Class | None:
        """The class of the newest click whose label is a class; None: keep the object's."""
        for click in reversed(clicks):
            label = self._click_label(click)
            if label is not None and label.role == "object" and label.brush_label is not None:
                brush = self.image.brush(label.brush)
                if brush is not None:
                    return brush, label.brush_label
        return None

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
                request_id=self.context.request_id,
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

    # -- the turn

    def _turn(self) -> Turn:
        """What to do with the request, now that its object is known."""
        target = self.target
        brush = self.image.brush(target.brush) if target else None
        if target and target.label and brush and brush.labels and not brush.label(target.label):
            self.notes.append(LABEL_UNKNOWN)  # the config had it when the object was begun
        turn = Turn(
            self.context.request_id,
            self.ask,
            started=self.started,
            new=tuple(event.kind for event in self.events if event.request_id),
            notes=(*self.notes, *self.ask.ignored),
        )
        if target is None:
            return turn
        history = self.masks.of(target)
        self._follow_page(target, history)
        previous = history.previous(target)
        prompts = self._prompts(target, previous.mask if previous else None)
        if previous is not None:
            prompts = replace(
                prompts,
                edits=previous.edits_before(target) or None,
                picture=previous.picture,
                suggested=previous.suggested,
            )
        return replace(
            turn,
            target=prompts,
            number=target.turn,
            shown_mask=history.shown(),
            suggestions=tuple(self._suggestions(target)),
        )

    def _suggestions(self, target: Target) -> Iterator[Suggestion]:
        """Objects of a phrase that nobody has accepted: the page takes them away with an answer
        that lacks them."""
        others = [
            other
            for other in self.task.targets
            if other.phrase_group
            and other.answered_turn
            and other.state == "open"
            and not other.accepted
            and other is not target
            and other.image == self.image.name
            and other.owner in ("", self.ask.user)
        ]
        self.masks.need(others)
        for other in others:
            mask = self.masks.of(other).fitting(other)
            brush = self.image.brush(other.brush)
            if mask is not None and brush is not None:
                yield Suggestion(
                    region_id=other.region_id,
                    label=brush.label(other.label),
                    brush=brush,
                    packed_mask=mask,
                    confidence=other.confidence or 0.0,
                    model_version=other.model_version,
                    same_phrase=other.phrase_group == target.region_id and other.untouched,
                    id=other.id,
                )

    def _follow_page(self, target: Target, history: MaskHistory) -> None:
        """Take over the mask that the page shows, where that is another one than was answered."""
        showing = self.drafts.showing(target)
        # An object without an answer was made from the page's mask; else the page must be newer.
        answered = target.answered_at
        if not showing or (answered is not None and not self.drafts.newer(showing, answered)):
            return
        name = digest(showing.regions[target.region_id])
        if name and name != target.shown_digest and name == history.newest:
            target.shown_digest = name  # as most often: it shows what was answered last
            return
        self.histories.append((target, history))
        self.undone = follow_page(history, target, showing, name, self.ask)

    def _touches(self, click: Click, target: Target) -> bool:
        """Whether the click's own mask would touch the object's."""
        if not target.answered_turn:
            return False
        key, touched = (target.id, click.id), self.context.touched
        if key not in touched:
            prompts = self._prompts(target, self.masks.of(target).shown())
            touched[key] = self.context.touches(click, prompts)
        return touched[key]

    def _prompts(
        self,
        target: Target,
        mask: PackedMask | None,
    ) -> Prompts:
        """An object as the predictor needs it, with the mask before."""
        image = self.image
        brush = image.brush(target.brush) or image.brushes[0]
        label = brush.label(target.label)
        phrase, source = self._words(target, label)
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
            model_version=target.model_version,
            every=source == "typed" and not target.counting and asks_for_all(phrase, image.labels),
            accepted=target.accepted,
        )

    def _words(self, target: Target, label: Label | None) -> tuple[str, PhraseSource]:
        """What was typed; else the label's own name where the model knows its words."""
        if target.phrase:
            return target.phrase, "typed"
        if label is not None and self.context.settings.label_as_phrase:
            for name in (label.value, label.alias):
                if name and self.context.knows(name, target.model_version):
                    return name, "label"
        return "", "none"


def among(named: Named, of_class: tuple[str, str]) -> bool:
    """Whether a phrase names a class: brush control and label."""
    return any((brush.name, label.value) == of_class for brush, label in named)
