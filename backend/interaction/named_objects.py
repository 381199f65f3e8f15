"""Every object that words name: the words of a phrase, or the labels of a project.

A champion answers for the labels that it has learned, and another version for the others. So each
label's objects come from the version that serves it, and of what two versions find by different
names the surer one counts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from backend.interaction.label_words import kinds_named
from backend.label_studio.controls import BrushControl, Label
from model.instances import Instance, each_once
from model.predictor import Embedding, Predictor
from model.referring import Side, side_of
from model.spelling import words_of
from model.tokens import Tokens

Class = tuple[BrushControl, Label | None]
# The predictor that answers for a label; None: for no label in particular.
Serving = Callable[[Label | None], Predictor]


@dataclass(frozen=True, eq=False)
class NamedObject:
    """An object with its control and label. version: of the model that found it."""

    instance: Instance
    brush: BrushControl
    label: Label | None
    version: str


def kinds_of(
    phrase: str, labels: Sequence[tuple[BrushControl, Label]], other: Class
) -> Mapping[str, Class]:
    """The words that a phrase asks with, each with its control and label: those of each label that
    it names side by side ("cups and dogs"), or the phrase as a whole with ``other``."""
    return kinds_named(phrase, labels) or {phrase: other}


def objects_named(
    kinds: Mapping[str, Class],
    serving: Serving,
    encoded: Callable[[Predictor], Embedding],
    least: float,
) -> tuple[list[NamedObject], list[float]]:
    """Every object that some of these words are about, each once, the surest first; and how sure
    each of the words are.

    Args:
        kinds: words, each with the control and label of what they name.
        encoded: the picture as a predictor sees it.
        least: objects of less confidence are left out.
    """
    groups: dict[str, tuple[Predictor, dict[str, tuple[Side | None, Class]]]] = {}
    for words, (brush, label) in kinds.items():
        predictor = serving(label)
        # "Left cups" are the cups in the left half; the left lungs of a label are left lungs.
        side = side_of(words, words_of(label.text) if label else ())
        _, asked = groups.setdefault(predictor.version, (predictor, {}))
        asked[side.kind if side else words] = side, (brush, label)
    objects: list[NamedObject] = []
    confidences: list[float] = []
    for version, (predictor, asked) in groups.items():
        found, sure = predictor.instances_by_name(encoded(predictor), list(asked), least)
        for words, (side, of_class) in asked.items():
            there = [one for name, one in found if name == words]
            meant = side.of(there) if side else there
            objects += [NamedObject(one, *of_class, version) for one in meant]
        confidences += sure
    once = each_once(
        objects, lambda one: one.instance.confidence, lambda a, b: a.instance.iou(b.instance)
    )
    return once, confidences


def read_by(kinds: Mapping[str, Class], serving: Serving) -> Tokens:
    """How all of these words were read, each by the version that serves their label."""
    read = [serving(label).tokenizer.read(words) for words, (_, label) in kinds.items()]
    return replace(
        read[0],
        words=tuple(chain.from_iterable(tokens.words for tokens in read)),
        corrected=tuple(chain.from_iterable(tokens.corrected for tokens in read)),
        ignored=tuple(chain.from_iterable(tokens.ignored for tokens in read)),
        near=tuple(chain.from_iterable(tokens.near for tokens in read)),
    )
