"""Reads the controls of one image from the tags of a labeling config.

Admins choose the names, so everything is found by tags, attributes and the links between them.
"""

from typing import Literal
from xml.etree.ElementTree import Element

from backend.label_studio.controls import (
    DEFAULT_PHRASE_KEY,
    BrushControl,
    ClickControl,
    ClickLabel,
    ImageControls,
    Label,
    Role,
    normal_form,
    object_classes,
)

# Controls that take a mask. Where a label is in both, the brush gets it.
BRUSHES = ("BrushLabels", "Brush")
POLYGONS = ("PolygonLabels", "Polygon")

_STATUS_NAMES = ("status",)
_PHRASE_NAMES = ("phrase", "prompt", "text_prompt")


def image_controls(
    name: str, tag: Element, tags: list[Element], refine: tuple[str, str], warnings: list[str]
) -> ImageControls | None:
    value = tag.get("value", "").strip()
    if not value:
        where = " in a valueList, which this backend does not read" if tag.get("valueList") else ""
        warnings.append(f"The image '{name}' has no value{where}.")
        return None
    mine = [t for t in tags if name in targets(t) and t.get("name")]
    brushes = _brushes(mine, warnings)
    if not brushes:
        warnings.append(f"No brush or polygons point to the image '{name}': it gets no masks.")
        return None
    clicks = _clicks(mine, brushes, refine, warnings)
    boxes = _boxes(mine, brushes, refine)
    status = status_area(mine)
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


def _brushes(mine: list[Element], warnings: list[str]) -> tuple[BrushControl, ...]:
    brushes = []
    shared = _shared_labels(mine)
    drawn = [tag for kind in (BRUSHES, POLYGONS) for tag in mine if tag.tag in kind]
    for tag in drawn:
        name, outline = tag.get("name", ""), tag.tag in POLYGONS
        if not tag.tag.endswith("Labels"):
            labels_control, labels = shared
            brushes.append(BrushControl(name, labels, labels_control, outline))
        else:
            labels = labels_of(tag)
            if labels:
                brushes.append(BrushControl(name, labels, outline=outline))
            else:
                warnings.append(
                    f"The control '{tag.get('name')}' has no <Label> in the config"
                    + (" (labels from a task's data are not supported)" * from_data(tag))
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
        name, smart = tag.get("name", ""), _smart(tag)
        if not smart:
            warnings.append(
                f"The key points '{name}' have smart=\"false\": clicking sends no request."
            )
        labels = _click_labels(_labels_for(tag, mine), brushes, refine, warnings)
        kind: Literal["keypointlabels", "keypoint"] = (
            "keypointlabels" if tag.tag == "KeyPointLabels" else "keypoint"
        )
        controls.append(ClickControl(name, labels, smart, kind))
    return tuple(controls)


def _boxes(
    mine: list[Element], brushes: tuple[BrushControl, ...], refine: tuple[str, str]
) -> tuple[ClickControl, ...]:
    """Smart rectangles. Rectangles are smart by default, so those whose labels no brush has are
    labels of their own, and no prompts."""
    controls = []
    for tag in mine:
        if tag.tag not in ("RectangleLabels", "Rectangle") or not _smart(tag):
            continue
        labels = _click_labels(_labels_for(tag, mine), brushes, refine, [])
        if not tag.get("smart") and not any(label.brush_label for label in labels):
            continue
        kind: Literal["rectanglelabels", "rectangle"] = (
            "rectanglelabels" if tag.tag == "RectangleLabels" else "rectangle"
        )
        controls.append(ClickControl(tag.get("name", ""), labels, True, kind))
    return tuple(controls)


def _smart(tag: Element) -> bool:
    """As in the page: smart unless the config says otherwise, and always with smartOnly."""
    return _true(tag.get("smart"), True) or _true(tag.get("smartOnly"), False)


def _labels_for(tag: Element, mine: list[Element]) -> tuple[Label, ...]:
    """The control's own labels; those of ``<Labels>`` for a plain tool."""
    return labels_of(tag) if tag.tag.endswith("Labels") else _shared_labels(mine)[1]


def _shared_labels(mine: list[Element]) -> tuple[str, tuple[Label, ...]]:
    """The ``<Labels>`` control that names the regions of plain tools, and its labels."""
    for tag in mine:
        if tag.tag == "Labels" and (labels := labels_of(tag)):
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
    classes = list(object_classes(brushes))
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


class _Counterparts:
    """The brush label that a key point label means: by value, by alias, then ignoring case. Text is
    compared in its normal form.

    Of several the first counts, as they stand in the config.
    """

    def __init__(self, classes: list[tuple[BrushControl, Label]]) -> None:
        self._values: dict[str, tuple[int, tuple[BrushControl, Label]]] = {}
        self._aliases: dict[str, tuple[int, tuple[BrushControl, Label]]] = {}
        self._folded: dict[str, tuple[int, tuple[BrushControl, Label]]] = {}
        for at, (brush, label) in enumerate(classes):
            entry = (at, (brush, label))
            value = normal_form(label.value)
            self._values.setdefault(value, entry)
            self._folded.setdefault(value.casefold(), entry)
            if label.alias:
                self._aliases.setdefault(normal_form(label.alias), entry)

    def of(self, label: Label) -> tuple[BrushControl, Label] | None:
        """The counterpart of a key point label."""
        value, alias = normal_form(label.value), normal_form(label.alias)
        by_alias = [self._aliases[name] for name in (alias, value) if name in self._aliases]
        entry = (
            self._values.get(value)
            or min(by_alias, key=lambda place: place[0], default=None)
            or (self._values.get(alias) if alias else None)
            or self._folded.get(value.casefold())
        )
        return entry[1] if entry else None


def _role(label: Label, refine: tuple[str, str]) -> Role:
    names = {normal_form(name).casefold() for name in (label.value, label.alias)}
    add, remove = (normal_form(name).casefold() for name in refine)
    if add and add in names:
        return "add"
    return "remove" if remove and remove in names else "object"


def status_area(mine: list[Element]) -> str:
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


def labels_of(tag: Element) -> tuple[Label, ...]:
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


def targets(tag: Element) -> tuple[str, ...]:
    return tuple(part.strip() for part in tag.get("toName", "").split(",") if part.strip())


def _true(raw: str | None, default: bool) -> bool:
    return default if raw is None or not raw.strip() else raw.strip().casefold() == "true"


def from_data(tag: Element) -> bool:
    return tag.get("value", "").strip().startswith("$")
