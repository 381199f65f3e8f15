"""Reads a project's labeling config: which control gets the mask, which one is a click.

Admins choose the names, so everything is found by tags, attributes and the links between them.
``config_xml`` reads the tags; ``controls`` holds what they say.
"""

import re
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
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

_Classes = Sequence[tuple[BrushControl, Label]]
_ReadLabels = Callable[[tuple[Label, ...], list[str]], tuple[ClickLabel, ...]]


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
        _image_controls(name, tag, linked.get(name, []), refine, warnings)
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


def _image_controls(
    name: str, tag: Element, mine: list[Element], refine: tuple[str, str], warnings: list[str]
) -> ImageControls | None:
    value = tag.get("value", "").strip()
    # The page shows the pictures of a valueList also where there is a value.
    if not value or tag.get("valuelist"):
        where = " but a valueList, which this backend does not read" if tag.get("valuelist") else ""
        warnings.append(f"The image '{name}' has no value{where}.")
        return None
    brushes = _brushes(mine, refine, warnings)
    if not brushes:
        warnings.append(f"No brush or polygons point to the image '{name}': it gets no masks.")
        return None
    classes = object_classes(brushes)
    read = partial(_click_labels, brushes[0], classes, _counterparts(classes), refine)
    clicks = _clicks(mine, read, warnings)
    boxes = _boxes(mine, read)
    status = _status_area(mine)
    phrase, phrase_key = _phrase(mine, status, warnings)
    if not any(control.smart for control in clicks) and not phrase and not boxes:
        warnings.append(
            f"The image '{name}' has neither smart key points or boxes nor a phrase: only batch "
            "predictions will arrive."
        )
    return ImageControls(name, value, brushes, clicks, phrase, status, phrase_key, boxes)


def _brushes(
    mine: list[Element], refine: tuple[str, str], warnings: list[str]
) -> tuple[BrushControl, ...]:
    """What takes masks. Labels that refine, where a brush has them too, are no classes."""
    brushes = []
    labels_control, shared = _shared_labels(mine)
    order = list(dict.fromkeys(_MASK_TOOLS.values()))
    tags = [tag for tag in mine if tag.tag in _MASK_TOOLS]
    for tag in sorted(tags, key=lambda tag: order.index(_MASK_TOOLS[tag.tag])):
        name, tool = tag.get("name", ""), _MASK_TOOLS[tag.tag]
        own = tag.tag.endswith("labels")
        labels = labels_of(tag) if own else shared
        classes = tuple(label for label in labels if _role(label, refine) == "object")
        if classes or not own:
            brushes.append(BrushControl(name, classes, "" if own else labels_control, tool))
        else:
            dynamic = " (labels from a task's data are not supported)" if _from_data(tag) else ""
            warnings.append(
                f"The control '{name}' has no <Label> in the config{dynamic}; it gets no masks."
            )
    return tuple(brushes)


def _clicks(
    mine: list[Element], read: _ReadLabels, warnings: list[str]
) -> tuple[ClickControl, ...]:
    controls = []
    for tag in mine:
        if tag.tag in ("keypointlabels", "keypoint"):
            name, smart = tag.get("name", ""), _smart(tag)
            if not smart:
                warnings.append(
                    f"The key points '{name}' have smart=\"false\": clicking sends no request."
                )
            labels = read(_labels_for(tag, mine), warnings)
            controls.append(ClickControl(name, labels, smart, tag.tag))
    return tuple(controls)


def _boxes(mine: list[Element], read: _ReadLabels) -> tuple[ClickControl, ...]:
    """Smart rectangles. Rectangles are smart by default, so those whose labels no brush has are
    labels of their own, and no prompts."""
    controls = []
    for tag in mine:
        if tag.tag in ("rectanglelabels", "rectangle") and _smart(tag):
            labels = read(_labels_for(tag, mine), [])
            if tag.get("smart") or any(label.brush_label for label in labels):
                controls.append(ClickControl(tag.get("name", ""), labels, True, tag.tag))
    return tuple(controls)


def _smart(tag: Element) -> bool:
    """As in the page: smart unless the config says otherwise, and always with smartOnly."""
    return _true(tag.get("smart"), True) or _true(tag.get("smartonly"), False)


def _labels_for(tag: Element, mine: list[Element]) -> tuple[Label, ...]:
    """The control's own labels; those of ``<Labels>`` for a plain tool."""
    return labels_of(tag) if tag.tag.endswith("labels") else _shared_labels(mine)[1]


def _shared_labels(mine: list[Element]) -> tuple[str, tuple[Label, ...]]:
    """The ``<Labels>`` control that names the regions of plain tools, and its labels."""
    for tag in mine:
        if tag.tag == "labels" and (labels := labels_of(tag)):
            return tag.get("name", ""), labels
    return "", ()


def _click_labels(
    first: BrushControl,
    classes: _Classes,
    by_name: Callable[[Label], tuple[BrushControl, Label] | None],
    refine: tuple[str, str],
    labels: tuple[Label, ...],
    warnings: list[str],
) -> tuple[ClickLabel, ...]:
    roles = [_role(label, refine) for label in labels]
    # One label beside one other says nothing: a label is not taken for being the only one.
    by_place = roles.count("object") == len(classes) > 1
    read: list[ClickLabel] = []
    place = 0
    for label, role in zip(labels, roles, strict=True):
        if role != "object":
            read.append(ClickLabel(label, role))
            continue
        counterpart = by_name(label)
        if counterpart is None and by_place:
            counterpart = classes[place]
            warnings.append(
                f"The key point label '{label.value}' has no brush label of that name; "
                f"'{counterpart[1].value}' at the same place is taken."
            )
        elif counterpart is None and classes:
            warnings.append(
                f"The key point label '{label.value}' has no brush label of that name: "
                "its masks get the label used last, or none."
            )
        brush, brush_label = counterpart or (first, None)
        read.append(ClickLabel(label, role, brush.name, brush_label))
        place += 1
    return tuple(read)


def _counterparts(
    classes: _Classes,
) -> Callable[[Label], tuple[BrushControl, Label] | None]:
    """Finds the brush label that a key point label means: by alias, by text, then ignoring case.
    Text is compared in its normal form; of several the first counts."""
    values, aliases, folded = {}, {}, {}
    for brush, label in reversed(classes):
        values[normal_form(label.text)] = brush, label
        folded[normal_form(label.text).casefold()] = brush, label
        aliases[normal_form(label.alias)] = brush, label
    aliases.pop("", None)

    def counterpart(label: Label) -> tuple[BrushControl, Label] | None:
        value, alias = normal_form(label.text), normal_form(label.alias)
        return (
            aliases.get(alias)
            or values.get(value)
            or aliases.get(value)
            or values.get(alias)
            or folded.get(value.casefold())
        )

    return counterpart


def _role(label: Label, refine: tuple[str, str]) -> Role:
    names = {normal_form(name).casefold() for name in (label.value, label.alias)}
    add, remove = (normal_form(name).casefold() for name in refine)
    if add and add in names:
        return "add"
    return "remove" if remove and remove in names else "object"


def _status_area(mine: list[Element]) -> str:
    """The text area of that name, else one that is not editable."""
    areas = [tag for tag in mine if tag.tag == "textarea"]
    for tag in areas:
        if tag.get("name", "").casefold() in _STATUS_NAMES:
            return tag.get("name", "")
    for tag in areas:
        if not _true(tag.get("editable"), True) and not _true(tag.get("perregion"), False):
            return tag.get("name", "")
    return ""


def _phrase(mine: list[Element], status: str, warnings: list[str]) -> tuple[str, str]:
    """The text area of that name, else the only one that is smart and is not the status line."""
    areas = [
        tag
        for tag in mine
        if tag.tag == "textarea"
        and tag.get("name") != status
        and not _true(tag.get("perregion"), False)
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
    key = chosen.get("value", "").strip()[1:] if _from_data(chosen) else ""
    return chosen.get("name", ""), key or DEFAULT_PHRASE_KEY


def _true(raw: str | None, default: bool) -> bool:
    return default if raw is None or not raw.strip() else raw.strip().casefold() == "true"


def _from_data(tag: Element) -> bool:
    return tag.get("value", "").strip().startswith("$")
