"""Brings objects up to date with drafts and annotations: accepted, undone, gone.

A draft is saved seconds late and may be stale, and its times are Label Studio's, not ours. So what
it shows counts at once (region ids are ours), while what it lacks counts only
- where an earlier version of the same draft showed it (both times are Label Studio's), or
- where it was saved well after the answer, by Label Studio's clock compared with ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from backend.db.models import EventKind
from backend.interaction.mask_history import Answer, TaskMasks
from backend.interaction.objects import Event, State, Target, TaskObjects
from backend.interaction.page_changes import page_masks
from backend.interaction.request import Saved, latest
from backend.label_studio.annotations import DRAFT_MARGIN
from backend.label_studio.controls import ImageControls

# Points that are still on the page this long after their answer stay there: Auto-Accept is off.
# Earlier, a slow page may not have drawn the answer yet.
STAYS_AFTER = timedelta(seconds=4)
# Drafts are saved within seconds of a click. Until this long after it, an object without an owner
# may be anyone's.
_UNKNOWN_FOR = timedelta(minutes=10)


@dataclass
class DraftSync:
    """One request's drafts and annotations, compared with the objects as they are known."""

    task: TaskObjects
    saved: Sequence[Saved]
    user: str
    now: datetime
    masks: TaskMasks
    events: list[Event] = field(default_factory=list)

    def apply(self) -> None:
        """Bring every object of the task up to date."""
        last = latest(self.saved)
        if last is not None:
            # Nothing can have been saved after it arrived: if it was, their clock is ahead.
            self.task.clock_ahead = max(self.task.clock_ahead, last.updated_at - self.now)
        for target in self.task.targets:
            # Label Studio sends only the asking user's drafts: what they show is that user's.
            if not target.owner and any(draft.shows(target) for draft in self._drafts()):
                target.owner = self.user
            shown = self.showing(target)
            if shown is not None:
                self._kept(target, shown)
            elif target.saved:
                self._gone_from_where_it_was(target)
            else:
                self._gone_before_it_was_saved(target)
            self._undone_clicks(target)
            self._phrase(target)
            self._dropped(target)

    def newer(self, saved: Saved, at: datetime, margin: timedelta = DRAFT_MARGIN) -> bool:
        """Whether it was saved long enough after this time of ours to show what was there then."""
        return saved.updated_at - self.task.clock_ahead > at + margin

    def showing(self, target: Target) -> Saved | None:
        """The newest draft or annotation with the object's mask."""
        # Two annotators who began with the same prediction have its region ids in both drafts.
        theirs = target.owner not in ("", self.user)
        holding = [
            saved
            for saved in self.saved
            if target.region_id in saved.regions and not (theirs and saved.kind == "draft")
        ]
        return latest(holding)

    def last_objects(self, image: ImageControls) -> list[Target]:
        """Objects on this image that may be the asking user's "last object", newest first.

        The user is known once a draft of theirs was saved; before that, objects that no one is
        known to own count as theirs for some minutes. Gone objects are included; callers leave
        them out. Of several drafts of one user the newest is the page's: what only another one
        shows is not on it.
        """
        owners = {target.owner for target in self.task.targets if target.owner}
        candidates = []
        for target in self.task.targets:
            recent = self.now - target.updated_at <= _UNKNOWN_FOR
            if target.owner:
                # A submitted annotation has no draft any more, so its owner may ask without one.
                alone = len(owners) == 1 and target.state == "submitted" and recent
                mine = target.owner == self.user or (alone and not self.user)
            else:
                mine = recent and not (self.user and self._contradict(target))
            if mine and target.image == image.name and not self._elsewhere(target):
                candidates.append(target)
        return candidates

    def _elsewhere(self, target: Target) -> bool:
        """Whether another draft or annotation of the task shows it, and not the newest draft."""
        newest = self._newest_draft()
        return newest is not None and not newest.shows(target) and self._shown(target)

    def _contradict(self, target: Target) -> bool:
        """Whether the asking user's own drafts show that an unowned object cannot be theirs: one
        lacks all of it, or was there already when the object was begun without any draft."""
        newest = self._newest_draft()
        if newest is None or self._shown(target):
            return False
        first = min(draft.created_at or draft.updated_at for draft in self._drafts())
        begun_before = first - self.task.clock_ahead + DRAFT_MARGIN < target.created_at
        return begun_before or self.newer(newest, target.answered_at or target.updated_at)

    def in_progress(self, target: Target) -> bool:
        """Whether an accepted object was refined since, by key points that are still there."""
        if target.accepted_at is None:
            return False
        newest = self._newest_draft(target)
        accepted = newest is not None and target.region_id in newest.regions
        # Accepting takes points off the page, so those beside the mask were made after it.
        if newest and accepted and any(click.id in newest.clicks for click in target.counting):
            return True
        if target.updated_at < target.accepted_at:
            return False
        recent = newest is not None and self.newer(newest, target.updated_at)
        return any(
            click.on_page and not (recent and newest and click.id not in newest.clicks)
            for click in target.clicks
        )

    def _shown(self, target: Target) -> bool:
        return any(saved.shows(target) for saved in self.saved)

    def _newest_draft(self, target: Target | None = None) -> Saved | None:
        """The asking user's; of several, the newest one that shows the object, if one does."""
        drafts = self._drafts()
        showing = [draft for draft in drafts if target is not None and draft.shows(target)]
        return latest(showing or drafts)

    def _drafts(self) -> list[Saved]:
        return [saved for saved in self.saved if saved.kind == "draft"]

    def _kept(self, target: Target, shown: Saved) -> None:
        if target.state == "gone" and target.seen_at and shown.updated_at <= target.seen_at:
            return
        state: State = "submitted" if shown.kind == "annotation" else "kept"
        if not target.accepted:
            target.accepted_at = self.now
            self._log("accept", target)
        if state == "submitted" and target.state != "submitted":
            self._log("submit", target)
        region = shown.regions[target.region_id]
        known_label = bool(region.label) or not target.label
        if known_label and self.newer(shown, target.updated_at):
            target.label, target.brush = region.label, region.control
        target.state = state
        target.saved, target.seen_at = shown.key, shown.updated_at
        target.saved_created_at = shown.created_at

    def _gone_from_where_it_was(self, target: Target) -> None:
        """It was in a draft; a newer version, or the annotation made of it, lacks it.

        Where its key points are still there, its answer is too, as a suggestion.
        """
        if target.state == "gone" or target.seen_at is None:
            return
        for saved in self.saved:
            follows = self._follows(saved, target.saved, target.saved_created_at)
            clicked = any(click.id in saved.clicks for click in target.clicks)
            if follows and saved.updated_at > target.seen_at and not clicked:
                target.seen_at = saved.updated_at
                self._gone(target)
                return

    def _gone_before_it_was_saved(self, target: Target) -> None:
        """It never got into a draft, and a draft well after its answer shows nothing of it.

        Words stay in their field when a mask is rejected: they are no sign of an object that was
        clicked.
        """
        newest = self._newest_draft()
        mine = target.owner and target.owner == self.user
        if target.state != "open" or not mine or newest is None:
            return
        drawn = any(saved.draws(target) for saved in self.saved)
        shown = drawn or (not target.clicks and self._shown(target))
        if not shown and self.newer(newest, target.answered_at or target.updated_at):
            target.seen_at = newest.updated_at
            self._gone(target)

    def _undone_clicks(self, target: Target) -> None:
        """With Auto-Accept off key points outlive an answer, so missing ones were undone; with the
        mask missing, too, all of them were rejected or undone."""
        newest = self._newest_draft(target)
        if newest is None or target.owner != self.user or target.state != "open":
            return
        if target.answered_at is None or not self.newer(newest, target.answered_at):
            return
        answered = target.answered_turn == target.turn  # a failed answer takes no points away
        late = self.newer(newest, target.answered_at, STAYS_AFTER)
        if answered and late and any(click.id in newest.clicks for click in target.clicks):
            target.stays = True
        nothing_left = target.region_id not in newest.regions and not any(
            click.id in newest.clicks for click in target.clicks
        )
        if not (target.stays or nothing_left) or not self.newer(newest, target.updated_at):
            return
        for click in target.counting:
            if click.on_page and click.id not in newest.clicks:
                self.events.append(Event.undo(target, click.id))

    def _phrase(self, target: Target) -> None:
        """A phrase that a newer draft lacks was removed, or replaced by another one."""
        if not target.phrase_id:
            return
        holding = [saved for saved in self.saved if target.phrase_id in saved.phrases]
        newest = latest(holding)
        if newest is not None:
            target.phrase_saved, target.phrase_seen_at = newest.key, newest.updated_at
            return
        lacking = self._lacking_phrase(target)
        if lacking is None:
            return
        if not lacking.phrases:
            # Objects that one phrase made share it.
            if all(event.phrase_id != target.phrase_id for event in self.events):
                self._log("undo", target, phrase_id=target.phrase_id, text=target.phrase)
            target.phrase = ""
        # Words that were replaced on the page still describe this object.
        target.phrase_id, target.phrase_saved = "", ""

    def _lacking_phrase(self, target: Target) -> Saved | None:
        """A newer version of what showed the phrase, without it; or a draft well after its typing.

        The newest one, since its text shows whether the phrase was removed or replaced.
        """
        if target.phrase_saved and target.phrase_seen_at is not None:
            newer = [
                saved
                for saved in self.saved
                if self._follows(saved, target.phrase_saved, target.saved_created_at)
                and saved.updated_at > target.phrase_seen_at
            ]
            return latest(newer)
        newest = self._newest_draft()
        if newest is None or target.owner != self.user or not newest.shows(target):
            return None
        return newest if self.newer(newest, target.updated_at) else None

    def _dropped(self, target: Target) -> None:
        """Accepting a mask takes its prompts off the page. An annotation that still has them was
        submitted without the mask that they made, or with the object's mask before it."""
        for saved in self.saved:
            if saved.kind != "annotation":
                continue
            left = {click.id for click in target.counting if click.id in saved.clicks}
            words = self._ends_with_words(saved, target)
            kept_turn = 0
            if target.region_id in saved.regions:
                kept = self._kept_answer(target, saved) if left or words else None
                kept_turn = kept.turn if kept else 0
                # Key points of a reopened annotation stay also when a new mask is accepted.
                left -= kept.click_ids if kept else set()
                words = words and kept is not None and kept.phrase != target.phrase
            elif target.clicks or target.accepted:
                words = False  # the page would have its clicks, or it was deleted
            if left or words:
                target.dropped_by, target.kept_turn = saved.id, kept_turn
            elif target.dropped_by == saved.id:
                target.dropped_by = None

    def _ends_with_words(self, saved: Saved, target: Target) -> bool:
        """Whether an object's phrase is in an annotation, and nothing was asked for after it.

        A phrase stays in its field also when its mask was rejected. Those who went on knew that the
        mask was gone, so only the last one of a page counts. Where one phrase made several objects
        and some were kept, the others were deleted.
        """
        if not target.phrase_id or target.phrase_id not in saved.phrases:
            return False
        for other in self.task.targets:
            if other is target or other.owner not in ("", target.owner):
                continue
            if other.phrase_id == target.phrase_id:
                if other.region_id in saved.regions:
                    return False
            elif (other.answered_at or other.created_at) > (target.answered_at or self.now):
                return False
        return True

    def _kept_answer(self, target: Target, saved: Saved) -> Answer | None:
        """Which of an object's masks an annotation has: the one that is most like it."""
        masks = page_masks(saved.regions[target.region_id])
        if masks is None:
            return None
        drawn = masks[1]
        alike = [(drawn.iou(a.mask), a.turn, a) for a in self.masks.of(target).answers]
        return max(alike, key=lambda entry: entry[:2], default=(0.0, 0, None))[2]

    @staticmethod
    def _follows(saved: Saved, key: str, created_at: datetime | None) -> bool:
        """The same draft or annotation, or the annotation that was made of that draft."""
        return saved.key == key or (
            saved.kind == "annotation" and created_at is not None and saved.created_at == created_at
        )

    def _gone(self, target: Target) -> None:
        target.state = "gone"
        self._log("delete", target)

    def _log(self, kind: EventKind, target: Target, **values: str) -> None:
        self.events.append(Event.about(target, kind, **values))
