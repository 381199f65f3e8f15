"""A project's labeling config: which control gets the mask, which one is a click.

Admins choose the names, so everything is found by tags, attributes and the links between them.
The config comes over the network: it is parsed without entities and without a document type.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal, TypeVar
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers.expat import ExpatError, ParserCreate

from backend.errors import LabelConfigError
from backend.label_studio.payloads import MAX_CONFIG_CHARACTERS
from backend.label_studio.task_data import repeat_lengths, repeated, resolved, text_of

Role = Literal["object", "add", "remove"]
_T = TypeVar("_T")

ADD_LABEL = "+ last object"
REMOVE_LABEL = "- last object"
DEFAULT_PHRASE_KEY = "phrase"

# Controls that take a mask. Where a label is in both, the brush gets it.
_BRUSHES = ("BrushLabels", "Brush")
_POLYGONS = ("PolygonLabels", "Polygon")

_MAX_DEPTH = 200
# Some data sets have 1,200 classes; each class stands in the config for brushes and for key points.
_MAX_TAGS = 12_000
_MAX_CONTROLS = 500
# A config without a match for any of its labels would otherwise have a warning for each.
_MAX_WARNINGS = 20
_STATUS_NAMES = ("status",)
_PHRASE_NAMES = ("phrase", "prompt", "text_prompt")


def normal_form(text: str) -> str:
    """Text in Unicode's form NFKC: one code for what looks the same."""
    return unicodedata.normalize("NFKC", text)


@dataclass(frozen=True)
class Label:
    """A class of the project. Results carry the alias where there is one, else the value."""

    value: str  # without surrounding blanks, as the alias is
    alias: str = ""
    verbatim: str = ""  # alias or value with the blanks that the config has around it; '' if none
    hotkey: str = field(default="", compare=False)

    @property
    def written(self) -> str:
        """How Label Studio writes this label into a result."""
        return self.verbatim or self.alias or self.value

    def named(self, text: str) -> bool:
        """Whether a result's text means this label; surrounding blanks do not count, nor how an
        accent or a wide letter is encoded."""
        text = text.strip()
        if not text or text in (self.value, self.alias):
            return bool(text)
        return normal_form(text) in (normal_form(self.value), normal_form(self.alias))


@dataclass(frozen=True)
class BrushControl:
    """Takes the mask: a brush, or polygons. ``labels`` is empty for a plain ``<Brush>`` or
    ``<Polygon>`` without ``<Labels>``."""

    name: str
    labels: tuple[Label, ...]
    labels_control: str = ""  # the <Labels> that name a plain <Brush>; they are items of their own
    outline: bool = False  # whether it is answered by polygons

    @property
    def type(self) -> str:
        """The result's type and the key of its labels: ``brushlabels``, ``polygon``, …"""
        tool = "polygon" if self.outline else "brush"
        return f"{tool}labels" if self.labels and not self.labels_control else tool

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
    type: Literal["keypointlabels", "keypoint", "rectanglelabels", "rectangle"] = "keypointlabels"

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
    def refines(self) -> bool:
        """Whether the config has labels that refine the last object."""
        controls = (*self.clicks, *self.boxes)
        return any(lab.role != "object" for control in controls for lab in control.labels)

    @property
    def adds(self) -> str:
        """How to add to the last object: the key of the label for it, else its name; '' without."""
        for control in (*self.clicks, *self.boxes):
            for label in control.labels:
                if label.role == "add":
                    return label.label.hotkey.upper() or label.label.value
        return ""

    @cached_property
    def labels(self) -> tuple[tuple[BrushControl, Label], ...]:
        """Every class that a mask on this image can have, each once, brushes first."""
        return _classes(self.brushes)

    def brush(self, name: str) -> BrushControl | None:
        """The brush control of this name."""
        return next((brush for brush in self.brushes if brush.name == name), None)

    def click(self, name: object) -> ClickControl | None:
        """The key point or box control of this name."""
        controls = (*self.clicks, *self.boxes)
        return next((control for control in controls if control.name == name), None)

    def address(self, data: Mapping[str, Any]) -> str:
        """The picture's address in a task's data; '' if the task has none."""
        return text_of(self.value, data)

    def batch_phrase(self, data: Mapping[str, Any]) -> str:
        """The phrase in a task's data; '' if there is none."""
        value = resolved(f"${self.phrase_key}", data)
        if isinstance(value, list):
            value = next((part for part in value if isinstance(part, str)), "")
        return value.strip() if isinstance(value, str) else ""


@dataclass(frozen=True)
class LabelConfig:
    """A labeling config that this backend can work with."""

    images: tuple[ImageControls, ...]
    warnings: tuple[str, ...] = ()  # shown by ``phraseclick doctor``
    # What it was parsed from, where a Repeater makes its controls depend on a task's data.
    template: tuple[str, str, str] | None = None

    @classmethod
    def parse(
        cls, xml: str, *, add_label: str = ADD_LABEL, remove_label: str = REMOVE_LABEL
    ) -> "LabelConfig":
        """Read a config, with a cache; of a Repeater, the first repetition.

        Raises:
            LabelConfigError: it cannot work, with a sentence for the admin.
        """
        return _parse(xml, add_label, remove_label, None)

    def of(self, data: object) -> "LabelConfig":
        """The config for a task with this data: itself, unless it has a Repeater."""
        if self.template is None or not isinstance(data, Mapping):
            return self
        xml, add_label, remove_label = self.template
        lengths = repeat_lengths(_tree(xml), data)
        return _parse(xml, add_label, remove_label, lengths) if any(lengths) else self

    def image_of(self, control: object, to_name: object = None) -> ImageControls | None:
        """The image that a control works on."""
        for image in self.images:
            clicks = (*image.clicks, *image.boxes)
            named = (*(b.name for b in image.brushes), *(c.name for c in clicks))
            if control in (*named, image.phrase, image.status) and to_name in (None, image.name):
                return image
        return None


def _names_of(labels: Iterable[tuple[Label, _T]]) -> dict[str, _T]:
    """What results may call each label; the first label of a name counts."""
    found: dict[str, _T] = {}
    for label, meant in labels:
        for name in (label.value, label.alias):
            if name:
                found.setdefault(normal_form(name), meant)
    return found


def status_control(xml: str) -> tuple[str, str]:
    """Names of the status line and its image in a config that this backend refuses, to say why;
    two empty ones where it has none."""
    try:
        tags = list(_tree(xml).iter())
    except LabelConfigError:
        return "", ""
    for tag in tags:
        name = tag.get("name", "")
        if tag.tag == "Image" and name:
            status = _status([one for one in tags if name in _targets(one)])
            if status:
                return status, name
    return "", ""


@lru_cache(maxsize=64)
def _parse(
    xml: str, add_label: str, remove_label: str, lengths: tuple[int, ...] | None
) -> LabelConfig:
    root = _tree(xml)
    repeats = sum(1 for _ in root.iter("Repeater"))
    tags = list(repeated(root, lengths or (1,) * repeats).iter())
    if len(tags) > _MAX_TAGS or sum("toName" in tag.attrib for tag in tags) > _MAX_CONTROLS:
        raise LabelConfigError(
            f"The labeling config has more than {_MAX_TAGS:,} tags or {_MAX_CONTROLS} controls."
        )
    warnings: list[str] = []
    pictures = {tag.get("name", ""): tag for tag in tags if tag.tag == "Image"}
    if not pictures:
        raise LabelConfigError(
            "The labeling config has no <Image>; this backend works on pictures."
        )
    _check_brush_targets(tags, pictures)
    images = []
    for name, tag in pictures.items():
        image = _image(name, tag, tags, (add_label, remove_label), warnings)
        if image is not None:
            images.append(image)
    if not images:
        raise LabelConfigError(_refusal(tags, pictures))
    if len(warnings) > _MAX_WARNINGS:
        more = len(warnings) - _MAX_WARNINGS
        warnings[_MAX_WARNINGS:] = [f"There are {more} further warnings."]
    template = (xml, add_label, remove_label) if repeats else None
    return LabelConfig(tuple(images), tuple(warnings), template)


def _refusal(tags: list[Element], pictures: Mapping[str, Element]) -> str:
    """Why no image gets a mask."""
    for name, tag in pictures.items():
        if tag.get("valueList") and not tag.get("value", "").strip():
            return (
                f"The image '{name}' shows several pictures of a task by valueList, which this "
                'backend does not support: use value="$…" with one picture, or a <Repeater>.'
            )
    for tag in tags:
        if (
            tag.tag in ("BrushLabels", "PolygonLabels", "Labels")
            and _from_data(tag)
            and not _labels(tag)
        ):
            return (
                f"The labels of '{tag.get('name')}' come from the task's data "
                f"({tag.get('value', '').strip()}), which this backend does not support: "
                "write them into the labeling config as <Label>."
            )
    return (
        "No <BrushLabels>, <Brush> or <PolygonLabels> points to an image, so a mask has nowhere to "
        "go. "
        'Add <BrushLabels name="brush" toName="…"> with the project\'s labels.'
    )


def _from_data(tag: Element) -> bool:
    return tag.get("value", "").strip().startswith("$")


def _image(
    name: str, tag: Element, tags: list[Element], refine: tuple[str, str], warnings: list[str]
) -> ImageControls | None:
    value = tag.get("value", "").strip()
    if not value:
        where = " in a valueList, which this backend does not read" if tag.get("valueList") else ""
        warnings.append(f"The image '{name}' has no value{where}.")
        return None
    mine = [t for t in tags if name in _targets(t) and t.get("name")]
    brushes = _brushes(mine, warnings)
    if not brushes:
        warnings.append(f"No brush or polygons point to the image '{name}': it gets no masks.")
        return None
    clicks = _clicks(mine, brushes, refine, warnings)
    boxes = _boxes(mine, brushes, refine)
    status = _status(mine)
    phrase, phrase_key = _phrase(mine, status, warnings)
    if not any(control.smart for control in clicks) and not phrase and not boxes:
        warnings.append(
            f"The image '{name}' has neither smart key points or boxes nor a phrase: only batch "
            "predictions will arrive."
        )
    if not status:
        warnings.append(
            f"The image '{name}' has no text area 'status': annotators see no message, "
            "not even if something fails."
        )
    return ImageControls(name, value, brushes, clicks, phrase, status, phrase_key, boxes)


def _check_brush_targets(tags: list[Element], pictures: Mapping[str, Element]) -> None:
    for tag in tags:
        if tag.tag in (*_BRUSHES, *_POLYGONS) and tag.get("name"):
            for target in _targets(tag):
                if target not in pictures:
                    raise LabelConfigError(
                        f"The control '{tag.get('name')}' points to '{target}', "
                        "which is no <Image>. Set its toName to the name of the image."
                    )


def _brushes(mine: list[Element], warnings: list[str]) -> tuple[BrushControl, ...]:
    brushes = []
    shared = _shared_labels(mine)
    drawn = [tag for kind in (_BRUSHES, _POLYGONS) for tag in mine if tag.tag in kind]
    for tag in drawn:
        name, outline = tag.get("name", ""), tag.tag in _POLYGONS
        if not tag.tag.endswith("Labels"):
            labels_control, labels = shared
            brushes.append(BrushControl(name, labels, labels_control, outline))
        else:
            labels = _labels(tag)
            if labels:
                brushes.append(BrushControl(name, labels, outline=outline))
            else:
                warnings.append(
                    f"The control '{tag.get('name')}' has no <Label> in the config"
                    + (" (labels from a task's data are not supported)" * _from_data(tag))
                    + "; it gets no masks."
                )
    return tuple(brushes)


def _clicks(
    mine: list[Element],
    brushes: tuple[BrushControl, ...],
    refine: tuple[str, str],
    warnings: list[str],
) -> tuple[ClickControl, ...]:
    controls = []
    for tag in mine:
        if tag.tag not in ("KeyPointLabels", "KeyPoint"):
            continue
        # As in the page: smart unless the config says otherwise, and always where smartOnly is set.
        name = tag.get("name", "")
        smart = _true(tag.get("smart"), True) or _true(tag.get("smartOnly"), False)
        if not smart:
            warnings.append(
                f"The key points '{name}' have smart=\"false\": clicking sends no request."
            )
        labelled = tag.tag == "KeyPointLabels"
        labels = _labels(tag) if labelled else _shared_labels(mine)[1]
        controls.append(
            ClickControl(
                name,
                _click_labels(labels, brushes, refine, warnings),
                smart,
                "keypointlabels" if labelled else "keypoint",
            )
        )
    return tuple(controls)


def _boxes(
    mine: list[Element], brushes: tuple[BrushControl, ...], refine: tuple[str, str]
) -> tuple[ClickControl, ...]:
    """Smart rectangles. Rectangles are smart without saying so; those whose labels no brush has
    are labels of their own, and no prompts."""
    controls = []
    for tag in mine:
        if tag.tag not in ("RectangleLabels", "Rectangle"):
            continue
        if not (_true(tag.get("smart"), True) or _true(tag.get("smartOnly"), False)):
            continue
        labelled = tag.tag == "RectangleLabels"
        labels = _labels(tag) if labelled else _shared_labels(mine)[1]
        read = _click_labels(labels, brushes, refine, [])
        if not tag.get("smart") and not any(lab.brush_label for lab in read):
            continue
        kind: Literal["rectanglelabels", "rectangle"] = (
            "rectanglelabels" if labelled else "rectangle"
        )
        controls.append(ClickControl(tag.get("name", ""), read, True, kind))
    return tuple(controls)


def _shared_labels(mine: list[Element]) -> tuple[str, tuple[Label, ...]]:
    """The ``<Labels>`` control that names the regions of plain tools, and its labels."""
    for tag in mine:
        if tag.tag == "Labels" and (labels := _labels(tag)):
            return tag.get("name", ""), labels
    return "", ()


def _click_labels(
    labels: tuple[Label, ...],
    brushes: tuple[BrushControl, ...],
    refine: tuple[str, str],
    warnings: list[str],
) -> tuple[ClickLabel, ...]:
    roles = [_role(label, refine) for label in labels]
    places = {
        label.value: at
        for at, label in enumerate(
            label for label, role in zip(labels, roles, strict=True) if role == "object"
        )
    }
    classes = list(_classes(brushes))
    counterparts = _Counterparts(classes)
    read = []
    for label, role in zip(labels, roles, strict=True):
        if role != "object":
            read.append(ClickLabel(label, role))
            continue
        counterpart = counterparts.of(label)
        # One label beside one other says nothing: a label is not taken for being the only one.
        if counterpart is None and len(places) == len(classes) > 1:
            counterpart = classes[places[label.value]]
            warnings.append(
                f"The key point label '{label.value}' has no brush label of that name; "
                f"'{counterpart[1].value}' at the same place is taken."
            )
        if counterpart is None and classes:
            warnings.append(
                f"The key point label '{label.value}' has no brush label of that name: "
                "its masks get the label used last, or none."
            )
        brush = counterpart[0] if counterpart else brushes[0]
        read.append(ClickLabel(label, role, brush.name, counterpart[1] if counterpart else None))
    return tuple(read)


def _classes(brushes: tuple[BrushControl, ...]) -> tuple[tuple[BrushControl, Label], ...]:
    """Labels, each at the first control that has it."""
    first: dict[str, tuple[BrushControl, Label]] = {}
    for brush in brushes:
        for label in brush.labels:
            first.setdefault(label.value, (brush, label))
    return tuple(first.values())


class _Counterparts:
    """The brush label that a key point label means: by value, by alias, then ignoring case.

    Of several the first counts, as they stand in the config.
    """

    def __init__(self, classes: list[tuple[BrushControl, Label]]) -> None:
        self._values: dict[str, tuple[int, tuple[BrushControl, Label]]] = {}
        self._aliases: dict[str, tuple[int, tuple[BrushControl, Label]]] = {}
        self._folded: dict[str, tuple[int, tuple[BrushControl, Label]]] = {}
        for at, (brush, label) in enumerate(classes):
            entry = (at, (brush, label))
            self._values.setdefault(label.value, entry)
            self._folded.setdefault(label.value.casefold(), entry)
            if label.alias:
                self._aliases.setdefault(label.alias, entry)

    def of(self, label: Label) -> tuple[BrushControl, Label] | None:
        """The counterpart of a key point label."""
        by_alias = [
            self._aliases[name] for name in (label.alias, label.value) if name in self._aliases
        ]
        entry = (
            self._values.get(label.value)
            or min(by_alias, key=lambda found: found[0], default=None)
            or (self._values.get(label.alias) if label.alias else None)
            or self._folded.get(label.value.casefold())
        )
        return entry[1] if entry else None


def _role(label: Label, refine: tuple[str, str]) -> Role:
    names = {label.value.strip().casefold(), label.alias.strip().casefold()}
    add, remove = (name.strip().casefold() for name in refine)
    if add and add in names:
        return "add"
    return "remove" if remove and remove in names else "object"


def _status(mine: list[Element]) -> str:
    """The text area of that name, else one that is not editable."""
    areas = [tag for tag in mine if tag.tag == "TextArea"]
    for tag in areas:
        if tag.get("name", "").casefold() in _STATUS_NAMES:
            return tag.get("name", "")
    for tag in areas:
        if not _true(tag.get("editable"), True) and not _true(tag.get("perRegion"), False):
            return tag.get("name", "")
    return ""


def _phrase(mine: list[Element], status: str, warnings: list[str]) -> tuple[str, str]:
    """The text area of that name, else the only one that is smart and is not the status line."""
    areas = [
        tag
        for tag in mine
        if tag.tag == "TextArea"
        and tag.get("name") != status
        and not _true(tag.get("perRegion"), False)
        and _true(tag.get("smart"), True)
    ]
    named = [tag for tag in areas if tag.get("name", "").casefold() in _PHRASE_NAMES]
    chosen = (named or areas)[0] if named or len(areas) == 1 else None
    if chosen is None:
        if areas:
            names = ", ".join(f"'{tag.get('name')}'" for tag in areas)
            warnings.append(
                f"Several text areas could be the phrase ({names}); name one of them 'phrase'."
            )
        return "", DEFAULT_PHRASE_KEY
    value = chosen.get("value", "").strip()
    return chosen.get("name", ""), value[1:] if value[:1] == "$" and value[1:] else (
        DEFAULT_PHRASE_KEY
    )


def _labels(tag: Element) -> tuple[Label, ...]:
    """The labels of a control, each once; those without a value are left out."""
    labels: dict[str, Label] = {}
    for child in tag.iter("Label"):
        value, alias = child.get("value", ""), child.get("alias", "")
        written = alias if alias.strip() else value
        if value.strip():
            label = Label(
                value.strip(),
                alias.strip(),
                written if written != written.strip() else "",
                child.get("hotkey", "").strip(),
            )
            labels.setdefault(label.value, label)
    return tuple(labels.values())


def _targets(tag: Element) -> tuple[str, ...]:
    return tuple(part.strip() for part in tag.get("toName", "").split(",") if part.strip())


def _true(raw: str | None, default: bool) -> bool:
    return default if raw is None or not raw.strip() else raw.strip().casefold() == "true"


def _tree(xml: str) -> Element:
    """Parse without document type, entities and excessive depth."""
    if len(xml) > MAX_CONFIG_CHARACTERS:
        raise LabelConfigError(
            f"The labeling config is longer than {MAX_CONFIG_CHARACTERS:,} characters."
        )
    if not xml.strip():
        raise LabelConfigError("The labeling config is empty.")
    builder, parser, depth = TreeBuilder(), ParserCreate("utf-8"), 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise LabelConfigError(f"The labeling config is nested deeper than {_MAX_DEPTH} tags.")
        builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    def doctype(*_: object) -> None:
        raise LabelConfigError("The labeling config has a document type, which is not allowed.")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = doctype
    try:
        # This is text already, so the declared encoding does not matter.
        parser.Parse(re.sub(r"^\s*<\?xml[^>]*\?>", "", xml).encode("utf-8", "replace"), True)
        return builder.close()
    except (ExpatError, AssertionError, ValueError) as error:
        raise LabelConfigError(f"The labeling config is not valid XML: {error}.") from None
