"""A target as the model and the response need it: clicks, phrase, previous mask."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from backend.db.packed_mask import PackedMask
from backend.interaction import mask_history
from backend.interaction.decision import PhraseSource, TargetView
from backend.interaction.objects import Target
from backend.label_studio.config import ImageControls, Label


@dataclass(frozen=True)
class Viewer:
    """``knows`` says whether a model version's reader knows all words of a label's name."""

    label_as_phrase: bool
    knows: Callable[[str, str], bool]

    def view(
        self, connection: Connection, target: Target, image: ImageControls
    ) -> tuple[TargetView, PackedMask | None]:
        """The target with the mask that fits its prompts; and the mask that the page shows."""
        kept = mask_history.of_target(connection, target.id)
        fitting = mask_history.previous(kept, target)
        shown = mask_history.mask(connection, target.id, kept[0].turn) if kept else None
        before = None
        if fitting is not None:
            same = fitting is kept[0]
            before = shown if same else mask_history.mask(connection, target.id, fitting.turn)
        return self.look(target, image, before), shown

    def look(self, target: Target, image: ImageControls, mask: PackedMask | None) -> TargetView:
        """The target with this mask."""
        brush = image.brush(target.brush) or image.brushes[0]
        label = brush.label(target.label)
        phrase, source = self._phrase(target, label)
        return TargetView(
            id=target.id,
            region_id=target.region_id,
            label=label,
            brush=brush,
            image=image,
            clicks=tuple(click.remembered() for click in target.counting),
            phrase=phrase,
            phrase_source=source,
            packed_mask=mask,
            model_version=target.model_version,
        )

    def _phrase(self, target: Target, label: Label | None) -> tuple[str | None, PhraseSource]:
        """What was typed; else the label's own name where its words are known."""
        if target.phrase:
            return target.phrase, "typed"
        if label is not None and self.label_as_phrase:
            for name in (label.value, label.alias):
                if name and self.knows(name, target.model_version):
                    return name, "label"
        return None, "none"
