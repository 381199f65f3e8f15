"""One request of the page: which regions are clicks, which one is the phrase, what is saved on the
task so far, and what the request is taken to mean.

``backend.label_studio.regions`` parses the regions; the labeling config says what they are.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np

from backend.interaction.mask_history import ManualEdits
from backend.interaction.objects import Click, Target
from backend.label_studio.annotations import Annotation
from backend.label_studio.controls import (
    BrushControl,
    ClickControl,
    ImageControls,
    Label,
    LabelConfig,
)
from backend.label_studio.payloads import PredictRequest, Project, clean, moment, whole_number
from backend.label_studio.regions import Region, finite_number, parse_result
from backend.label_studio.rle import PackedMask

MAX_CLICKS = 500  # in one request; nobody clicks that often on one object
MAX_TEXT = 10_000  # characters of a phrase that are kept
_ROUNDING = 1e-6  # percent
_FAR = 1e6  # percent; nobody draws there
_LEAST_BOX = 0.05  # percent; less is a slip of the mouse

PhraseSource = Literal["typed", "label", "none"]


@dataclass(frozen=True)
class Phrase:
    """A phrase as it came; an empty text means that it was removed."""

    id: str
    text: str


@dataclass(frozen=True)
class Saved:
    """A draft or an annotation of the task: what the page held when it was last saved."""

    kind: Literal["draft", "annotation"]
    id: int
    user: str  # of a draft; '' for annotations, which name a number only
    created_at: datetime | None  # of an annotation: that of the draft it came from
    updated_at: datetime
    regions: Mapping[str, Region] = field(default_factory=dict)  # masks, by id
    clicks: Mapping[str, bool | None] = field(default_factory=dict)  # id -> sign
    phrases: Mapping[str, str] = field(default_factory=dict)  # id -> text

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.id}"

    def draws(self, target: Target) -> bool:
        """Whether an object's mask or one of its clicks is on the picture."""
        clicked = any(click.id in self.clicks for click in target.clicks)
        return clicked or target.region_id in self.regions

    def shows(self, target: Target) -> bool:
        """Whether it shows anything of an object: its mask, a click or its phrase."""
        return self.draws(target) or (bool(target.phrase_id) and target.phrase_id in self.phrases)


@dataclass(frozen=True)
class Interaction:
    """What one interactive request holds: clicks, a phrase, or neither."""

    project: Project
    task_id: int
    image: ImageControls | None  # that of clicks and phrase; None where there are none
    clicks: tuple[Click, ...]
    size: tuple[int, int] | None  # width and height of the picture as the page shows it
    phrase: Phrase | None
    saved: tuple[Saved, ...]
    received_at: datetime
    ignored: tuple[str, ...] = ()  # a sentence for each kind of region that was left out
    phrase_ids: frozenset[str] = frozenset()  # of all phrases of the request

    @property
    def kind(self) -> Literal["click", "phrase"]:
        return "phrase" if self.phrase and not self.clicks else "click"

    @property
    def user(self) -> str:
        """Who asks. Label Studio sends the drafts of the asking user alone; '' before the first."""
        return next((s.user for s in self.saved if s.kind == "draft" and s.user), "")

    @classmethod
    def read(
        cls, request: PredictRequest, config: LabelConfig, received_at: datetime | None = None
    ) -> "Interaction":
        """Read a request with one task. Regions that make no sense are left out."""
        task = request.tasks[0]
        prompts: list[tuple[ImageControls, Region, Click | Phrase]] = []
        ignored: dict[str, None] = {}
        for region in parse_result(request.context):
            if not region.control:
                continue
            image = config.image_of(region.control, region.image or None)
            prompt = read_prompt(region, image) if image else None
            if image is not None and prompt is not None:
                prompts.append((image, region, prompt))
            else:
                ignored[_why_ignored(region, image)] = None
        # The last region decides which image is meant: the page sends the newest one last.
        meant = prompts[-1][0] if prompts else None
        here = [(region, prompt) for image, region, prompt in prompts if image is meant]
        clicks = {prompt.id: prompt for _, prompt in here if isinstance(prompt, Click)}
        if len(clicks) > MAX_CLICKS:
            ignored[f"Only the newest {MAX_CLICKS} clicks were read"] = None
        phrases = [prompt for _, prompt in here if isinstance(prompt, Phrase)]
        sizes = [
            (region.width, region.height)
            for region, _ in here
            if region.id in clicks and region.width and region.height
        ]
        return cls(
            project=request.project,
            task_id=task.key,
            image=meant,
            clicks=tuple(clicks.values())[-MAX_CLICKS:],
            size=sizes[-1] if sizes else None,
            phrase=phrases[-1] if phrases else None,
            phrase_ids=frozenset(one.id for _, _, one in prompts if isinstance(one, Phrase)),
            saved=tuple(read_saved(task.drafts, task.annotations, config)),
            received_at=received_at or datetime.now(UTC),
            ignored=tuple(note for note in ignored if note),
        )


@dataclass(frozen=True)
class Prompts:
    """An object as the predictor and the answer need it."""

    id: int
    region_id: str  # the region to answer with: Label Studio replaces the one of the same id
    label: Label | None  # None for a plain <Brush>
    brush: BrushControl
    image: ImageControls
    clicks: tuple[Click, ...]
    phrase: str  # what the model reads; '': nothing
    phrase_source: PhraseSource
    packed_mask: PackedMask | None = None
    edits: ManualEdits | None = None  # by hand, to be kept in the answer
    picture: str = ""  # key of the picture that they were made on; '' where that is not known
    model_version: str = ""  # what it began with and finishes on; '': the project's champion
    every: bool = False  # the phrase alone asks, and it means every one of a kind
    accepted: bool = False  # a draft or an annotation has shown its mask
    suggested: bool = False  # no click or stroke of a person is in the mask before

    @property
    def typed(self) -> bool:
        """Whether the phrase is what the annotator typed, not the label's name."""
        return self.phrase_source == "typed"

    @property
    def points(self) -> tuple[Click, ...]:
        """Its clicks without the boxes."""
        return tuple(click for click in self.clicks if click.box is None)

    @property
    def box(self) -> Click | None:
        """Its newest box."""
        return next((click for click in reversed(self.clicks) if click.box is not None), None)

    @property
    def previous_mask(self) -> np.ndarray | None:
        """H,W bool: the mask before this request that fits its prompts; None for a new object."""
        return None if self.packed_mask is None else self.packed_mask.unpack()


@dataclass(frozen=True)
class Suggestion:
    """Another object of a phrase that made several, while nobody has accepted it."""

    region_id: str
    label: Label | None
    brush: BrushControl
    packed_mask: PackedMask
    confidence: float
    model_version: str
    same_phrase: bool  # as the object that the request is about
    id: int = 0  # 0 until it is written


@dataclass(frozen=True)
class Turn:
    """What to do with a request. Pass it to ``record`` with the outcome, failures too."""

    request_id: str
    ask: Interaction
    target: Prompts | None = None  # None: there is nothing to predict
    started: bool = False  # the object is new with this request
    new: tuple[str, ...] = ()  # kinds of the interactions that this request added to the log
    notes: tuple[str, ...] = ()  # for the status line, plain sentences without a full stop
    number: int = 0  # the object's turn; a late answer never overwrites a later one
    shown_mask: PackedMask | None = None  # what the page showed last, to measure the change
    suggestions: tuple[Suggestion, ...] = ()  # other objects that the page shows, not accepted yet


def _why_ignored(region: Region, image: ImageControls | None) -> str:
    """What to tell the annotator of a region that was left out; '' for masks and ghosts."""
    if image is None and region.type == "textarea":
        return "This text stays as you wrote it: the model does not read it"
    if image is None:
        return "This backend does not know that tool; use clicks, a box or the phrase"
    if region.control == image.phrase:
        return "A phrase without an id was left out: enter it again"
    control = image.click(region.control)
    if control is None:
        stroke = region.has_mask and image.brush(region.control)
        return "The brush only paints; use clicks, a box or the phrase" if stroke else ""
    if not region.id:
        return "A click without an id was left out: click again"
    if control.draws_boxes:
        return "A box without an area was left out: draw it around the object"
    off = "x" in region.value and region.rle is None
    return "A click off the picture was left out" if off else ""


def read_prompt(region: Region, image: ImageControls) -> Click | Phrase | None:
    """What a region asks for; None for masks, ghosts, nonsense and places off the picture."""
    if not region.id or "rle" in region.value:
        return None
    if region.control == image.phrase:
        return _read_phrase(region)
    control = image.click(region.control)
    if control is None:
        return None
    return read_box(region, control) if control.draws_boxes else _read_click(region, control)


def read_box(region: Region, control: ClickControl) -> Click | None:
    """A rectangle that is a box prompt, cut off at the picture's edge, if it is rotated the upright
    box around it; None for nonsense and boxes without an area."""
    names = ("x", "y", "width", "height")
    numbers = [finite_number(region.value.get(name)) for name in names]
    if any(number is None or abs(number) > _FAR for number in numbers):
        return None
    x, y, width, height = (number or 0.0 for number in numbers)
    across, down = region.width or 1, region.height or 1
    right, below = width * across, height * down * 1j
    # The page turns a rectangle clockwise about its first corner.
    degrees = finite_number(region.value.get("rotation")) or 0.0
    corners = np.array([0, right, below, right + below]) * np.exp(1j * math.radians(degrees))
    xs = np.clip(x + corners.real / across, 0, 100)
    ys = np.clip(y + corners.imag / down, 0, 100)
    if np.ptp(xs) < _LEAST_BOX or np.ptp(ys) < _LEAST_BOX:
        return None
    label = next((known for text in region.labels if (known := control.label(text))), None)
    return Click(
        id=region.id,
        x_percent=float(xs.min()),
        y_percent=float(ys.min()),
        positive=True,
        label=label.label.value if label else region.label,
        from_name=control.name,
        x2_percent=float(xs.max()),
        y2_percent=float(ys.max()),
    )


def _read_click(region: Region, control: ClickControl) -> Click | None:
    """A key point that is a click; None for nonsense and places off the picture."""
    x, y = finite_number(region.value.get("x")), finite_number(region.value.get("y"))
    if x is None or y is None:
        return None
    # The page computes 100.00000000000001 % for a click on the edge.
    if not (-_ROUNDING <= x <= 100 + _ROUNDING and -_ROUNDING <= y <= 100 + _ROUNDING):
        return None
    label = next((known for text in region.labels if (known := control.label(text))), None)
    # A click with the label that removes is negative, also where the page says otherwise.
    removes = label is not None and label.role == "remove"
    return Click(
        id=region.id,
        x_percent=min(max(x, 0.0), 100.0),
        y_percent=min(max(y, 0.0), 100.0),
        positive=region.positive is not False and not removes,
        label=label.label.value if label else region.label,
        from_name=control.name,
        signed=removes or region.positive is not None,
    )


def _read_phrase(region: Region) -> Phrase:
    """What a text area holds; of several entries the last one that is not blank."""
    text = region.value.get("text")
    entries = text if isinstance(text, list) else [text]
    cleaned = [clean(entry).strip() for entry in entries if isinstance(entry, str)]
    last = next((entry for entry in reversed(cleaned) if entry), "")
    return Phrase(region.id, last[:MAX_TEXT])


def read_saved(
    drafts: Sequence[Any], annotations: Sequence[Any], config: LabelConfig
) -> list[Saved]:
    """Drafts and annotations of a task, with their masks still encoded. Nonsense is left out."""
    read = [_read_one(raw, "draft", config) for raw in drafts]
    read += [_read_one(raw, "annotation", config) for raw in annotations]
    return [saved for saved in read if saved is not None]


def latest(saved: Iterable[Saved]) -> Saved | None:
    return max(saved, key=lambda one: one.updated_at, default=None)


def _read_one(
    raw: object, kind: Literal["draft", "annotation"], config: LabelConfig
) -> Saved | None:
    """One draft or annotation; None where it has no id, no time or no result."""
    if not isinstance(raw, Mapping):
        return None
    number, updated = whole_number(raw.get("id")), moment(raw.get("updated_at"))
    if number is None or updated is None or raw.get("was_cancelled") is True:
        return None
    created = raw.get("created_at") if kind == "draft" else raw.get("draft_created_at")
    user = clean(raw.get("user")).strip()[:254] if kind == "draft" else ""
    regions = parse_result(raw.get("result"))
    return _saved(Saved(kind, number, user, moment(created), updated), regions, config)


def saved_annotation(annotation: Annotation, config: LabelConfig) -> Saved | None:
    """An annotation of a webhook in the same form; None if it was skipped."""
    if annotation.skipped:
        return None
    created = annotation.draft_created_at
    saved = Saved("annotation", annotation.id, "", created, annotation.updated_at)
    return _saved(saved, annotation.regions, config)


def _saved(saved: Saved, regions: Sequence[Region], config: LabelConfig) -> Saved:
    """``saved`` with what the config says its regions are."""
    shown: dict[str, Region] = {}
    clicks: dict[str, bool | None] = {}
    phrases: dict[str, str] = {}
    for region in regions:
        image = config.image_of(region.control, region.image or None)
        if image is None:
            continue
        prompt = read_prompt(region, image)
        if isinstance(prompt, Click):
            clicks[prompt.id] = prompt.positive if prompt.signed else None
        elif isinstance(prompt, Phrase):
            phrases[prompt.id] = prompt.text
        elif region.id and (brush := image.brush(region.control)) is not None:
            drawn = region.touches or region.outlines or region.mask_image
            if drawn or isinstance(region.rle, list):
                # With the label that the config knows, if any.
                label = next(
                    (known for text in region.labels if (known := brush.label(text))), None
                )
                shown[region.id] = replace(region, labels=(label.value,) if label else ())
    return replace(saved, regions=shown, clicks=clicks, phrases=phrases)
