"""What a labeling config says: the controls of each image that take masks, clicks and phrases.

An attribute may hold variables: ``$image``, ``$pic.url``, ``$pics[0]``, or several within a text,
as ``https://host/$folder/$file``. ``resolved`` and ``text_of`` fill in a task's data, as Label
Studio's page does.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar

from backend.errors import LabelConfigError

VARIABLE = re.compile(r"\$[\w[\].{}]+", re.ASCII)
_STEP = re.compile(r"[^.[\]]+")
# Characters of a task's data in one text: a long value may be asked for again and again.
_MAX_FILLED_IN = 8 << 20
# A document of more pages is cut off, so that a task cannot make the config endless.
_MAX_REPEATS = 200


def resolved(text: str, data: Mapping[str, Any]) -> Any:
    """The value of an attribute: the data's own value for a single variable, otherwise the text
    with all variables filled in. Missing data reads as ''."""
    if VARIABLE.fullmatch(text):
        value = _looked_up(text[1:], data)
        return "" if value is None else value
    left = _MAX_FILLED_IN

    def filled_in(match: re.Match[str]) -> str:
        nonlocal left
        written = _written(_looked_up(match[0][1:], data))[:left]
        left -= len(written)
        return written

    return VARIABLE.sub(filled_in, text)


def text_of(text: str, data: Mapping[str, Any]) -> str:
    """The same where a text is expected; of a list the first entry, '' for other values."""
    value = resolved(text, data)
    if isinstance(value, list):
        value = next(iter(value), "")
    return value if isinstance(value, str) else ""


def _looked_up(path: str, data: Mapping[str, Any]) -> Any:
    """A key of the data with exactly this name, else what its path leads to; None for nothing."""
    if path in data:
        return data[path]
    value: Any = data
    for step in _STEP.findall(path):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, str | int | float) else ""


Role = Literal["object", "add", "remove"]
Tool = Literal["brush", "bitmask", "polygon", "magicwand"]
_T = TypeVar("_T")

DEFAULT_PHRASE_KEY = "phrase"


def normal_form(text: str) -> str:
    """Text as it is compared: in Unicode's form NFKC, one code for what looks the same, and with
    single blanks."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


@dataclass(frozen=True)
class Label:
    """A class of the project. Results carry the alias where there is one, else the value."""

    value: str  # without surrounding blanks, as the alias is
    alias: str = ""
    verbatim: str = ""  # alias or value with the blanks that the config has around it; '' if none
    hotkey: str = field(default="", compare=False)
    shown: str = ""  # what the page shows, where that is the name of another label too

    @property
    def text(self) -> str:
        """What the page shows of it."""
        return self.shown or self.value

    @property
    def written(self) -> str:
        """How Label Studio writes this label into a result."""
        return self.verbatim or self.alias or self.value


@dataclass(frozen=True)
class BrushControl:
    """Takes the mask: a brush, bitmasks, polygons, or the magic wand. ``labels`` is empty for a
    plain ``<Brush>``, ``<Polygon>`` and so on without ``<Labels>``."""

    name: str
    labels: tuple[Label, ...]
    labels_control: str = ""  # the <Labels> that name a plain <Brush>; they are items of their own
    tool: Tool = "brush"

    @property
    def type(self) -> str:
        """The result's type and the key of its labels: ``brushlabels``, ``polygon``, …"""
        named = self.labels and not self.labels_control
        return f"{self.tool}labels" if named else self.tool

    def label(self, text: str | None) -> Label | None:
        """The label that a result's text means."""
        return self._by_name.get(normal_form(text.strip())) if text else None

    @cached_property
    def _by_name(self) -> dict[str, Label]:
        return _names_of((label, label) for label in self.labels)


@dataclass(frozen=True)
class ClickLabel:
    """A key point label: a class, or a label that refines the last object."""

    label: Label
    role: Role
    brush: str = ""  # name of the brush control that gets its mask; '' for refine labels
    brush_label: Label | None = None  # None: plain brush, or a label without counterpart


@dataclass(frozen=True)
class ClickControl:
    """Key points that are clicks, or rectangles that are box prompts. ``labels`` is empty for a
    plain ``<KeyPoint>`` or ``<Rectangle>``."""

    name: str
    labels: tuple[ClickLabel, ...]
    smart: bool
    type: str  # keypointlabels, keypoint, rectanglelabels or rectangle

    @property
    def draws_boxes(self) -> bool:
        return self.type.startswith("rectangle")

    def label(self, text: str | None) -> ClickLabel | None:
        """The click label that a result's text means."""
        return self._by_name.get(normal_form(text.strip())) if text else None

    @cached_property
    def _by_name(self) -> dict[str, ClickLabel]:
        return _names_of((label.label, label) for label in self.labels)


@dataclass(frozen=True)
class ImageControls:
    """One image of the config and everything that points to it."""

    name: str
    value: str  # the tag's value as written: "$image", "$pic.url", an address
    brushes: tuple[BrushControl, ...]
    clicks: tuple[ClickControl, ...]
    phrase: str = ""  # name of the text area for the phrase; '' if there is none
    status: str = ""  # name of the text area for the status line; '' if there is none
    phrase_key: str = DEFAULT_PHRASE_KEY  # key of a task's data with a phrase for the batch
    boxes: tuple[ClickControl, ...] = ()

    @property
    def prompts(self) -> tuple[ClickControl, ...]:
        """The controls of clicks and boxes."""
        return (*self.clicks, *self.boxes)

    @property
    def refines(self) -> bool:
        """Whether the config has labels that refine the last object."""
        return any(lab.role != "object" for control in self.prompts for lab in control.labels)

    @property
    def adds(self) -> str:
        """How to add to the last object: the key of the label for it, else its name; '' without."""
        labels = (label for control in self.prompts for label in control.labels)
        adds = next((label.label for label in labels if label.role == "add"), None)
        return "" if adds is None else adds.hotkey.upper() or adds.value

    @cached_property
    def labels(self) -> tuple[tuple[BrushControl, Label], ...]:
        """Every class that a mask on this image can have, each once, brushes first."""
        return object_classes(self.brushes)

    def brush(self, name: str) -> BrushControl | None:
        return next((brush for brush in self.brushes if brush.name == name), None)

    def shows(self, control: str, image: str) -> bool:
        """Whether a mask of this control is on this image: one control may serve several."""
        return self.brush(control) is not None and image in ("", self.name)

    def click(self, name: object) -> ClickControl | None:
        return next((control for control in self.prompts if control.name == name), None)

    def address(self, data: Mapping[str, Any]) -> str:
        """The picture's address in a task's data; '' if the task has none."""
        return text_of(self.value, data)

    def batch_phrase(self, data: Mapping[str, Any]) -> str:
        """The phrase in a task's data; '' if there is none."""
        return text_of(f"${self.phrase_key}", data).strip()


@dataclass(frozen=True)
class LabelConfig:
    """A labeling config that this backend can work with (``config.parse_config``)."""

    images: tuple[ImageControls, ...]
    warnings: tuple[str, ...] = ()  # shown by ``phraseclick doctor``
    # Of its Repeaters, which make controls depend on a task's data; and the config where each of
    # them repeats its content this often.
    variables: tuple[str, ...] = ()
    repeated: Callable[..., "LabelConfig"] | None = field(default=None, compare=False)
    size: int = field(default=0, compare=False)  # bytes in memory, roughly

    def of(self, data: object) -> "LabelConfig":
        """The config for a task with this data: itself, unless it has a Repeater."""
        if self.repeated is None or not isinstance(data, Mapping):
            return self
        lists = (resolved(variable, data) for variable in self.variables)
        lengths = tuple(min(len(x), _MAX_REPEATS) if isinstance(x, list) else 0 for x in lists)
        return self.repeated(lengths=lengths) if any(lengths) else self

    def of_saved(self, data: object) -> "LabelConfig":
        """The same for what is saved on a task: of more pages than can be read, the first."""
        try:
            return self.of(data)
        except LabelConfigError:
            return self

    def images_of(self, data: Mapping[str, Any]) -> tuple[ImageControls, ...]:
        """The images that a task with this data has; all of them where it has none."""
        images = self.of(data).images
        return tuple(image for image in images if image.address(data)) or images

    def image_of(self, control: object, to_name: object = None) -> ImageControls | None:
        for image in self.images:
            named = [*(b.name for b in image.brushes), *(c.name for c in image.prompts)]
            if control in (*named, image.phrase, image.status) and to_name in (None, image.name):
                return image
        return None


def object_classes(brushes: tuple[BrushControl, ...]) -> tuple[tuple[BrushControl, Label], ...]:
    """Labels, each at the first control that has it."""
    first: dict[str, tuple[BrushControl, Label]] = {}
    for brush in brushes:
        for label in brush.labels:
            first.setdefault(label.value, (brush, label))
    return tuple(first.values())


def _names_of(labels: Iterable[tuple[Label, _T]]) -> dict[str, _T]:
    """What results may call each label; the first label of a name counts."""
    names: dict[str, _T] = {}
    for label, meant in labels:
        for name in filter(None, (label.value, label.alias)):
            names.setdefault(normal_form(name), meant)
    return names
