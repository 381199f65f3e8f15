"""The rules: which object a click or phrase belongs to. ANNOTATORS.md explains them to people.

Nothing here touches the database. One rule needs the model ("would this click's own mask touch the
last object?"), which is asked through ``touches``.
"""

from collections.abc import Sequence

from backend.interaction.assignment import Assignment, Class, Named, among
from backend.interaction.draft_sync import STAYS_AFTER
from backend.interaction.label_words import asks_for_all, labels_named
from backend.interaction.objects import Click, Event, Target
from backend.interaction.page_changes import page_masks
from backend.interaction.request import Saved, Turn, latest
from backend.label_studio.controls import BrushControl
from backend.label_studio.regions import Region, saved_masks
from model.spelling import plural

# Clicks kept for one object; beyond that the oldest no longer count.
_MAX_CLICKS = 500

NO_OBJECT_TO_REMOVE_FROM = "There is no object yet to remove a part from: click on one first"
PHRASE_REMOVED = "The phrase was removed"
UNREADABLE = "The mask of the last object cannot be read, so it is left as it is"
NO_LAST_OBJECT = "There is no last object to refine: choose a label and click on one first"


class Rules(Assignment):
    """Which object one request is about."""

    def decide(self) -> Turn:
        """Find the object, and apply clicks and phrase to it."""
        if self.ask.clicks:
            self._clicks(self._newest_box(tuple(self._signed(c) for c in self.ask.clicks)))
        if self.ask.phrase is not None and (self.target is not None or not self.ask.clicks):
            self._phrase()
        return self._turn()

    # -- clicks

    def _clicks(self, clicks: tuple[Click, ...]) -> None:
        label = self._class_of(clicks)
        target, clicks = self._among_several(clicks)
        shared = target is not None and any(target.click(click.id) for click in clicks)
        if target is None:
            target, shared = self._sharing(clicks), True
        if target is None:
            target, shared = self._unshared(clicks, label), False
            if target is not None and self.started:
                # It joins what the page shows unaccepted of a phrase's objects, since an answer
                # about one must show all of them again.
                shown = (t.phrase_group for t in self.lane if t.state == "open" and not t.accepted)
                target.phrase_group = next((group for group in shown if group), "")
        if target is None:
            for click in clicks:
                self._log_click(click, None)
            return
        self.target = target
        if label is not None:
            target.brush, target.label = label[0].name, label[1].value if label[1] else ""
        self._apply(target, clicks, shared)

    def _newest_box(self, clicks: tuple[Click, ...]) -> tuple[Click, ...]:
        """All clicks; of several boxes, which are an object each, the one that was just drawn or
        moved."""
        boxes = [click for click in clicks if click.box is not None]
        if not boxes:
            return clicks
        known = {box.id: self._known(box) for box in boxes}
        drawn = [box for box in boxes if known[box.id] is None]
        moved = [box for box in boxes if (was := known[box.id]) and was.box != box.box]
        return ((drawn or moved or boxes)[-1],)

    def _among_several(self, clicks: tuple[Click, ...]) -> tuple[Target | None, tuple[Click, ...]]:
        """A click inside one of the objects that a phrase made belongs to that one, with those of
        the request that are its own; None and the clicks as they are where none is meant.

        The page sends the key points of all of them together while none is accepted.
        """
        several = [
            target
            for target in self.lane
            if target.phrase_group and target.answered_turn and target.state != "gone"
        ]
        if not several or any(click.box is not None for click in clicks):
            return None, clicks
        owners = {c.id: target for c in clicks for target in several if target.click(c.id)}
        new = [c for c in clicks if c.id not in owners and not self._known(c)]
        meant = self._meant(new[-1], several) if new else None
        if meant is None and owners:
            meant = next(target for target in several if target in owners.values())
        if meant is None:
            return None, clicks
        if owners:
            self._undone(several, meant, clicks)
        return meant, tuple(c for c in clicks if c in new or owners.get(c.id) is meant)

    def _meant(self, click: Click, several: Sequence[Target]) -> Target | None:
        """Which of several objects a new click is about."""
        role = self._role(click)
        if role == "add":
            # It joins the last object, also where that is next to another one. Without a last one
            # it joins the nearest.
            last = next((target for target in self.lane if target.state != "gone"), None)
            if last is not None and not last.untouched:
                return None
        return self.masks.holding(click, several, near=role == "add")

    def _undone(self, several: Sequence[Target], meant: Target, clicks: Sequence[Click]) -> None:
        """Key points of the other objects that are no longer on the page were removed."""
        came, kinds = {click.id for click in clicks}, {click.kind for click in clicks}
        for target in several:
            for click in target.counting if target is not meant else ():
                if click.on_page and click.kind in kinds and click.id not in came:
                    self.events.append(Event.undo(target, click.id))

    def _sharing(self, clicks: tuple[Click, ...]) -> Target | None:
        """Clicks that share an id with an object belong to it: to the newest, if there are two."""
        for target in self.task.targets:
            theirs = self.ask.user and target.owner not in ("", self.ask.user)
            if target.image != self.image.name or theirs:
                continue
            if any(target.click(click.id) for click in clicks):
                return target
        return None

    def _unshared(self, clicks: tuple[Click, ...], label: Class | None) -> Target | None:
        """Rules for clicks that no object knows."""
        here = [t for t in self.lane if t.state != "gone" and not t.untouched]
        if not here or self._role(clicks[-1]) != "add":
            predicted = self._predicted_at(clicks[-1])
            if predicted is not None:
                return predicted
        if all(self._role(click) != "object" for click in clicks):
            return self._last_of(here, None, clicks, NO_LAST_OBJECT)
        brush, known = label or self._fallback_label(guess=not any(click.label for click in clicks))
        name = known.value if known else ""
        same = [t for t in here if t.of_class == (brush.name, name)]
        if not any(click.positive for click in clicks):
            return self._last_of(same, (brush.name, name), clicks, NO_OBJECT_TO_REMOVE_FROM)
        waiting = self._waiting_for_a_click((brush.name, name)) or self._boxed(clicks, same)
        if waiting is not None:
            return waiting
        if len(clicks) == 1 and clicks[0].box is None and not self.image.refines and same:
            if same[0].stays and same[0].state == "open":
                # Its key points stay on the page, but none came: all were undone.
                for click in same[0].counting:
                    self.events.append(Event.undo(same[0], click.id))
                same[0].state = "gone"
            elif self.context.settings.new_object == "refine" or (
                self.context.settings.new_object == "auto" and self._touches(clicks[0], same[0])
            ):
                return same[0]
        return self._start(brush, name)

    def _last_of(
        self,
        here: list[Target],
        of_class: tuple[str, str] | None,
        clicks: tuple[Click, ...],
        missing: str,
    ) -> Target | None:
        """The last object, or the last one of a class, for clicks that refine; ``missing`` is said
        where there is none."""
        last = self._painted_after(here, of_class) if here else self._adopt(of_class)
        if last is not None:
            self._say_which(last, clicks)
        elif UNREADABLE not in self.notes:
            self.notes.append(missing)
        return last

    def _say_which(self, target: Target, clicks: tuple[Click, ...]) -> None:
        """Name the object that was taken for the last one, where there are several of its label."""
        alike = [t for t in self.lane if t.state != "gone" and t.of_class == target.of_class]
        if target not in alike or len(alike) < 2:
            return
        number = sorted(other.created_at for other in alike).index(target.created_at) + 1
        does = "adding to" if any(click.positive for click in clicks) else "removing from"
        self.notes.append(f"{does} {target.label or 'mask'} no. {number}")

    def _adopt(self, of_class: tuple[str, str] | None) -> Target | None:
        """Nothing is known, but the page has a mask (drawn by hand, or predicted in a batch): the
        last one saved of this class, or of any, becomes an object under its own id."""
        page = latest(saved for saved in self.ask.saved if saved.kind == "draft")
        if page is None and len(self.ask.saved) == 1:
            page = self.ask.saved[0]
        if page is None:
            return None
        known = {t.region_id for t in self.task.targets if t.owner in ("", self.ask.user)}
        for region, brush in self._masks_of(page):
            if self._fits(region, of_class) and region.id not in known:
                return self._adopted(page, region, brush)
        return None

    def _predicted_at(self, click: Click) -> Target | None:
        """The region of a batch prediction that holds a click becomes an object under its id."""
        drafts = [saved for saved in self.ask.saved if saved.kind == "draft"]
        newest = latest(drafts or self.ask.saved)
        if newest is None or click.box is not None:
            return None
        known = {target.region_id for target in self.task.targets}
        predicted = {
            region.id: (region, brush)
            for region, brush in self._masks_of(newest)
            if region.id not in known and region.origin.startswith("prediction")
        }
        for region, mask in saved_masks(region for region, _ in predicted.values()):
            if mask[click.cell(mask)]:
                return self._adopted(newest, *predicted[region.id])
        return None

    def _painted_after(
        self, known: list[Target], of_class: tuple[str, str] | None
    ) -> Target | None:
        """The newest of the known objects; or a region that the annotator painted after it."""
        newest = known[0]
        shown = self.drafts.showing(newest)
        if newest.state != "kept" or shown is None or shown.kind != "draft":
            return newest
        ids = {target.region_id for target in self.task.targets}
        for region, brush in self._masks_of(shown):
            if region.id == newest.region_id:
                break
            if self._fits(region, of_class) and region.drawn_by_hand and region.id not in ids:
                return self._adopted(shown, region, brush)
        return newest

    @staticmethod
    def _fits(region: Region, of_class: tuple[str, str] | None) -> bool:
        return of_class in (None, (region.control, region.label))

    def _adopted(self, saved: Saved, region: Region, brush: BrushControl) -> Target | None:
        """The page's region as an object, unless an answer would replace what cannot be read."""
        if page_masks(region) is None:
            self.notes.append(UNREADABLE)
            return None
        target = self._start(brush, region.label, phrase="")
        self.started = False
        target.region_id = region.id
        target.state = "submitted" if saved.kind == "annotation" else "kept"
        target.accepted_at = self.now
        target.saved, target.seen_at = saved.key, saved.updated_at
        target.saved_created_at = saved.created_at
        return target

    def _waiting_for_a_click(self, of_class: tuple[str, str]) -> Target | None:
        """A phrase came first and its mask is not accepted: the click shows which one is meant."""
        last = self.lane[0] if self.lane else None
        if last is None or not last.by_phrase_alone or last.state == "gone" or last.accepted:
            return None
        if last.untouched:
            return None  # the click is beside all objects that the phrase made
        named = [label.value for _, label in labels_named(last.phrase, self.image.labels)]
        fits = last.of_class == of_class or not named or of_class[1] in named
        return last if fits else None

    @staticmethod
    def _boxed(clicks: tuple[Click, ...], same: list[Target]) -> Target | None:
        """A click in the box of a mask that is not accepted yet, or a box around its clicks."""
        last = same[0] if same else None
        if last is None or last.accepted or last.state != "open":
            return None
        theirs = [click for click in last.counting if click.positive]
        pairs = [(box, point) for box in theirs for point in clicks]
        if any(click.box for click in clicks):
            pairs = [(box, point) for box in clicks for point in theirs]
            if any(click.box for click in theirs):
                return None  # it has a box already: the new one is around another object
        inside = [box.surrounds(point) for box, point in pairs if box.box and not point.box]
        return last if inside and all(inside) else None

    def _apply(self, target: Target, clicks: tuple[Click, ...], shared: bool) -> None:
        """Add what is new, and take out what was undone or used up by the page."""
        came = {click.id for click in clicks}
        kinds = {click.kind for click in clicks}
        self._notice_staying(target, came)
        for click in target.clicks:
            if click.id in came or click.kind not in kinds or not click.on_page:
                continue
            if shared and click.counts:
                self.events.append(Event.undo(target, click.id))
            else:
                # With Auto-Accept on the page deletes a key point once it is answered.
                target.change(click.id, on_page=False)
        for click in clicks:
            self._add(target, click)
        for other in self.task.targets:
            if other is not target:
                for moved in (c.id for c in other.counting if c.id in came):
                    other.take_back(moved)
        target.clicks = target.clicks[-_MAX_CLICKS:]
        self._turned(target)

    def _notice_staying(self, target: Target, came: set[str]) -> None:
        """A key point that is still there long after its answer: Auto-Accept is off."""
        answered = target.answered_at
        if answered is None or target.answered_turn < target.turn:
            return  # a failed answer takes no key points away either
        if self.now <= answered + STAYS_AFTER:
            return
        if any(click.id in came and click.on_page for click in target.clicks):
            target.stays = True

    def _add(self, target: Target, click: Click) -> None:
        known = target.click(click.id)
        if known is not None:
            target.clicks = tuple(click if c.id == click.id else c for c in target.clicks)
            if not known.counts:
                self.events.append(Event.about(target, "redo", click_id=click.id))
            return
        if click.box is not None:
            for box in (c for c in target.counting if c.box is not None):
                target.take_back(box.id)
        target.clicks = (*target.clicks, click)
        self._log_click(click, target)

    # -- the phrase

    def _phrase(self) -> None:
        phrase = self.ask.phrase
        assert phrase is not None
        target = self.target or self._target_of_phrase(phrase.id, phrase.text)
        if target is None:
            self.notes.append(PHRASE_REMOVED)
            return
        self.target = target
        repeated = target.phrase_id == phrase.id and target.phrase == phrase.text
        if not repeated:
            named = labels_named(phrase.text, self.image.labels)
            if named and not target.clicks and not among(named, target.of_class):
                # An object made of words alone takes its class from them.
                target.brush, target.label = named[0][0].name, named[0][1].value
            target.phrase_id, target.phrase = phrase.id, phrase.text
            target.phrase_saved, target.phrase_seen_at = "", None
            self.events.append(
                Event.about(
                    target,
                    "phrase",
                    request_id=self.context.request_id,
                    starts=self._first(),
                    phrase_id=phrase.id,
                    text=phrase.text,
                )
            )
        self._turned(target)
        target.phrase_sequence = target.sequence
        if not phrase.text and not target.counting:
            self.target = None
            self.notes.append(PHRASE_REMOVED)

    def _target_of_phrase(self, identity: str, text: str) -> Target | None:
        """The last object, unless the words or the page show that another one is meant."""
        last = self.lane[0] if self.lane else None
        before = next((t for t in self.lane if t.phrase_id == identity), None)
        if not text:
            return before or (last if last is not None and last.state != "gone" else None)
        named = labels_named(text, self.image.labels)
        if self._means_all(text, last):
            return self._first_of_group(identity, named) or self._start_named(named)
        if last is not None and last.state != "gone" and self._takes(last, before, named):
            return last
        older = before is not None and before is not last and before.state == "open"
        if before is not None and older and among(named, before.of_class):
            return before
        return self._start_named(named)

    def _start_named(self, named: Named) -> Target:
        brush, label = named[0] if named else self._fallback_label()
        return self._start(brush, label.value if label else "", phrase="")

    def _means_all(self, text: str, last: Target | None) -> bool:
        """Whether the words ask for every one of a kind, rather than name the last object.

        A label's bare name says what an object is that was clicked on and not accepted yet.
        """
        in_progress = last is not None and last.state == "open" and bool(last.counting)
        return plural(text) or (asks_for_all(text, self.image.labels) and not in_progress)

    def _first_of_group(self, identity: str, named: Named) -> Target | None:
        """What a phrase for all of a kind found before, as long as nobody has accepted it."""
        for target in self.lane:
            fits = target.phrase_id == identity or (
                target is self.lane[0] and (not named or among(named, target.of_class))
            )
            first = target.phrase_group in ("", target.region_id)
            if fits and first and target.by_phrase_alone and target.state == "open":
                return target
        return None

    def _takes(self, last: Target, before: Target | None, named: Named) -> bool:
        """Whether the last object is what the phrase refines."""
        if before is last and not last.accepted:
            return True
        fits = not named or among(named, last.of_class)
        ticked = last.state == "kept" and last.stays and not self.drafts.in_progress(last)
        closed = last.state == "submitted" or ticked
        return fits and (before is last or not closed)
