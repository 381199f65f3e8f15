"""What a labeling config takes from a task's data, read as Label Studio's page reads it.

An attribute may hold variables: ``$image``, ``$pic.url``, ``$pics[0]``, or several within a text,
as ``https://host/$folder/$file``. A ``<Repeater on="$pages">`` repeats its content once for each
entry of a list, with the entry's number in place of ``{{idx}}`` in names and variables.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any
from xml.etree.ElementTree import Element

from backend.errors import LabelConfigError

_VARIABLE = re.compile(r"\$[\w[\].{}]+")
_STEP = re.compile(r"[^.[\]]+")
# A document of more pages is cut off, so that a task cannot make the config endless.
_MAX_REPEATS = 200
_INDEX = "{{idx}}"


def resolved(text: str, data: Mapping[str, Any]) -> Any:
    """The value of an attribute: the data's own value for a single variable, otherwise the text
    with all variables filled in. Missing data reads as ''."""
    if _VARIABLE.fullmatch(text):
        value = _looked_up(text[1:], data)
        return "" if value is None else value
    return _VARIABLE.sub(lambda match: _written(_looked_up(match[0][1:], data)), text)


def text_of(text: str, data: Mapping[str, Any]) -> str:
    """The same where a text is expected; of a list the first entry, '' for other values."""
    value = resolved(text, data)
    if isinstance(value, list):
        value = next(iter(value), "")
    return value if isinstance(value, str) else ""


def repeat_lengths(root: Element, data: Mapping[str, Any]) -> tuple[int, ...]:
    """How often each Repeater of a config repeats its content for a task, in document order."""
    lengths = []
    for tag in root.iter("Repeater"):
        value = resolved(tag.get("on", "").strip(), data)
        lengths.append(min(len(value), _MAX_REPEATS) if isinstance(value, list) else 0)
    return tuple(lengths)


def repeated(root: Element, lengths: Sequence[int]) -> Element:
    """A copy of the config with the content of each Repeater repeated.

    Raises:
        LabelConfigError: a Repeater within another one, or one without a variable.
    """
    for tag in root.iter("Repeater"):
        if any(inner is not tag for inner in tag.iter("Repeater")):
            raise LabelConfigError("The labeling config has a <Repeater> within another one.")
        if not _VARIABLE.fullmatch(tag.get("on", "").strip()):
            raise LabelConfigError(
                'A <Repeater> of the labeling config has no variable in "on", as in on="$pages".'
            )
    root = deepcopy(root)
    for tag, length in zip(list(root.iter("Repeater")), lengths, strict=True):
        index = tag.get("indexFlag", _INDEX)
        content = list(tag)
        for child in content:
            tag.remove(child)
        tag.extend(
            _numbered(child, index, str(number)) for number in range(length) for child in content
        )
        tag.tag = "View"
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
    for step in _steps(path):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _steps(path: str) -> Iterator[str]:
    return (match[0] for match in _STEP.finditer(path))


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else ""
