"""Where the page shows another mask than the last answer, the page is right.

Ctrl+Z after an answer brings the mask before it back and tells nobody; brush and eraser change it.
A draft saved well after the answer shows which: an earlier answer's mask takes the prompts behind
it along, so the undone clicks no longer count; any other mask was drawn by hand and is built upon.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from backend.db.engine import Database
from backend.db.models.core import Kind
from backend.db.packed_mask import PackedMask
from backend.errors import BackendError
from backend.interaction import mask_history
from backend.interaction.events import Event
from backend.interaction.objects import Target
from backend.interaction.request import Shown
from backend.interaction.rules import Assignment
from backend.label_studio import rle


@dataclass(frozen=True)
class Question:
    """A mask on the page that has to be decoded, which takes too long under the task's lock."""

    target: Target
    region: Shown
    digest: str

    @property
    def key(self) -> tuple[str, str]:
        """What the answer is filed under."""
        return self.region.id, self.digest

    def look(self, database: Database) -> mask_history.Shown:
        """Decode the mask and hold it against the answers. Nonsense counts as nothing seen."""
        region = self.region
        try:
            mask = rle.decode(region.rle, region.width, region.height)
        except BackendError:
            return mask_history.Shown(None, None)
        packed = PackedMask.pack(mask)
        with database.read() as connection:
            kept = mask_history.of_target(connection, self.target.id)
            return mask_history.recognise(connection, self.target, packed, kept)


def question(connection: Connection, assignment: Assignment) -> Question | None:
    """What the page shows of the target, where that is news."""
    target, seen = assignment.target, assignment.sightings
    holding = seen.showing(target) if target is not None else None
    if target is None or holding is None:
        return None
    # A target without an answer was made from the page's mask; else the page must be newer.
    if target.answered_at is not None and not seen.newer(holding, target.answered_at):
        return None
    region = holding.regions[target.region_id]
    name = mask_history.digest(region.rle)
    if not name or name == target.shown_digest:
        return None
    kept = mask_history.of_target(connection, target.id)
    if kept and kept[0].digest == name:
        target.shown_digest = name
        return None
    return Question(target, region, name)


def believe(
    connection: Connection, assignment: Assignment, asked: Question, found: mask_history.Shown
) -> list[Event]:
    """Take over what the page shows; gives the undone clicks for the log."""
    target = asked.target
    target.shown_digest = asked.digest
    kept = mask_history.of_target(connection, target.id)
    if found.mask is not None:
        # In the place before this turn's, whose own answer is still to come.
        mask_history.store(
            connection,
            target.id,
            target.turn - 1,
            found.mask,
            clicks=kept[0].clicks if kept else (),
            phrase=kept[0].phrase if kept else "",
            at=assignment.now,
            rle_digest=asked.digest,
            by_hand=True,
        )
        return []
    # Nonsense that could not be decoded is no answer either: then nothing is found.
    back = next((answer for answer in kept if answer.turn == found.turn), None)
    if back is None or back is kept[0]:
        return []
    return _restore(connection, assignment, target, back)


def _restore(
    connection: Connection, assignment: Assignment, target: Target, back: mask_history.Answer
) -> list[Event]:
    """Let only those prompts count that made the mask which is there again."""
    came = {prompt.id for prompt in assignment.ask.clicks}
    then = {identity for identity, _ in back.clicks}
    undone = []
    for click in target.clicks:
        if click.id in came or click.counts == (click.id in then):
            continue
        kind: Kind = "undo" if click.counts else "redo"
        target.change(click.id, counts=not click.counts)
        undone.append(
            Event(
                kind,
                target.id,
                target.region_id,
                click_id=click.id,
                label=target.label,
            )
        )
    if assignment.ask.phrase is None and target.phrase != back.phrase:
        undone.append(
            Event(
                "undo",
                target.id,
                target.region_id,
                phrase_id=target.phrase_id,
                text=target.phrase,
                label=target.label,
            )
        )
        target.phrase = back.phrase
    mask_history.drop_newer(connection, target.id, back.turn)
    return undone
