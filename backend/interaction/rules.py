"""The rules: which target a click or phrase belongs to. ANNOTATORS.md tells them to people.

Nothing here touches the database. Where a rule needs the model's eye ("would its mask touch the
last object?"), the question is raised as ``Unknown`` and the whole decision is made again with the
answer, because the model must not run while the task is locked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from backend.db.models.core import Kind
from backend.interaction.draft_sync import Sightings, eligible
from backend.interaction.events import Event
from backend.interaction.label_words import labels_named
from backend.interaction.objects import Click, Target
from backend.interaction.policy import Policy
from backend.interaction.request import ClickPrompt, Interaction, Saved, Shown
from backend.interaction.task_state import TaskMemory
from backend.label_studio.config import BrushControl, ClickLabel, ImageControls, Label

# A target keeps so many clicks; beyond it the oldest no longer count.
_MAX_CLICKS = 500

NO_OBJECT_TO_TAKE_FROM = "There is no object yet to take away from: click on one first"
NO_LAST_OBJECT = "There is no last object to refine: choose a label and click on one first"
PHRASE_TAKEN_BACK = "The phrase was taken back"

Touch = Callable[[ClickPrompt, Target], bool]


@dataclass
class Assignment:
    """One request being assigned: what it says, what is remembered, and what follows."""

    ask: Interaction
    image: ImageControls
    task: TaskMemory
    sightings: Sightings
    policy: Policy
    request_id: str
    logged: Mapping[str, bool]  # signs of clicks that were logged before
    touch: Touch
    carried: str  # a phrase from another task, by setting
    champion: str  # the model version that a new object begins with
    events: list[Event] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    target: Target | None = None
    started: bool = False

    @property
    def now(self) -> datetime:
        """When the request came."""
        return self.ask.received_at

    def decide(self) -> None:
        """Find the target, apply clicks and phrase to it, and note what is to be logged."""
        self.lane = eligible(self.sightings, self.image, self.policy.unknown_for)
        if self.ask.clicks:
            self._clicks(self.ask.clicks)
        if self.ask.phrase is not None and (self.target is not None or not self.ask.clicks):
            self._phrase()

    # -- clicks

    def _clicks(self, prompts: tuple[ClickPrompt, ...]) -> None:
        label = self._class_of(prompts)
        target, shared = self._sharing(prompts), True
        if target is None:
            target, shared = self._unshared(prompts, label), False
        if target is None:
            self._log_homeless(prompts)
            return
        self.target = target
        if label is not None:
            target.brush, target.label = label[0].name, label[1].value if label[1] else ""
        self._apply(target, prompts, shared)

    def _sharing(self, prompts: tuple[ClickPrompt, ...]) -> Target | None:
        """Clicks that share an id with a target belong to it: to the newest, if there are two."""
        for target in self.task.targets:
            theirs = self.ask.user and target.owner not in ("", self.ask.user)
            if target.image != self.image.name or theirs:
                continue
            if any(target.click(prompt.id) for prompt in prompts):
                return target
        return None

    def _unshared(
        self, prompts: tuple[ClickPrompt, ...], label: "tuple[BrushControl, Label | None] | None"
    ) -> Target | None:
        """Rules for clicks that no target knows."""
        here = [target for target in self.lane if target.state != "gone"]
        if all(self._role(prompt) != "object" for prompt in prompts):
            last = here[0] if here else self._adopt(None)
            if last is None:
                self.notes.append(NO_LAST_OBJECT)
            return last
        brush, of_class = label or self._fallback_label()
        name = of_class.value if of_class else ""
        same = [t for t in here if (t.brush, t.label) == (brush.name, name)]
        if not any(self._sign(prompt) for prompt in prompts):
            last = same[0] if same else self._adopt((brush.name, name))
            if last is None:
                self.notes.append(NO_OBJECT_TO_TAKE_FROM)
            return last
        waiting = self._waiting_for_a_click(brush, name)
        if waiting is not None:
            return waiting
        if len(prompts) == 1 and not self.image.refines and same:
            if same[0].stays and same[0].state == "open":
                self._emptied(same[0])
            elif self.policy.new_object == "refine" or (
                self.policy.new_object == "auto" and self.touch(prompts[0], same[0])
            ):
                return same[0]
        return self._start(brush, name)

    def _adopt(self, of_class: tuple[str, str] | None) -> Target | None:
        """Nothing is remembered, but the page has a mask (drawn by hand, or predicted in a batch):
        the last one saved of this class, or of any, becomes a target under its own id."""
        drafts = [saved for saved in self.ask.saved if saved.kind == "draft"]
        sources = sorted(drafts, key=lambda saved: saved.updated_at, reverse=True)
        if not drafts and len(self.ask.saved) == 1:
            sources = list(self.ask.saved)
        mine = [t for t in self.task.targets if t.owner in ("", self.ask.user)]
        known = {target.region_id for target in mine}
        for saved in sources:
            for region in reversed(list(saved.regions.values())):
                brush = self.image.brush(region.from_name)
                fits = of_class in (None, (region.from_name, region.label))
                if brush is not None and fits and region.id not in known:
                    return self._adopted(saved, region, brush)
        return None

    def _adopted(self, saved: Saved, region: Shown, brush: BrushControl) -> Target:
        target = self._start(brush, region.label, phrase="")
        self.started = False
        target.region_id = region.id
        target.state = "submitted" if saved.kind == "annotation" else "kept"
        target.accepted_at = self.now
        target.saved, target.seen_at = saved.key, saved.updated_at
        target.saved_created_at = saved.created_at
        return target

    def _waiting_for_a_click(self, brush: BrushControl, name: str) -> Target | None:
        """A phrase came first and its mask is not accepted: the click says which one is meant."""
        last = self.lane[0] if self.lane else None
        if last is None or not last.by_phrase_alone or last.state == "gone" or last.accepted:
            return None
        named = [label.value for _, label in labels_named(last.phrase, self.image.labels)]
        same_class = (last.brush, last.label) == (brush.name, name)
        return last if same_class or not named or name in named else None

    def _emptied(self, target: Target) -> None:
        """Its key points stay on the page (Auto-Accept off) and none came: all were undone."""
        for click in target.counting:
            target.change(click.id, counts=False, on_page=False)
            self._log("undo", target, click_id=click.id)
        target.state = "gone"

    def _apply(self, target: Target, prompts: tuple[ClickPrompt, ...], shared: bool) -> None:
        """Add what is new, take out what was undone, retire what the page has used up."""
        came = {prompt.id for prompt in prompts}
        kinds = {(prompt.from_name, prompt.label) for prompt in prompts}
        self._notice_staying(target, came)
        for click in target.clicks:
            if click.id in came or click.kind not in kinds or not click.on_page:
                continue
            if shared and click.counts:
                target.change(click.id, counts=False, on_page=False)
                self._log("undo", target, click_id=click.id)
            else:
                # With Auto-Accept on the page deletes a key point once it is answered.
                target.change(click.id, on_page=False)
        for prompt in prompts:
            self._add(target, prompt)
        for other in self.task.targets:
            if other is not target:
                for moved in (c.id for c in other.counting if c.id in came):
                    other.change(moved, counts=False, on_page=False)
        target.clicks = target.clicks[-_MAX_CLICKS:]
        self._turned(target)

    def _notice_staying(self, target: Target, came: set[str]) -> None:
        """A key point that is still there long after its answer: Auto-Accept is off."""
        answered = target.answered_at
        if answered is None or target.answered_turn < target.turn:
            return  # a failed answer takes no key points away either
        if self.now <= answered + self.policy.draft_margin:
            return
        if any(click.id in came and click.on_page for click in target.clicks):
            target.stays = True

    def _add(self, target: Target, prompt: ClickPrompt) -> None:
        known = target.click(prompt.id)
        positive = self._sign(prompt)
        if known is not None:
            target.change(
                prompt.id,
                x_percent=prompt.x_percent,
                y_percent=prompt.y_percent,
                positive=positive,
                label=prompt.label,
                from_name=prompt.from_name,
                counts=True,
                on_page=True,
            )
            if not known.counts:
                self._log("redo", target, click_id=prompt.id)
            return
        target.clicks = (
            *target.clicks,
            Click(
                prompt.id,
                prompt.x_percent,
                prompt.y_percent,
                positive,
                prompt.label,
                prompt.from_name,
            ),
        )
        if prompt.id not in self.logged:
            self._log_click(prompt, positive, target)

    # -- phrase

    def _phrase(self) -> None:
        phrase = self.ask.phrase
        assert phrase is not None
        target = self.target or self._target_of_phrase(phrase.id, phrase.text)
        if target is None:
            self.notes.append(PHRASE_TAKEN_BACK)
            return
        self.target = target
        repeated = target.phrase_id == phrase.id and target.phrase == phrase.text
        if not repeated:
            if not target.clicks:
                self._rename(target, phrase.text)
            target.phrase_id, target.phrase = phrase.id, phrase.text
            target.phrase_saved, target.phrase_seen_at = "", None
            self._log("phrase", target, request=True, phrase_id=phrase.id, text=phrase.text)
        self._turned(target)
        target.phrase_sequence = target.sequence
        if not phrase.text and not target.counting:
            self.target = None
            self.notes.append(PHRASE_TAKEN_BACK)

    def _target_of_phrase(self, identity: str, text: str) -> Target | None:
        """The target at hand, unless the words or the page say that another one is meant."""
        last = self.lane[0] if self.lane else None
        before = next((t for t in self.lane if t.phrase_id == identity), None)
        if not text:
            return before or (last if last is not None and last.state != "gone" else None)
        named = labels_named(text, self.image.labels)
        if last is not None and last.state != "gone" and self._takes(last, before, named):
            return last
        older = before is not None and before is not last and before.state == "open"
        if before is not None and older and self._names(named, before):
            return before
        brush, label = named[0] if named else self._fallback_label()
        return self._start(brush, label.value if label else "", phrase="")

    def _takes(
        self,
        last: Target,
        before: Target | None,
        named: tuple[tuple[BrushControl, Label], ...],
    ) -> bool:
        """Whether the target at hand is what the phrase refines."""
        if before is last and not last.accepted:
            return True
        fits = not named or self._names(named, last)
        ticked = last.state == "kept" and last.stays and not self.sightings.in_the_making(last)
        closed = last.state == "submitted" or ticked
        return fits and (before is last or not closed)

    @staticmethod
    def _names(named: tuple[tuple[BrushControl, Label], ...], target: Target) -> bool:
        return any((b.name, lab.value) == (target.brush, target.label) for b, lab in named)

    def _rename(self, target: Target, text: str) -> None:
        """A target made of words alone takes its class from them."""
        named = labels_named(text, self.image.labels)
        if named and not self._names(named, target):
            target.brush, target.label = named[0][0].name, named[0][1].value

    def _held_phrase(self, brush: BrushControl, label: str) -> tuple[str, str]:
        """The typed phrase (id, text) that a new object begins with."""
        typed = [t for t in self.lane if t.phrase]
        holder = max(typed, key=lambda t: t.phrase_sequence, default=None)
        identity, text = "", ""
        if holder is not None:
            if not holder.accepted or self.policy.carry_phrase != "none":
                identity, text = holder.phrase_id, holder.phrase
        elif self.policy.carry_phrase == "task":
            text = self.carried
        named = labels_named(text, self.image.labels)
        if named and all((b.name, lab.value) != (brush.name, label) for b, lab in named):
            return "", ""  # "red cat" is not said of a click for Dog
        return identity, text

    # -- shared

    def _start(self, brush: BrushControl, label: str, phrase: str | None = None) -> Target:
        """A new target; ``phrase`` None: with the phrase that still holds."""
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
                target.model_version = self.champion
        target.sequence = self.task.revision + 1
        target.updated_at = self.now
        target.owner = target.owner or self.ask.user
        if target.state == "gone":
            target.state = "open"

    def _goes_on(self, target: Target) -> bool:
        """Whether it is still in the making, and so finishes on the version it began with."""
        fresh = self.now - target.updated_at <= self.policy.goes_on_for
        return bool(target.model_version) and target.state in ("open", "kept") and fresh

    def _class_of(
        self, prompts: tuple[ClickPrompt, ...]
    ) -> "tuple[BrushControl, Label | None] | None":
        """The class of the newest click that is not a wish to refine; None: keep what is."""
        for prompt in reversed(prompts):
            label = self._click_label(prompt)
            if label is not None and label.role == "object" and label.brush_label is not None:
                brush = self.image.brush(label.brush)
                if brush is not None:
                    return brush, label.brush_label
        return None

    def _fallback_label(self) -> "tuple[BrushControl, Label | None]":
        """The label used last, else the first one of the config."""
        for target in self.lane:
            brush = self.image.brush(target.brush)
            label = brush.label(target.label) if brush else None
            if brush is not None and (label is not None or not brush.labels):
                return brush, label
        first = self.image.brushes[0]
        return first, first.labels[0] if first.labels else None

    def _click_label(self, prompt: ClickPrompt) -> ClickLabel | None:
        control = self.image.click(prompt.from_name)
        return control.label(prompt.label) if control else None

    def _role(self, prompt: ClickPrompt) -> str:
        label = self._click_label(prompt)
        return label.role if label else "object"

    def _sign(self, prompt: ClickPrompt) -> bool:
        """As the page says; where it has lost the sign, as logged; else positive."""
        if prompt.positive is not None:
            return prompt.positive
        target = self.task.with_click(prompt.id, self.ask.user)
        known = target.click(prompt.id) if target else None
        if known is not None:
            return known.positive
        if prompt.id in self.logged:
            return self.logged[prompt.id]
        signs = (saved.clicks.get(prompt.id) for saved in self.ask.saved)
        return next((sign for sign in signs if sign is not None), True)

    def _first(self) -> bool:
        """The event that begins a target is the first that its request writes."""
        return self.started and not any(event.starts for event in self.events)

    def _log_homeless(self, prompts: tuple[ClickPrompt, ...]) -> None:
        for prompt in prompts:
            if prompt.id not in self.logged:
                self._log_click(prompt, self._sign(prompt), None)

    def _log_click(self, prompt: ClickPrompt, positive: bool, target: Target | None) -> None:
        width, height = prompt.original_width, prompt.original_height
        self.events.append(
            Event(
                "positive_click" if positive else "negative_click",
                target_id=target.id if target else None,
                region_id=target.region_id if target else "",
                request_id=self.request_id,
                starts=self._first(),
                click_id=prompt.id,
                x_percent=prompt.x_percent,
                y_percent=prompt.y_percent,
                x_pixel=prompt.x_percent / 100 * width if width else None,
                y_pixel=prompt.y_percent / 100 * height if height else None,
                label=prompt.label,
            )
        )

    def _log(
        self,
        kind: Kind,
        target: Target,
        *,
        request: bool = False,
        click_id: str = "",
        phrase_id: str = "",
        text: str = "",
    ) -> None:
        self.events.append(
            Event(
                kind,
                target_id=target.id,
                region_id=target.region_id,
                request_id=self.request_id if request else "",
                starts=request and self._first(),
                click_id=click_id,
                phrase_id=phrase_id,
                text=text,
                label=target.label,
            )
        )
