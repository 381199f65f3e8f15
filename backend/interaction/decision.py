"""What the memory makes of a request, and what it is told when the answer is there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from backend.db.packed_mask import PackedMask
from backend.interaction.request import ClickPrompt
from backend.label_studio.config import BrushControl, ImageControls, Label
from backend.label_studio.payloads import Project

PhraseSource = Literal["typed", "label", "none"]


@dataclass(frozen=True)
class RememberedClick:
    """A click that counts for a target. Places are percents of the upright picture."""

    id: str
    x_percent: float
    y_percent: float
    positive: bool
    label: str
    from_name: str


@dataclass(frozen=True)
class TargetView:
    """An object being made: its prompts, and the mask it had last."""

    id: int
    region_id: str  # the region to answer with: Label Studio replaces it, never doubles it
    label: Label | None  # None for a plain <Brush>
    brush: BrushControl
    image: ImageControls
    clicks: tuple[RememberedClick, ...]
    phrase: str | None  # what the model is to read; None: nothing
    phrase_source: PhraseSource
    packed_mask: PackedMask | None = None
    model_version: str = ""  # what it began with and finishes on; '': the project's champion

    @property
    def previous_mask(self) -> np.ndarray | None:
        """H,W bool: the mask before this request and fitting its prompts; None for a new object."""
        return None if self.packed_mask is None else self.packed_mask.unpack()


@dataclass(frozen=True)
class Counts:
    """Clicks that count for the target, and the interactions that this request added to the log."""

    positives: int = 0
    negatives: int = 0
    kinds: tuple[str, ...] = ()  # of the new ones, as the log names them

    @property
    def new(self) -> int:
        """How many this request added."""
        return len(self.kinds)

    @property
    def clicks(self) -> int:
        """Positive and negative ones."""
        return self.positives + self.negatives


@dataclass(frozen=True)
class Turn:
    """What to do with a request. Hand it back to ``record`` with the outcome, failures too."""

    request_id: str
    action: Literal["predict", "nothing"]
    project: Project
    task_id: int
    image: ImageControls | None
    target: TargetView | None = None
    started: bool = False  # the target is new with this request
    counts: Counts = field(default_factory=Counts)
    notes: tuple[str, ...] = ()  # for the status line, plain sentences without a full stop
    user: str = ""  # who asked, as far as it is known
    number: int = 0  # the target's turn; a late answer never overwrites a later one
    shown_mask: PackedMask | None = None  # what the page showed last, to measure the change


@dataclass(frozen=True)
class Outcome:
    """How the answer went. ``mask`` is None where there is none; then ``error`` says why."""

    mask: np.ndarray | None = None  # H,W bool at the upright picture's size
    confidence: float | None = None
    model_version: str = ""
    milliseconds: float = 0.0
    steps: Mapping[str, float] = field(default_factory=dict)  # milliseconds by step
    error: str = ""
    rle: Sequence[int] | None = None  # as answered: saves decoding it when a draft shows it again
    width: int | None = None  # of the upright picture, where the mask is None
    height: int | None = None


# Whether a lone positive click's own mask would touch the target's: asked outside any transaction,
# so it may run the model.
Touches = Callable[[ClickPrompt, TargetView], bool]
