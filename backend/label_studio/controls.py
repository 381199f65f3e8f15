"""What a labeling config says about a picture: the controls that take masks, clicks and phrases.

`tree_of` and `linked_tags` read the config, `resolved` and `text_of` a task's data, as Label
Studio's page reads them.

An attribute may hold variables: ``$image``, ``$pic.url``, ``$pics[0]``, or several within a text,
as ``https://host/$folder/$file``. A ``<Repeater on="$pages">`` repeats its content once for each
entry of a list, with the entry's number in place of ``{{idx}}`` in names and variables.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import Any, Literal, TypeVar
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser, fromstring

from backend.errors import LabelConfigError

# A thousand classes with colours, for brushes and for key points, have some 150,000.
_MAX_CHARACTERS = 500_000
_MAX_DEPTH = 200
# What the page shows and controls work on.
_OBJECTS = frozenset(
    ["image", "table", "timeseries", "audio", "video", "paragraphs", "list", "pdf"]
)
_VARIABLE = re.compile(r"\$[\w[\].{}]+", re.ASCII)
_STEP = re.compile(r"[^.[\]]+")
# A document of more pages is cut off, so that a task cannot make the config endless.
_MAX_REPEATS = 200
# Of a config and of what a Repeater makes of it. Some data sets have 1,200 classes; each class
# stands in the config for brushes and for key points.
MAX_TAGS = 12_000
_MAX_REPEATED = 4_000_000
# Characters of a task's data in one text: a long value may be asked for again and again.
_MAX_FILLED_IN = 8 << 20
_INDEX = "{{idx}}"


def linked_tags(root: Element) -> list[Element]:
    """All tags. Where the page shows one thing only, controls without a toName work on that."""
    tags = list(root.iter())
    shown = [tag.get("name", "") for tag in tags if tag.tag in _OBJECTS and tag.get("name")]
    if len(shown) == 1:
        for tag in tags:
            if tag.get("name") and tag.tag not in _OBJECTS:
                tag.attrib.setdefault("toname", shown[0])
    return tags


class _Builder(TreeBuilder):
    """Reads tags as the page does: names without regard to case, and a text as the value.

    Refuses document types, which could define entities, and excessive depth.
    """

    depth = 0

    def doctype(self, *_: object) -> None:
        raise LabelConfigError("The labeling config has a document type, which is not allowed.")

    def start(self, tag: str, attributes: dict[str, str], /) -> Element:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise LabelConfigError(f"The labeling config is nested deeper than {_MAX_DEPTH} tags.")
        return super().start(
            tag.lower(), {name.lower(): value for name, value in attributes.items()}
        )

    def end(self, tag: str, /) -> Element:
        self.depth -= 1
        element = super().end(tag.lower())
        if not len(element) and element.text and element.text.strip():
            element.set("value", escape(element.text.strip(), quote=False))
        return element


def tree_of(xml: str) -> Element:
    """A labeling config's tags, names in lower case. Raises LabelConfigError."""
    if len(xml) > _MAX_CHARACTERS:
        raise LabelConfigError(
            f"The labeling config is longer than {_MAX_CHARACTERS:,} characters."
        )
    if not xml.strip():
        raise LabelConfigError("The labeling config is empty.")
    # This is text already, so the encoding that it declares does not matter.
    parser = XMLParser(target=_Builder(), encoding="utf-8")
    try:
        return fromstring(xml.strip().encode("utf-8", "replace"), parser)
    except (ParseError, ValueError) as error:
        raise LabelConfigError(f"The labeling config is not valid XML: {error}.") from None


def resolved(text: str, data: Mapping[str, Any]) -> Any:
    """The value of an attribute: the data's own value for a single variable, otherwise the text
    with all variables filled in. Missing data reads as ''."""
    if _VARIABLE.fullmatch(text):
        value = _looked_up(text[1:], data)
        return "" if value is None else value
    left = _MAX_FILLED_IN

    def filled_in(match: re.Match[str]) -> str:
        nonlocal left
        written = _written(_looked_up(match[0][1:], data))[:left]
        left -= len(written)
        return written

    return _VARIABLE.sub(filled_in, text)


def text_of(text: str, data: Mapping[str, Any]) -> str:
    """The same where a text is expected; of a list the first entry, '' for other values."""
    value = resolved(text, data)
    if isinstance(value, list):
        value = next(iter(value), "")
    return value if isinstance(value, str) else ""


def repeat_lengths(variables: Sequence[str], data: Mapping[str, Any]) -> tuple[int, ...]:
    """How often each Repeater of a config, with this variable, repeats its content for a task."""
    lengths = []
    for variable in variables:
        value = resolved(variable, data)
        lengths.append(min(len(value), _MAX_REPEATS) if isinstance(value, list) else 0)
    return tuple(lengths)


def repeated(root: Element, lengths: Sequence[int]) -> Element:
    """A copy of the config with the content of each Repeater repeated.

    Raises:
        LabelConfigError: a Repeater within another one, or one without a variable.
    """
    for tag in root.iter("repeater"):
        if any(inner is not tag for inner in tag.iter("repeater")):
            raise LabelConfigError("The labeling config has a <Repeater> within another one.")
        if not _VARIABLE.fullmatch(tag.get("on", "").strip()):
            raise LabelConfigError(
                'A <Repeater> of the labeling config has no variable in "on", as in on="$pages".'
            )
    root = deepcopy(root)
    repeaters = list(zip(list(root.iter("repeater")), lengths, strict=True))
    tags = characters = 0
    for tag, length in repeaters:
        inner = list(tag.iter())
        tags += length * len(inner)
        written = sum(len(value) for part in inner for value in part.attrib.values())
        characters += length * written
    if tags > MAX_TAGS or characters > _MAX_REPEATED:
        raise LabelConfigError(
            "The labeling config's <Repeater> makes more of the task's data than a page can show."
        )
    for tag, length in repeaters:
        index = tag.get("indexflag") or _INDEX
        tag[:] = [_numbered(child, index, str(number)) for number in range(length) for child in tag]
        tag.tag = "view"
    return root


def _numbered(tag: Element, index: str, number: str) -> Element:
    copy = deepcopy(tag)
    for part in copy.iter():
        for name, value in part.attrib.items():
            part.set(name, value.replace(index, number))
    return copy


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
        """Whether its regions are boxes."""
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
        """The brush control of this name."""
        return next((brush for brush in self.brushes if brush.name == name), None)

    def click(self, name: object) -> ClickControl | None:
        """The key point or box control of this name."""
        return next((control for control in self.prompts if control.name == name), None)

    def address(self, data: Mapping[str, Any]) -> str:
        """The picture's address in a task's data; '' if the task has none."""
        return text_of(self.value, data)

    def batch_phrase(self, data: Mapping[str, Any]) -> str:
        """The phrase in a task's data; '' if there is none."""
        return text_of(f"${self.phrase_key}", data).strip()


def labels_of(tag: Element) -> tuple[Label, ...]:
    """The labels of a control, each once; those without a value are left out. One that shows what
    another one is called is called by its alias, as in results."""
    labels: dict[str, Label] = {}
    children = list(tag.iter("label"))
    aliases = {child.get("alias", "").strip() for child in children}
    for child in children:
        shown, alias = child.get("value", ""), child.get("alias", "")
        written = alias if alias.strip() else shown
        value, alias = shown.strip(), alias.strip()
        again = labels.get(value)
        if alias not in ("", value) and (value in aliases or (again and again.alias != alias)):
            value = alias if value else ""
        if value:
            label = Label(
                value,
                alias,
                written if written != written.strip() else "",
                child.get("hotkey", "").strip(),
                "" if value == shown.strip() else shown.strip(),
            )
            labels.setdefault(label.value, label)
    return tuple(labels.values())


def tags_by_target(tags: list[Element]) -> dict[str, list[Element]]:
    """The named tags that work on each name."""
    linked: dict[str, list[Element]] = {}
    for tag in tags:
        for target in dict.fromkeys(targets_of(tag)) if tag.get("name") else ():
            linked.setdefault(target, []).append(tag)
    return linked


def targets_of(tag: Element) -> tuple[str, ...]:
    return tuple(part.strip() for part in tag.get("toname", "").split(",") if part.strip())


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
