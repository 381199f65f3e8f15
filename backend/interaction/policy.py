"""How the memory decides where the annotator's rules leave a choice."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from backend.label_studio.annotations import DRAFT_MARGIN
from backend.registry.versions import STICKY_FOR
from backend.settings import Settings


@dataclass(frozen=True)
class Policy:
    """The settings that concern the memory, and the times that it rests on."""

    new_object: Literal["auto", "refine", "new"] = "auto"
    carry_phrase: Literal["none", "target", "task"] = "none"
    label_as_phrase: bool = True
    forget_after: timedelta = timedelta(days=14)
    goes_on_for: timedelta = STICKY_FOR
    draft_margin: timedelta = DRAFT_MARGIN
    # Drafts are saved within seconds of a click. Who shows none this long after is someone else.
    unknown_for: timedelta = timedelta(minutes=10)
    # Masks kept for each target: enough to follow a few Ctrl+Z.
    answers_kept: int = 5
    # Beyond so many targets the oldest are forgotten early: about 2 GB of masks at the very most.
    targets_kept: int = 100_000

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        """From the settings of this process."""
        return cls(
            new_object=settings.new_object,
            carry_phrase=settings.carry_phrase,
            label_as_phrase=settings.label_as_phrase,
            forget_after=timedelta(days=settings.forget_after_days),
        )
