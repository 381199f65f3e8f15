"""What the page did to a mask without a request: Ctrl+Z, brush and eraser.

Ctrl+Z after an answer brings the mask before it back; brush and eraser change it. A draft that was
saved well after the answer shows which: with an earlier mask its prompts are back too, and later
clicks no longer count; any other mask was edited by hand. The next answer builds on it and keeps
what was painted and erased (``mask_history.ManualEdits``).
"""

from collections.abc import Sequence

import numpy as np

from backend.db.models import EventKind
from backend.errors import BackendError
from backend.interaction.mask_history import Answer, ManualEdits, MaskHistory, change, digest
from backend.interaction.objects import Event, Target
from backend.interaction.request import Interaction, Saved
from backend.label_studio.regions import Region
from backend.label_studio.rle import PackedMask
from backend.label_studio.shapes import drawn_over, thick

# The page re-encodes a mask when it saves: a few border pixels may differ. More, or a patch that is
# as thick as a stroke, makes it another mask.
SAME_IOU = 0.99


def follow_page(
    history: MaskHistory, target: Target, showing: Saved, name: str, ask: Interaction
) -> list[Event]:
    """Take over the mask that the page shows; gives the events that this implies.

    name: the digest of the object's region on the page.
    """
    region = showing.regions[target.region_id]
    again = name == target.shown_digest
    # Key points behind an answer that are on the page; those of this request have none yet.
    counting = {click.id for click in target.counting}
    waiting = counting & history.answered & showing.clicks.keys()
    if not name:
        return []
    if again and waiting:
        # With Auto-Accept off, the old mask stays until the newest is accepted.
        return _rejected(history, target, showing, region, ask)
    target.shown_digest = name
    if name == history.newest:
        return []
    masks = page_masks(region)
    if masks is None:
        return []
    saved, drawn = masks
    back = recognise(saved, history.answers, digest(region, strokes=False))
    if again and (back is None or drawn != saved or _words_alone_since(history, back)):
        return []  # seen before, or a phrase's mask that may wait to be accepted
    events: list[Event] = []
    if back is not None and back is not history.answers[0]:
        if waiting - back.click_ids:  # a newer mask waits to be accepted
            return _rejected(history, target, showing, region, ask)
        history.undone_after = back.turn
        history.answers = [answer for answer in history.answers if answer.turn <= back.turn]
        events = _restored(target, back, ask)
    if back is None or drawn != saved:
        events.append(_edited(history, target, region, name, drawn))
    return events


def _rejected(
    history: MaskHistory, target: Target, showing: Saved, region: Region, ask: Interaction
) -> list[Event]:
    """Take back the clicks of a suggestion that was rejected before the one that waits now:
    they are neither on the page nor behind the mask that it shows."""
    name = digest(region, strokes=False)
    shown = next((answer for answer in history.answers if answer.digest == name), None)
    if shown is None:
        return []
    known = showing.clicks.keys() | shown.click_ids | {click.id for click in ask.clicks}
    gone = history.answered - known
    return [Event.undo(target, click.id) for click in target.counting if click.id in gone]


def _words_alone_since(history: MaskHistory, back: Answer) -> bool:
    """Whether the newest answer rests on other words than an earlier one, and on no click that
    the page would show as long as it waits."""
    newest = history.answers[0]
    return back.phrase != newest.phrase and newest.click_ids <= back.click_ids


def _edited(
    history: MaskHistory, target: Target, region: Region, name: str, drawn: PackedMask
) -> Event:
    """The page's mask as the newest one, in a turn of its own before the present one."""
    newest = history.answers[0] if history.answers else None
    before, edits = None, ManualEdits()
    if newest is not None and newest.mask.shape == drawn.shape:
        before = newest.mask
        edits = ManualEdits.between(before.unpack(), drawn.unpack())
    elif newest is None and region.drawn_by_hand:
        edits = ManualEdits.between(np.zeros(drawn.shape, np.bool_), drawn.unpack())
    history.edited = Answer(
        turn=target.turn,
        clicks=newest.clicks if newest else (),
        phrase=newest.phrase if newest else "",
        by_hand=True,
        digest=name,
        mask=drawn,
        edits=newest.edits.then(edits) if newest else edits,
    )
    target.turn += 1
    history.answers = [history.edited, *history.answers]
    return Event.about(target, "edit", changed=change(before, drawn), edited=edits.pixels)


def page_masks(region: Region) -> tuple[PackedMask, PackedMask] | None:
    """A draft's mask without and with the strokes over it; None where it cannot be read."""
    try:
        saved = region.saved_mask()
    except BackendError:
        return None
    packed = PackedMask.pack(saved)
    if not region.touches:
        return packed, packed
    return packed, PackedMask.pack(drawn_over(saved, region.touches))


def recognise(mask: PackedMask, answers: Sequence[Answer], name: str = "") -> Answer | None:
    """Which answer a mask is: the one with this digest, or else the one that is most like it; of
    equal ones the newest."""
    named = next((answer for answer in answers if name and answer.digest == name), None)
    if named is not None:
        return named
    alike = [
        answer
        for answer in answers
        if answer.mask == mask
        or (
            answer.mask.iou(mask) >= SAME_IOU
            and not thick(answer.mask.unpack() ^ mask.unpack()).any()
        )
    ]
    return max(alike, key=lambda answer: answer.mask.iou(mask), default=None)


def _restored(target: Target, back: Answer, ask: Interaction) -> list[Event]:
    """Let only those prompts count that made the mask which is back."""
    came, then = {click.id for click in ask.clicks}, back.click_ids
    events = []
    for click in target.clicks:
        if click.id in came or click.counts == (click.id in then):
            continue
        kind: EventKind = "undo" if click.counts else "redo"
        events.append(Event.about(target, kind, click_id=click.id))
        target.change(click.id, counts=not click.counts)
    if ask.phrase is None and target.phrase != back.phrase:
        undone = {"phrase_id": target.phrase_id, "text": target.phrase}
        events.append(Event.about(target, "undo", **undone))
        target.phrase = back.phrase
    return events
