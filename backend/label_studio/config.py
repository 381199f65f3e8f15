"""Reads a project's labeling config: which control gets the mask, which one is a click.

Admins choose the names, so everything is found by tags, attributes and the links between them.
``config_xml`` reads the tags; ``controls`` holds what they say.
"""

import re
import threading
from collections.abc import Hashable, Mapping
from functools import partial
from itertools import islice
from operator import attrgetter
from xml.etree.ElementTree import Element

from cachetools import LRUCache, cached

from backend.errors import LabelConfigError
from backend.label_studio.config_xml import (
    MAX_TAGS,
    Turns,
    labels_of,
    linked_tags,
    repeated,
    tags_by_target,
    targets_of,
    tree_of,
)
from backend.label_studio.controls import (
    DEFAULT_PHRASE_KEY,
    BrushControl,
    ClickControl,
    ClickLabel,
    ImageControls,
    Label,
    LabelConfig,
    Role,
    Tool,
    normal_form,
    object_classes,
)
from backend.settings import MIB

ADD_LABEL = "+ last object"
REMOVE_LABEL = "- last object"

# Controls that take a mask, and their tool. Where a label is in several, the first gets it.
_MASK_TOOLS: dict[str, Tool] = {
    "brushlabels": "brush",
    "brush": "brush",
    "bitmasklabels": "bitmask",
    "bitmask": "bitmask",
    "polygonlabels": "polygon",
    "polygon": "polygon",
    "magicwand": "magicwand",
}
_STATUS_NAMES = ("status",)
_PHRASE_NAMES = ("phrase", "prompt", "text_prompt")

_MAX_CONTROLS = 500
_MAX_LINKS = 50_000
# A config without a match for any of its labels would otherwise have a warning for each.
_MAX_WARNINGS = 20
_KEPT_BYTES = 64 * MIB  # of parsed configs
_TAG_BYTES = 400
_LONG = 30_000  # characters; shorter ones are parsed within milliseconds, without taking turns
_turns = Turns()
_STATUS_TAGS = re.compile(r"<((?:image|textarea)\b[^<>]*[^<>/])/?>", re.IGNORECASE)

_Class = tuple[BrushControl, Label]


def status_control(xml: str) -> tuple[str, str]:
    """Names of the status line and its image in a config that this backend refuses, to say why;
    two empty ones where it has none. Of a long config, no other tags are read."""
    if len(xml) >= _LONG:
        read = islice(_STATUS_TAGS.finditer(xml), _MAX_CONTROLS)
        xml = "".join(["<View>", *(f"<{tag[1]}/>" for tag in read), "</View>"])
    try:
        tags = linked_tags(tree_of(xml))
    except LabelConfigError:
        return "", ""
    linked = tags_by_target(tags)
    for tag in tags:
        name = tag.get("name", "")
        if tag.tag == "image" and name:
            status = _status_area(linked.get(name, []))
            if status:
                return status, name
    return "", ""


@cached(
    LRUCache[Hashable, LabelConfig](_KEPT_BYTES, attrgetter("size")),
    condition=threading.Condition(),
)
def parse_config(
    xml: str,
    *,
    add_label: str = ADD_LABEL,
    remove_label: str = REMOVE_LABEL,
    lengths: tuple[int, ...] | None = None,
) -> LabelConfig:
    """Read a config, with a cache.

    lengths: how often each Repeater repeats its content; None: once.

    Raises:
        LabelConfigError, TooManyError: with a sentence for the admin.
    """
    refine = add_label, remove_label
    if len(xml) * max(lengths or (1,)) < _LONG:
        return _parsed(xml, refine, lengths)
    with _turns.take("long labeling configs that are new to this server"):
        return _parsed(xml, refine, lengths)


def _parsed(xml: str, refine: tuple[str, str], lengths: tuple[int, ...] | None) -> LabelConfig:
    root = tree_of(xml)
    variables = tuple(tag.get("on", "").strip() for tag in root.iter("repeater"))
    tags = linked_tags(repeated(root, lengths or (1,) * len(variables)))
    linked = tags_by_target(tags)
    if len(tags) > MAX_TAGS or max(map(len, linked.values()), default=0) > _MAX_CONTROLS:
        raise LabelConfigError(
            f"The labeling config has more than {MAX_TAGS:,} tags, or {_MAX_CONTROLS} controls of "
            "one image."
        )
    links = _links(linked)
    if links > _MAX_LINKS:
        raise LabelConfigError(
            "The labeling config links too many controls, with their labels, to its images."
        )
    warnings: list[str] = []
    pictures = {tag.get("name", ""): tag for tag in tags if tag.tag == "image"}
    if not pictures:
        raise LabelConfigError(
            "The labeling config has no <Image>; this backend works on pictures."
        )
    for tag in tags:
        if tag.tag in _MASK_TOOLS and tag.get("name"):
            for target in targets_of(tag):
                if target not in pictures:
                    raise LabelConfigError(
                        f"The control '{tag.get('name')}' points to '{target}', "
                        "which is no <Image>. Set its toName to the name of the image."
                    )
    read = (
        _Reader(linked.get(name, []), refine, warnings).image(name, tag)
        for name, tag in pictures.items()
    )
    images = tuple(image for image in read if image is not None)
    if not images:
        raise LabelConfigError(_refusal(tags, pictures))
    if not any(image.status for image in images):
        warnings.append(
            "The labeling config has no text area 'status': annotators see no message, "
            "not even if something fails."
        )
    if len(warnings) > _MAX_WARNINGS:
        more = len(warnings) - _MAX_WARNINGS
        warnings[_MAX_WARNINGS:] = [f"There are {more} further warnings."]
    size = len(xml) + _TAG_BYTES * (links + len(tags))
    size += sum(len(value) for tag in tags for value in tag.attrib.values())
    add, remove = refine
    again = partial(parse_config, xml, add_label=add, remove_label=remove) if variables else None
    return LabelConfig(images, tuple(warnings), variables, again, size)


def _links(linked: Mapping[str, list[Element]]) -> int:
    """How many labels are read: those of each control, for each image that it works on. A plain
    tool has those of ``<Labels>``."""
    controls = {tag for mine in linked.values() for tag in mine}
    sizes = {tag: sum(1 for _ in tag.iter()) for tag in controls}
    total = 0
    for mine in linked.values():
        shared = max((sizes[tag] for tag in mine if tag.tag == "labels"), default=0)
        total += sum(sizes[tag] + shared * (not tag.tag.endswith("labels")) for tag in mine)
    return total


def _refusal(tags: list[Element], pictures: Mapping[str, Element]) -> str:
    """Why no image gets a mask."""
    for name, tag in pictures.items():
        if tag.get("valuelist"):
            return (
                f"The image '{name}' shows several pictures of a task by valueList, which this "
                'backend does not support: use value="$…" with one picture, or a <Repeater>.'
            )
    for tag in tags:
        if tag.tag in ("labels", *_MASK_TOOLS) and _from_data(tag) and not labels_of(tag):
            return (
                f"The labels of '{tag.get('name')}' come from the task's data "
                f"({tag.get('value', '').strip()}), which this backend does not support: "
                "write them into the labeling config as <Label>."
            )
    return (
        "No <BrushLabels>, <BitmaskLabels> or <PolygonLabels> points to an image, so a mask has "
        "nowhere to go. "
        'Add <BrushLabels name="brush" toName="…"> with the project\'s labels.'
    )


class _Reader:
    """Reads the controls of one image."""

    def __init__(self, mine: list[Element], refine: tuple[str, str], warnings: list[str]) -> None:
        """mine: the tags that work on the image."""
        self._mine, self._refine, self._warnings = mine, refine, warnings
        # The <Labels> control that names the regions of plain tools, and its labels.
        shared = ((tag.get("name", ""), labels_of(tag)) for tag in mine if tag.tag == "labels")
        self._labels_control, self._shared = next((one for one in shared if one[1]), ("", ()))
        self._brushes = self._read_brushes()
        self._classes = object_classes(self._brushes)
        # Classes by alias, by text, and by text without case; of several the first counts.
        self._aliases: dict[str, _Class] = {}
        self._texts: dict[str, _Class] = {}
        self._folded: dict[str, _Class] = {}
        for brush, label in reversed(self._classes):
            text = normal_form(label.text)
            self._texts[text] = self._folded[text.casefold()] = brush, label
            self._aliases[normal_form(label.alias)] = brush, label
        self._aliases.pop("", None)

    def image(self, name: str, tag: Element) -> ImageControls | None:
        """What an <Image> is for; None where it gets no masks, as a warning says."""
        value = tag.get("value", "").strip()
        # The page shows the pictures of a valueList also where there is a value.
        if not value or tag.get("valuelist"):
            unread = " but a valueList, which this backend does not read"
            self._warn(f"The image '{name}' has no value{unread if tag.get('valuelist') else ''}.")
            return None
        if not self._brushes:
            self._warn(f"No brush or polygons point to the image '{name}': it gets no masks.")
            return None
        clicks, boxes = self._clicks(), self._boxes()
        status = _status_area(self._mine)
        phrase, phrase_key = self._phrase(status)
        if not any(control.smart for control in clicks) and not phrase and not boxes:
            self._warn(
                f"The image '{name}' has neither smart key points or boxes nor a phrase: only "
                "batch predictions will arrive."
            )
        return ImageControls(name, value, self._brushes, clicks, phrase, status, phrase_key, boxes)

    def _warn(self, sentence: str) -> None:
        self._warnings.append(sentence)

    def _read_brushes(self) -> tuple[BrushControl, ...]:
        """What takes masks. Labels that refine, where a brush has them too, are no classes."""
        brushes = []
        order = list(dict.fromkeys(_MASK_TOOLS.values()))
        tags = [tag for tag in self._mine if tag.tag in _MASK_TOOLS]
        for tag in sorted(tags, key=lambda tag: order.index(_MASK_TOOLS[tag.tag])):
            name, own = tag.get("name", ""), tag.tag.endswith("labels")
            classes = tuple(one for one in self._labels_for(tag) if self._role(one) == "object")
            if classes or not own:
                control = "" if own else self._labels_control
                brushes.append(BrushControl(name, classes, control, _MASK_TOOLS[tag.tag]))
            else:
                dynamic = " (labels from a task's data are not supported)"
                self._warn(
                    f"The control '{name}' has no <Label> in the config"
                    f"{dynamic if _from_data(tag) else ''}; it gets no masks."
                )
        return tuple(brushes)

    def _clicks(self) -> tuple[ClickControl, ...]:
        controls = []
        for tag in self._mine:
            if tag.tag in ("keypointlabels", "keypoint"):
                name, smart = tag.get("name", ""), _smart(tag)
                if not smart:
                    self._warn(
                        f"The key points '{name}' have smart=\"false\": clicking sends no request."
                    )
                labels = self._click_labels(tag, self._warnings)
                controls.append(ClickControl(name, labels, smart, tag.tag))
        return tuple(controls)

    def _boxes(self) -> tuple[ClickControl, ...]:
        """Smart rectangles. Rectangles are smart by default, so those whose labels no brush has are
        labels of their own, and no prompts."""
        controls = []
        for tag in self._mine:
            if tag.tag in ("rectanglelabels", "rectangle") and _smart(tag):
                labels = self._click_labels(tag, [])
                if tag.get("smart") or any(label.brush_label for label in labels):
                    controls.append(ClickControl(tag.get("name", ""), labels, True, tag.tag))
        return tuple(controls)

    def _labels_for(self, tag: Element) -> tuple[Label, ...]:
        """The control's own labels; those of ``<Labels>`` for a plain tool."""
        return labels_of(tag) if tag.tag.endswith("labels") else self._shared

    def _click_labels(self, tag: Element, warnings: list[str]) -> tuple[ClickLabel, ...]:
        labels = self._labels_for(tag)
        roles = [self._role(label) for label in labels]
        # One label beside one other says nothing: a label is not taken for being the only one.
        by_place = roles.count("object") == len(self._classes) > 1
        read: list[ClickLabel] = []
        places = iter(self._classes)
        for label, role in zip(labels, roles, strict=True):
            if role != "object":
                read.append(ClickLabel(label, role))
                continue
            counterpart, there = self._counterpart(label), next(places, None)
            if counterpart is None and by_place and there is not None:
                counterpart = there
                warnings.append(
                    f"The key point label '{label.value}' has no brush label of that name; "
                    f"'{there[1].value}' at the same place is taken."
                )
            elif counterpart is None and self._classes:
                warnings.append(
                    f"The key point label '{label.value}' has no brush label of that name: "
                    "its masks get the label used last, or none."
                )
            brush, brush_label = counterpart or (self._brushes[0], None)
            read.append(ClickLabel(label, role, brush.name, brush_label))
        return tuple(read)

    def _counterpart(self, label: Label) -> _Class | None:
        """The brush label that a key point label means: by alias, by text, then ignoring case."""
        text, alias = normal_form(label.text), normal_form(label.alias)
        return (
            self._aliases.get(alias)
            or self._texts.get(text)
            or self._aliases.get(text)
            or self._texts.get(alias)
            or self._folded.get(text.casefold())
        )

    def _role(self, label: Label) -> Role:
        names = {normal_form(name).casefold() for name in (label.value, label.alias)}
        add, remove = (normal_form(name).casefold() for name in self._refine)
        if add and add in names:
            return "add"
        return "remove" if remove and remove in names else "object"

    def _phrase(self, status: str) -> tuple[str, str]:
        """The text area of that name, else the only one that is smart and is not the status line;
        and the key of a task's data with a phrase."""
        areas = [
            tag
            for tag in self._mine
            if tag.tag == "textarea"
            and tag.get("name") != status
            and not _true(tag.get("perregion"), False)
            and _true(tag.get("smart"), True)
        ]
        named = [tag for tag in areas if tag.get("name", "").casefold() in _PHRASE_NAMES]
        if not named and len(areas) > 1:
            names = ", ".join(f"'{tag.get('name')}'" for tag in areas)
            self._warn(
                f"Several text areas could be the phrase ({names}); name one of them 'phrase'."
            )
        if not named and len(areas) != 1:
            return "", DEFAULT_PHRASE_KEY
        chosen = (named or areas)[0]
        key = chosen.get("value", "").strip()[1:] if _from_data(chosen) else ""
        return chosen.get("name", ""), key or DEFAULT_PHRASE_KEY


def _smart(tag: Element) -> bool:
    """As in the page: smart unless the config says otherwise, and always with smartOnly."""
    return _true(tag.get("smart"), True) or _true(tag.get("smartonly"), False)


def _status_area(mine: list[Element]) -> str:
    """The text area of that name, else one that is not editable; none about single regions."""
    areas = [
        tag for tag in mine if tag.tag == "textarea" and not _true(tag.get("perregion"), False)
    ]
    for tag in areas:
        if tag.get("name", "").casefold() in _STATUS_NAMES:
            return tag.get("name", "")
    for tag in areas:
        if not _true(tag.get("editable"), True):
            return tag.get("name", "")
    return ""


def _true(raw: str | None, default: bool) -> bool:
    return default if raw is None or not raw.strip() else raw.strip().casefold() == "true"


def _from_data(tag: Element) -> bool:
    return tag.get("value", "").strip().startswith("$")
