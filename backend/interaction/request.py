"""One request of the page, understood: which items are clicks, which one is the phrase, what is
saved on the task so far.

Items are told apart by ``from_name`` and by the keys of ``value``, never by type alone: with "keep
label selected" the page makes ghosts, a mask's twin that calls itself a key point (it has ``rle``)
and a click's twin that calls itself a brush stroke (it has ``x`` under a brush control).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from backend.label_studio.config import ClickControl, ClickLabel, ImageControls, LabelConfig
from backend.label_studio.payloads import PredictRequest, Project, clean, moment

MAX_CLICKS = 500  # in one request; nobody clicks that often on one object
MAX_TEXT = 10_000  # characters of a phrase that are kept
_MAX_ID = 128
_MAX_SIDE = 100_000  # pixels


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
        for item in request.context:
            reader.add(item)
        saved = [] if task is None else read_saved(task.drafts, task.annotations, config)
        return cls(
            project=request.project,
            task_id=(task.id if task else None) or 0,
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

    def add(self, item: Mapping[str, Any]) -> None:
        value, name = item.get("value"), item.get("from_name")
        if not isinstance(value, Mapping) or not isinstance(name, str):
            return
        image = self.config.image_of(name, item.get("to_name"))
        if image is None:
            self.ignored["That tool is not known to this backend; use key points or the phrase"] = (
                None
            )
            return
        control = image.click(name)
        if control is not None:
            click = read_click(item, control, image)
            if click is not None:
                self._image(image)
                self.clicks[click.id] = click
            elif "x" in value and "rle" not in value:
                self.ignored["A click off the picture was left out"] = None
        elif name == image.phrase:
            phrase = read_phrase(item, image)
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


def read_click(
    item: Mapping[str, Any], control: ClickControl, image: ImageControls
) -> ClickPrompt | None:
    """A key point that is a click; None for ghosts, for nonsense and for places off the picture."""
    value = item["value"]
    x, y = _number(value.get("x")), _number(value.get("y"))
    identity = clean(item.get("id"))[:_MAX_ID]
    if "rle" in value or x is None or y is None or not identity:
        return None
    if not (0 <= x <= 100 and 0 <= y <= 100):
        return None
    written = _first(value.get("keypointlabels")) or _first(value.get("labels"))
    label = control.label(written)
    positive = item.get("is_positive")
    return ClickPrompt(
        id=identity,
        x_percent=x,
        y_percent=y,
        positive=_sign(positive if isinstance(positive, bool) else None, label),
        label=label.label.value if label else "",
        from_name=control.name,
        to_name=image.name,
        original_width=_side(item.get("original_width")),
        original_height=_side(item.get("original_height")),
    )


def _sign(positive: bool | None, label: ClickLabel | None) -> bool | None:
    """A label that takes away is negative however one clicks."""
    return False if label is not None and label.role == "remove" else positive


def read_phrase(item: Mapping[str, Any], image: ImageControls) -> PhrasePrompt | None:
    """The phrase's text area; of several entries the last one that says something."""
    text = item["value"].get("text")
    entries = text if isinstance(text, list) else [text]
    said = [clean(entry).strip() for entry in entries if isinstance(entry, str)]
    identity = clean(item.get("id"))[:_MAX_ID]
    if "rle" in item["value"] or not identity:
        return None
    last = next((entry for entry in reversed(said) if entry), "")
    return PhrasePrompt(identity, last[:MAX_TEXT], image.phrase, image.name)


def read_saved(
    drafts: Sequence[Any], annotations: Sequence[Any], config: LabelConfig
) -> list[Saved]:
    """Drafts and annotations of a task, without a look at their masks. Nonsense is left out."""
    found = [read_one(raw, "draft", config) for raw in drafts]
    found += [read_one(raw, "annotation", config) for raw in annotations]
    return [saved for saved in found if saved is not None]


def read_one(
    raw: object, kind: Literal["draft", "annotation"], config: LabelConfig
) -> Saved | None:
    """One draft or annotation; None where it has no id, no time or no result."""
    if not isinstance(raw, Mapping):
        return None
    number, updated = raw.get("id"), moment(raw.get("updated_at"))
    if not isinstance(number, int) or updated is None or raw.get("was_cancelled") is True:
        return None
    regions: dict[str, Shown] = {}
    clicks: dict[str, bool | None] = {}
    phrases: dict[str, str] = {}
    result = raw.get("result")
    for item in result if isinstance(result, list) else ():
        if not isinstance(item, Mapping) or not isinstance(item.get("value"), Mapping):
            continue
        image = config.image_of(item.get("from_name"), item.get("to_name"))
        if image is None:
            continue
        control = image.click(item.get("from_name"))
        if control is not None:
            click = read_click(item, control, image)
            if click is not None:
                clicks[click.id] = click.positive
        elif item.get("from_name") == image.phrase:
            phrase = read_phrase(item, image)
            if phrase is not None:
                phrases[phrase.id] = phrase.text
        else:
            shown = _shown(item, image)
            if shown is not None:
                regions[shown.id] = shown
    created = raw.get("created_at") if kind == "draft" else raw.get("draft_created_at")
    user = raw.get("user") if kind == "draft" else ""
    return Saved(kind, number, _user(user), moment(created), updated, regions, clicks, phrases)


def _shown(item: Mapping[str, Any], image: ImageControls) -> Shown | None:
    value, brush = item["value"], image.brush(str(item.get("from_name")))
    rle, identity = value.get("rle"), clean(item.get("id"))[:_MAX_ID]
    if brush is None or not isinstance(rle, list) or not identity:
        return None
    width, height = _side(item.get("original_width")), _side(item.get("original_height"))
    if width is None or height is None:
        return None
    label = brush.label(_first(value.get("brushlabels")))
    return Shown(identity, brush.name, label.value if label else "", rle, width, height)


def _user(raw: object) -> str:
    return clean(raw).strip()[:254]


def _first(raw: object) -> str:
    entries: Iterable[object] = raw if isinstance(raw, list) else ()
    return next((entry for entry in entries if isinstance(entry, str)), "")


def _number(raw: object) -> float | None:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    try:
        number = float(raw)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _side(raw: object) -> int | None:
    number = _number(raw)
    return int(number) if number is not None and 0 < number <= _MAX_SIDE else None
