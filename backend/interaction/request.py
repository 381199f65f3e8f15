"""One request of the page: which regions are clicks, which one is the phrase, and what is saved on
the task so far.

``backend.label_studio.annotations`` parses the regions; the labeling config says what they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from backend.label_studio.annotations import Annotation, Region, finite_number, parse_result
from backend.label_studio.config import ClickControl, ClickLabel, ImageControls, LabelConfig
from backend.label_studio.payloads import PredictRequest, Project, clean, moment, whole_number

MAX_CLICKS = 500  # in one request; nobody clicks that often on one object
MAX_TEXT = 10_000  # characters of a phrase that are kept


@dataclass(frozen=True)
class ClickPrompt:
    """A click as it came. ``positive`` is None where the page has lost its sign."""

    id: str
    x_percent: float  # 0..100 of the upright picture's width
    y_percent: float
    positive: bool | None
    label: str  # the click label's text as the config has it; '' for a plain key point
    from_name: str
    to_name: str
    original_width: int | None = None
    original_height: int | None = None


@dataclass(frozen=True)
class PhrasePrompt:
    """A phrase as it came; empty text means that it was taken back."""

    id: str
    text: str
    from_name: str
    to_name: str


@dataclass(frozen=True)
class Shown:
    """A brush region that a draft or annotation shows."""

    id: str
    from_name: str
    label: str
    rle: Sequence[int]  # as it came, unread
    width: int
    height: int


@dataclass(frozen=True)
class Saved:
    """A draft or an annotation of the task: what the page held when it was last saved."""

    kind: Literal["draft", "annotation"]
    id: int
    user: str  # of a draft; '' for annotations, which name a number only
    created_at: datetime | None  # of an annotation: that of the draft it came from
    updated_at: datetime
    regions: Mapping[str, Shown] = field(default_factory=dict)
    clicks: Mapping[str, bool | None] = field(default_factory=dict)  # id -> sign
    phrases: Mapping[str, str] = field(default_factory=dict)  # id -> text

    @property
    def key(self) -> str:
        """Its name in the database."""
        return f"{self.kind}:{self.id}"


@dataclass(frozen=True)
class Interaction:
    """What one interactive request says. Empty where it holds neither click nor phrase."""

    project: Project
    task_id: int
    image: ImageControls | None  # None where nothing could be understood
    clicks: tuple[ClickPrompt, ...]
    phrase: PhrasePrompt | None
    saved: tuple[Saved, ...]
    received_at: datetime
    ignored: tuple[str, ...] = ()  # a sentence for each kind of item that was left out

    @property
    def empty(self) -> bool:
        """Nothing to answer and nothing to count."""
        return not self.clicks and self.phrase is None

    @property
    def user(self) -> str:
        """Who asks. Label Studio sends the drafts of the asking user alone; '' before the first."""
        return next((s.user for s in self.saved if s.kind == "draft" and s.user), "")

    @classmethod
    def read(
        cls, request: PredictRequest, config: LabelConfig, received_at: datetime | None = None
    ) -> "Interaction":
        """Understand a request with one task. Items that make no sense are left out."""
        task = request.tasks[0] if request.tasks else None
        reader = _Reader(config)
        for region in parse_result(request.context):
            reader.add(region)
        saved = [] if task is None else read_saved(task.drafts, task.annotations, config)
        return cls(
            project=request.project,
            task_id=task.key if task else 0,
            image=reader.image,
            clicks=reader.together(),
            phrase=reader.phrase,
            saved=tuple(saved),
            received_at=received_at or datetime.now(UTC),
            ignored=tuple(reader.ignored),
        )


class _Reader:
    """Collects clicks and phrase of one context."""

    def __init__(self, config: LabelConfig) -> None:
        self.config = config
        self.image: ImageControls | None = None
        self.clicks: dict[str, ClickPrompt] = {}
        self.phrase: PhrasePrompt | None = None
        self.ignored: dict[str, None] = {}

    def add(self, region: Region) -> None:
        if not region.control:
            return
        image = self.config.image_of(region.control, region.image or None)
        if image is None:
            self.ignored["That tool is not known to this backend; use key points or the phrase"] = (
                None
            )
            return
        control = image.click(region.control)
        if control is not None:
            click = read_click(region, control, image)
            if click is not None:
                self._image(image)
                self.clicks[click.id] = click
            elif "x" in region.value and region.rle is None:
                self.ignored["A click off the picture was left out"] = None
        elif region.control == image.phrase:
            phrase = read_phrase(region, image)
            if phrase is not None:
                self._image(image)
                self.phrase = phrase

    def together(self) -> tuple[ClickPrompt, ...]:
        """The clicks on the image at hand, the newest where there are too many."""
        clicks = [c for c in self.clicks.values() if self.image and c.to_name == self.image.name]
        if len(clicks) > MAX_CLICKS:
            self.ignored[f"Only the newest {MAX_CLICKS} clicks were read"] = None
        return tuple(clicks[-MAX_CLICKS:])

    def _image(self, image: ImageControls) -> None:
        """The last item decides: the page sends what was made last at the end."""
        if self.image is not None and self.image.name != image.name:
            self.phrase = None
        self.image = image


def read_click(region: Region, control: ClickControl, image: ImageControls) -> ClickPrompt | None:
    """A key point that is a click; None for ghosts, for nonsense and for places off the picture."""
    x, y = finite_number(region.value.get("x")), finite_number(region.value.get("y"))
    if "rle" in region.value or x is None or y is None or not region.id:
        return None
    if not (0 <= x <= 100 and 0 <= y <= 100):
        return None
    label = next((found for text in region.labels if (found := control.label(text))), None)
    return ClickPrompt(
        id=region.id,
        x_percent=x,
        y_percent=y,
        positive=_sign(region.positive, label),
        label=label.label.value if label else "",
        from_name=control.name,
        to_name=image.name,
        original_width=region.width,
        original_height=region.height,
    )


def _sign(positive: bool | None, label: ClickLabel | None) -> bool | None:
    """A label that takes away is negative however one clicks."""
    return False if label is not None and label.role == "remove" else positive


def read_phrase(region: Region, image: ImageControls) -> PhrasePrompt | None:
    """The text of the phrase's text area; of several entries the last one that is not blank."""
    text = region.value.get("text")
    entries = text if isinstance(text, list) else [text]
    cleaned = [clean(entry).strip() for entry in entries if isinstance(entry, str)]
    if "rle" in region.value or not region.id:
        return None
    last = next((entry for entry in reversed(cleaned) if entry), "")
    return PhrasePrompt(region.id, last[:MAX_TEXT], image.phrase, image.name)


def read_saved(
    drafts: Sequence[Any], annotations: Sequence[Any], config: LabelConfig
) -> list[Saved]:
    """Drafts and annotations of a task, with their masks still encoded. Nonsense is left out."""
    found = [read_one(raw, "draft", config) for raw in drafts]
    found += [read_one(raw, "annotation", config) for raw in annotations]
    return [saved for saved in found if saved is not None]


def read_one(
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
    shown: dict[str, Shown] = {}
    clicks: dict[str, bool | None] = {}
    phrases: dict[str, str] = {}
    for region in regions:
        image = config.image_of(region.control, region.image or None)
        if image is None:
            continue
        control = image.click(region.control)
        if control is not None:
            click = read_click(region, control, image)
            if click is not None:
                clicks[click.id] = click.positive
        elif region.control == image.phrase:
            phrase = read_phrase(region, image)
            if phrase is not None:
                phrases[phrase.id] = phrase.text
        else:
            mask = _shown(region, image)
            if mask is not None:
                shown[mask.id] = mask
    return replace(saved, regions=shown, clicks=clicks, phrases=phrases)


def _shown(region: Region, image: ImageControls) -> Shown | None:
    brush, rle = image.brush(region.control), region.rle
    if brush is None or not isinstance(rle, list) or not region.id:
        return None
    if region.width is None or region.height is None:
        return None
    label = next((found for text in region.labels if (found := brush.label(text))), None)
    return Shown(
        region.id, brush.name, label.value if label else "", rle, region.width, region.height
    )
