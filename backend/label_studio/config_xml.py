"""The tags of a labeling config, as Label Studio's page reads them.

The config comes over the network: it is parsed without entities and without a document type. A
``<Repeater on="$pages">`` repeats its content once for each entry of a list in a task's data, with
the entry's number in place of ``{{idx}}`` in names and variables.

Reading a long config keeps all other threads waiting, so those are read in ``Turns``.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from html import escape
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser, fromstring

from backend.errors import LabelConfigError, TooManyError
from backend.label_studio.controls import VARIABLE, Label

# A thousand classes with colours, for brushes and for key points, have some 150,000.
_MAX_CHARACTERS = 500_000
_MAX_DEPTH = 200
# What the page shows and controls work on.
_OBJECTS = frozenset(
    ["image", "table", "timeseries", "audio", "video", "paragraphs", "list", "pdf"]
)
# Of a config and of what a Repeater makes of it. Some data sets have 1,200 classes; each class
# stands in the config for brushes and for key points.
MAX_TAGS = 12_000
_MAX_REPEATED = 4_000_000
_INDEX = "{{idx}}"
# The next turn begins after this multiple of the processor time that the last one took. Clicks are
# slower beside it: so rarely that few of them are.
_PAUSES = 20
# Threads that work or wait. A server has some sixty, which are also for clicks.
_MOST = 8


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
    """Reads tags as the page does: names without regard to case and namespace, a text as the value.

    Refuses document types, which could define entities, and excessive depth.
    """

    depth = 0

    def doctype(self, *_: object) -> None:
        raise LabelConfigError("The labeling config has a document type, which is not allowed.")

    def start(self, tag: str, attributes: dict[str, str], /) -> Element:
        tag = tag.rpartition("}")[2]
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise LabelConfigError(f"The labeling config is nested deeper than {_MAX_DEPTH} tags.")
        return super().start(
            tag.lower(), {name.lower(): value for name, value in attributes.items()}
        )

    def end(self, tag: str, /) -> Element:
        self.depth -= 1
        element = super().end(tag.rpartition("}")[2].lower())
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


def repeated(root: Element, lengths: Sequence[int]) -> Element:
    """A copy of the config with the content of each Repeater repeated.

    Raises:
        LabelConfigError: a Repeater within another one, or one without a variable.
    """
    for tag in root.iter("repeater"):
        if any(inner is not tag for inner in tag.iter("repeater")):
            raise LabelConfigError("The labeling config has a <Repeater> within another one.")
        if not VARIABLE.fullmatch(tag.get("on", "").strip()):
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


class Turns:
    """One thread works at a time, with pauses. Thread-safe."""

    def __init__(self) -> None:
        self._room = threading.BoundedSemaphore(_MOST)
        self._turn = threading.Lock()
        self._next = 0.0

    @contextmanager
    def take(self, what: str) -> Iterator[None]:
        """Wait for a turn. Raises TooManyError, which names ``what``, where too many wait."""
        if not self._room.acquire(blocking=False):
            raise TooManyError(f"Too many {what} arrive at the same time. Try again in a moment.")
        try:
            with self._turn:
                time.sleep(max(0.0, self._next - time.monotonic()))
                started = time.thread_time()
                try:
                    yield
                finally:
                    spent = time.thread_time() - started
                    self._next = time.monotonic() + _PAUSES * spent
        finally:
            self._room.release()
