"""Which object a phrase belongs to: the last one, one that it named before, or a new one."""

from backend.interaction.assignment import Assignment
from backend.interaction.label_words import asks_for_all, labels_named, plural
from backend.interaction.objects import Target
from backend.label_studio.controls import BrushControl, Label

PHRASE_REMOVED = "The phrase was removed"


class PhraseRules(Assignment):
    """Applies the phrase of a request."""

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
            if not target.clicks:
                self._rename(target, phrase.text)
            target.phrase_id, target.phrase = phrase.id, phrase.text
            target.phrase_saved, target.phrase_seen_at = "", None
            self._log("phrase", target, request=True, phrase_id=phrase.id, text=phrase.text)
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
            first = self._first_of_group(identity, named)
            return first or self._start_named(named)
        if last is not None and last.state != "gone" and self._takes(last, before, named):
            return last
        older = before is not None and before is not last and before.state == "open"
        if before is not None and older and self._names(named, before):
            return before
        return self._start_named(named)

    def _start_named(self, named: tuple[tuple[BrushControl, Label], ...]) -> Target:
        brush, label = named[0] if named else self._fallback_label()
        return self._start(brush, label.value if label else "", phrase="")

    def _means_all(self, text: str, last: Target | None) -> bool:
        """Whether the words ask for every one of a kind, rather than name the last object.

        A label's bare name says what an object is that was clicked on and not accepted yet.
        """
        in_progress = last is not None and last.state == "open" and bool(last.counting)
        return plural(text) or (asks_for_all(text, self.image.labels) and not in_progress)

    def _first_of_group(
        self, identity: str, named: tuple[tuple[BrushControl, Label], ...]
    ) -> Target | None:
        """What a phrase for all of a kind found before, as long as nobody has accepted it."""
        for target in self.lane:
            fits = target.phrase_id == identity or (
                target is self.lane[0] and (not named or self._names(named, target))
            )
            first = target.phrase_group in ("", target.region_id)
            if fits and first and target.by_phrase_alone and target.state == "open":
                return target
        return None

    def _takes(
        self,
        last: Target,
        before: Target | None,
        named: tuple[tuple[BrushControl, Label], ...],
    ) -> bool:
        """Whether the last object is what the phrase refines."""
        if before is last and not last.accepted:
            return True
        fits = not named or self._names(named, last)
        ticked = last.state == "kept" and last.stays and not self.drafts.in_progress(last)
        closed = last.state == "submitted" or ticked
        return fits and (before is last or not closed)

    @staticmethod
    def _names(named: tuple[tuple[BrushControl, Label], ...], target: Target) -> bool:
        return any((b.name, lab.value) == (target.brush, target.label) for b, lab in named)

    def _rename(self, target: Target, text: str) -> None:
        """An object made of words alone takes its class from them."""
        named = labels_named(text, self.image.labels)
        if named and not self._names(named, target):
            target.brush, target.label = named[0][0].name, named[0][1].value
