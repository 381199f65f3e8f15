"""A project's labeling config: which control gets the mask, which one is a click.

The config comes over the network: it is parsed without entities and without a document type.
``controls_reader`` reads the tags, ``controls`` is what they say.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers.expat import ExpatError, ParserCreate

from backend.errors import LabelConfigError
from backend.label_studio.controls import ImageControls, repeat_lengths, repeated
from backend.label_studio.controls_reader import (
    BRUSHES,
    POLYGONS,
    from_data,
    image_controls,
    labels_of,
    status_area,
    targets,
)
from backend.label_studio.payloads import MAX_CONFIG_CHARACTERS

ADD_LABEL = "+ last object"
REMOVE_LABEL = "- last object"

_MAX_DEPTH = 200
# Some data sets have 1,200 classes; each class stands in the config for brushes and for key points.
_MAX_TAGS = 12_000
_MAX_CONTROLS = 500
# A config without a match for any of its labels would otherwise have a warning for each.
_MAX_WARNINGS = 20


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
            status = status_area([one for one in tags if name in targets(one)])
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
        image = image_controls(name, tag, tags, (add_label, remove_label), warnings)
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
            and from_data(tag)
            and not labels_of(tag)
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


def _check_brush_targets(tags: list[Element], pictures: Mapping[str, Element]) -> None:
    for tag in tags:
        if tag.tag in (*BRUSHES, *POLYGONS) and tag.get("name"):
            for target in targets(tag):
                if target not in pictures:
                    raise LabelConfigError(
                        f"The control '{tag.get('name')}' points to '{target}', "
                        "which is no <Image>. Set its toName to the name of the image."
                    )


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
