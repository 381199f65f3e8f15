"""What one request belongs to: the page's drafts, the rules, and the prompts for the predictor.

A decision reads and changes the task's objects in memory only. The store writes it, and has it
made again where another request for the same task was faster.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from secrets import token_hex

import numpy as np

from backend.db.packed_mask import PackedMask
from backend.interaction.assignment import Policy
from backend.interaction.draft_sync import DraftSync
from backend.interaction.events import Event
from backend.interaction.label_words import asks_for_all
from backend.interaction.manual_edits import ManualEdits
from backend.interaction.mask_history import MaskHistory, PageMasks
from backend.interaction.objects import (
    Click,
    PhraseSource,
    Prompts,
    Suggestion,
    Target,
    TaskObjects,
    Turn,
)
from backend.interaction.request import Interaction
from backend.interaction.rules import Rules
from backend.label_studio.controls import ImageControls, Label

# Whether a lone positive click's own mask would touch an object's mask. May run the model.
Touches = Callable[[Click, Prompts], bool]
# Whether a model version knows the words of a label's name.
Knows = Callable[[str, str], bool]
# The masks of objects, by the object's number.
ReadHistories = Callable[[Sequence[Target]], dict[int, MaskHistory]]

# The model is asked about a click and an object again when the object has a new mask, but no more
# often than this: then its last answer holds.
_MODEL_ATTEMPTS = 3


class Decision:
    """What one request belongs to; made again for each state of the task that it meets."""

    def __init__(
        self,
        ask: Interaction,
        policy: Policy,
        read_histories: ReadHistories,
        *,
        touches: Touches,
        knows: Knows,
        version_for: Callable[[str], str],
        carried: str = "",
    ) -> None:
        """carried: the phrase that the annotator typed on another task, by setting."""
        self._ask = ask
        self._policy = policy
        self._read_histories = read_histories
        self._ask_model = touches
        self._knows = knows
        self._version_for = version_for
        self._carried = carried
        self._request_id = token_hex(16)
        self._touched: dict[tuple[int, str], dict[int, bool]] = {}  # by turn of the mask
        self._page_masks = PageMasks()
        self.events: list[Event] = []
        self.histories: list[tuple[Target, MaskHistory]] = []  # changed ones

    def make(
        self, task: TaskObjects, histories: Mapping[int, MaskHistory], logged: Mapping[str, bool]
    ) -> Turn:
        """Decide on this state of the task. Changes its objects; nothing is written."""
        ask, policy = self._ask, self._policy
        self._read = dict(histories)
        self.histories = []
        drafts = DraftSync(
            task, ask.saved, ask.user, policy.draft_margin, ask.received_at, self._history
        )
        drafts.apply()
        self.events = drafts.events
        turn = Turn(self._request_id, ask.project, ask.task_id, ask.image, notes=ask.ignored)
        if ask.image is None:
            return turn
        rules = Rules(
            ask=ask,
            image=ask.image,
            task=task,
            drafts=drafts,
            policy=policy,
            request_id=self._request_id,
            logged=logged,
            touches=self._touches,
            holding=self._holding,
            carried=self._carried,
            version_for=self._version_for,
        )
        rules.decide()
        target = rules.target
        new = tuple(event.kind for event in rules.events if event.request_id)
        turn = replace(turn, new=new, notes=(*rules.notes, *ask.ignored))
        if target is None:
            self.events = [*drafts.events, *rules.events]
            return turn
        history = self._history(target)
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
            suggestions=tuple(self._suggestions(task, target, ask.image)),
        )

    def _suggestions(
        self, task: TaskObjects, target: Target, image: ImageControls
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
            and other.owner in ("", self._ask.user)
        ]
        self._read_missing(others)
        for other in others:
            mask = self._history(other).fitting(other)
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

    def _holding(self, click: Click, targets: Sequence[Target], near: bool) -> Target | None:
        """The first of these objects whose mask holds the click; ``near``: else the nearest one."""
        self._read_missing(targets)
        boxes: list[tuple[float, int]] = []
        for place, target in enumerate(targets):
            packed = self._history(target).fitting(target)
            if packed is None:
                continue
            x, y = click.pixel(packed.width, packed.height)
            column, row = min(int(x), packed.width - 1), min(int(y), packed.height - 1)
            mask = packed.unpack()
            if mask[row, column]:
                return target
            if near:
                rows, columns = np.nonzero(mask)
                boxes.append((float(((rows - row) ** 2 + (columns - column) ** 2).min()), place))
        return targets[min(boxes)[1]] if boxes else None

    def _read_missing(self, targets: Sequence[Target]) -> None:
        missing = [target for target in targets if target.id and target.id not in self._read]
        if missing:
            self._read |= self._read_histories(missing)

    def _history(self, target: Target) -> MaskHistory:
        self._read_missing([target])
        return self._read.setdefault(target.id, MaskHistory([]))

    def _follow_page(self, target: Target, history: MaskHistory, drafts: DraftSync) -> list[Event]:
        """Take over the mask that the page shows, where that is another one than was answered."""
        showing = drafts.showing(target)
        # An object without an answer was made from the page's mask; else the page must be newer.
        answered = target.answered_at
        if showing is None or (answered is not None and not drafts.newer(showing, answered)):
            return []
        self.histories.append((target, history))
        return history.follow_page(target, showing, self._ask, self._page_masks)

    def _touches(self, click: Click, target: Target) -> bool:
        if not target.answered_turn or self._ask.image is None:
            return False
        turn = target.answered_turn
        known = self._touched.setdefault((target.id, click.id), {})
        if turn not in known:
            if len(known) >= _MODEL_ATTEMPTS:
                return known[max(known)]
            prompts = self._prompts(target, self._ask.image, self._history(target).at(turn))
            known[turn] = self._ask_model(click, prompts)
        return known[turn]

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
        if label is not None and self._policy.label_as_phrase:
            for name in (label.value, label.alias):
                if name and self._knows(name, target.model_version):
                    return name, "label"
        return "", "none"
