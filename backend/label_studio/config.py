"""A project's labeling config: which control gets the mask, which one is a click.

Admins choose the names, so everything is found by tags, attributes and the links between them.
The config comes over the network: it is parsed without entities and without a document type.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers.expat import ExpatError, ParserCreate

from backend.errors import LabelConfigError

Role = Literal["object", "add", "remove"]

ADD_LABEL = "+ last object"
REMOVE_LABEL = "- last object"
DEFAULT_PHRASE_KEY = "phrase"

_MAX_CHARACTERS = 1_000_000
_MAX_DEPTH = 200
_STATUS_NAMES = ("status",)
_PHRASE_NAMES = ("phrase", "prompt", "text_prompt")


@dataclass(frozen=True)
class Label:
    """A class of the project. Results carry the alias where there is one, else the value."""

    value: str  # without surrounding blanks, as the alias is
    alias: str = ""
    verbatim: str = ""  # alias or value with the blanks that the config has around it; '' if none

    @property
    def written(self) -> str:
        """How Label Studio writes this label into a result."""
        return self.verbatim or self.alias or self.value

    def named(self, text: str) -> bool:
        """Whether a result's text means this label; surrounding blanks do not count."""
        text = text.strip()
        return text in (self.value, self.alias) and bool(text)


@dataclass(frozen=True)
class BrushControl:
    """Takes the mask. ``labels`` is empty for a plain ``<Brush>`` without ``<Labels>``."""

    name: str
    labels: tuple[Label, ...]
    labels_control: str = ""  # the <Labels> that name a plain <Brush>; they are items of their own

    @property
    def type(self) -> str:
        """The result's type and the key of its labels: ``brushlabels`` or ``brush``."""
        return "brushlabels" if self.labels and not self.labels_control else "brush"

    def label(self, text: str | None) -> Label | None:
        """The label that a result's text means."""
        return next((lab for lab in self.labels if text and lab.named(text)), None)


@dataclass(frozen=True)
class ClickLabel:
    """A key point label: a class, or a label that refines the last object."""

    label: Label
    role: Role
    brush: str = ""  # name of the brush control that gets its mask; '' for refine labels
    brush_label: Label | None = None  # None: plain brush, or a label without counterpart


@dataclass(frozen=True)
class ClickControl:
    """Key points that are clicks. ``labels`` is empty for a plain ``<KeyPoint>``."""

    name: str
    labels: tuple[ClickLabel, ...]
    smart: bool
    type: Literal["keypointlabels", "keypoint"] = "keypointlabels"

    def label(self, text: str | None) -> ClickLabel | None:
        """The click label that a result's text means."""
        return next((lab for lab in self.labels if text and lab.label.named(text)), None)


@dataclass(frozen=True)
class ImageControls:
    """One image of the config and everything that points to it."""

    name: str
    value: str  # the tag's value as written: "$image" or an address
    brushes: tuple[BrushControl, ...]
    clicks: tuple[ClickControl, ...]
    phrase: str = ""  # name of the text area for the phrase; '' if there is none
    status: str = ""  # name of the text area for the status line; '' if there is none
    phrase_key: str = DEFAULT_PHRASE_KEY  # key of a task's data with a phrase for the batch

    @property
    def data_key(self) -> str:
        """``image`` for ``$image``; '' for a fixed address."""
        return self.value[1:] if self.value.startswith("$") else ""

    @property
    def refines(self) -> bool:
        """Whether the config has labels that refine the last object."""
        return any(lab.role != "object" for control in self.clicks for lab in control.labels)

    @property
    def labels(self) -> tuple[tuple[BrushControl, Label], ...]:
        """Every class that a mask on this image can have, in the config's order."""
        return tuple((brush, label) for brush in self.brushes for label in brush.labels)

    def brush(self, name: str) -> BrushControl | None:
        """The brush control of this name."""
        return next((brush for brush in self.brushes if brush.name == name), None)

    def click(self, name: object) -> ClickControl | None:
        """The key point control of this name."""
        return next((control for control in self.clicks if control.name == name), None)

    def address(self, data: Mapping[str, Any]) -> str:
        """The picture's address in a task's data; '' if the task has none."""
        if not self.data_key:
            return self.value
        value = data.get(self.data_key)
        return value if isinstance(value, str) else ""

    def batch_phrase(self, data: Mapping[str, Any]) -> str:
        """The phrase in a task's data; '' if there is none."""
        value = data.get(self.phrase_key)
        if isinstance(value, list):
            value = next((part for part in value if isinstance(part, str)), "")
        return value.strip() if isinstance(value, str) else ""


@dataclass(frozen=True)
class LabelConfig:
    """A labeling config that this backend can work with."""

    images: tuple[ImageControls, ...]
    warnings: tuple[str, ...] = ()  # shown by ``phraseclick doctor``

    @classmethod
    def parse(
        cls, xml: str, *, add_label: str = ADD_LABEL, remove_label: str = REMOVE_LABEL
    ) -> "LabelConfig":
        """Read a config, with a cache. Raises LabelConfigError."""
        return _parse(xml, add_label, remove_label)

    def image_of(self, control: object, to_name: object = None) -> ImageControls | None:
        """The image that a control works on."""
        for image in self.images:
            named = (*(b.name for b in image.brushes), *(c.name for c in image.clicks))
            if control in (*named, image.phrase, image.status) and to_name in (None, image.name):
                return image
        return None


@lru_cache(maxsize=256)
def _parse(xml: str, add_label: str, remove_label: str) -> LabelConfig:
    tags = list(_tree(xml).iter())
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
        raise LabelConfigError(
            "No <BrushLabels> or <Brush> points to an image, so a mask has nowhere to go. "
            'Add <BrushLabels name="brush" toName="…"> with the project\'s labels.'
        )
    return LabelConfig(tuple(images), tuple(warnings))


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
        warnings.append(f"No brush control points to the image '{name}': it gets no masks.")
        return None
    clicks = _clicks(mine, brushes, refine, warnings)
    status = _status(mine)
    phrase, phrase_key = _phrase(mine, status, warnings)
    if not any(control.smart for control in clicks) and not phrase:
        warnings.append(
            f"The image '{name}' has neither smart key points nor a phrase: only batch "
            "predictions will arrive."
        )
    if not status:
        warnings.append(
            f"The image '{name}' has no text area 'status': annotators see no message, "
            "not even if something fails."
        )
    return ImageControls(name, value, brushes, clicks, phrase, status, phrase_key)


def _check_brush_targets(tags: list[Element], pictures: Mapping[str, Element]) -> None:
    for tag in tags:
        if tag.tag in ("BrushLabels", "Brush") and tag.get("name"):
            for target in _targets(tag):
                if target not in pictures:
                    raise LabelConfigError(
                        f"The brush control '{tag.get('name')}' points to '{target}', "
                        "which is no <Image>. Set its toName to the name of the image."
                    )


def _brushes(mine: list[Element], warnings: list[str]) -> tuple[BrushControl, ...]:
    brushes = []
    shared = _shared_labels(mine)
    for tag in mine:
        if tag.tag == "Brush":
            labels_control, labels = shared
            brushes.append(BrushControl(tag.get("name", ""), labels, labels_control))
        elif tag.tag == "BrushLabels":
            labels = _labels(tag)
            if labels:
                brushes.append(BrushControl(tag.get("name", ""), labels))
            else:
                warnings.append(
                    f"The brush control '{tag.get('name')}' has no <Label> in the config "
                    "(labels from a task's data are not read); it gets no masks."
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
        name, smart = tag.get("name", ""), _true(tag.get("smart"), False)
        if not smart:
            warnings.append(
                f"The key points '{name}' lack smart=\"true\": clicking sends no request."
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
    objects = [label for label, role in zip(labels, roles, strict=True) if role == "object"]
    classes = [(brush, label) for brush in brushes for label in brush.labels]
    read = []
    for label, role in zip(labels, roles, strict=True):
        if role != "object":
            read.append(ClickLabel(label, role))
            continue
        counterpart = _counterpart(label, classes)
        if counterpart is None and len(objects) == len(classes):
            counterpart = classes[objects.index(label)]
            warnings.append(
                f"The key point label '{label.value}' has no brush label of that name; "
                f"'{counterpart[1].value}' at the same place is taken."
            )
        if counterpart is None and len(classes) == 1:
            counterpart = classes[0]
        if counterpart is None and classes:
            warnings.append(
                f"The key point label '{label.value}' has no brush label of that name: "
                "its masks get the label used last."
            )
        brush = counterpart[0] if counterpart else brushes[0]
        read.append(ClickLabel(label, role, brush.name, counterpart[1] if counterpart else None))
    return tuple(read)


def _counterpart(
    label: Label, classes: list[tuple[BrushControl, Label]]
) -> tuple[BrushControl, Label] | None:
    """The brush label that a key point label means: by value, by alias, then ignoring case."""
    ways = (
        lambda other: other.value == label.value,
        lambda other: bool(other.alias) and other.alias in (label.alias, label.value),
        lambda other: bool(label.alias) and other.value == label.alias,
        lambda other: other.value.casefold() == label.value.casefold(),
    )
    for same in ways:
        for brush, other in classes:
            if same(other):
                return brush, other
    return None


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
                value.strip(), alias.strip(), written if written != written.strip() else ""
            )
            labels.setdefault(label.value, label)
    return tuple(labels.values())


def _targets(tag: Element) -> tuple[str, ...]:
    return tuple(part.strip() for part in tag.get("toName", "").split(",") if part.strip())


def _true(raw: str | None, default: bool) -> bool:
    return default if raw is None or not raw.strip() else raw.strip().casefold() == "true"


def _tree(xml: str) -> Element:
    """Parse without document type, entities and excessive depth."""
    if len(xml) > _MAX_CHARACTERS:
        raise LabelConfigError("The labeling config is longer than a million characters.")
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
