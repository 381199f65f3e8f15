"""The answer to a click or a phrase: regions for the page, and the sentence of the status line.

Each object is a region of its own. Of a phrase that means all of a kind, those that a person has
labeled already are not suggested again, and an object that an earlier answer to the same phrase
suggested keeps its id.

Label Studio shows no errors or messages of a backend. A text area in the labeling config is the
only place for what was understood, or what went wrong and what to do. It is 64 px high, so the
sentence is cut to fit: the advice goes first.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backend.interaction.mask_history import digest
from backend.interaction.objects import new_region_id
from backend.interaction.request import Prompts, Saved, Suggestion, Turn, latest
from backend.label_studio.controls import ImageControls
from backend.label_studio.regions import DrawnMask, drawn_mask, parse_result, saved_masks
from backend.label_studio.rle import PackedMask
from model.errors import PhraseClickError
from model.instances import LIMITS, Instance
from model.predictor import Instances, Prediction

# A phrase alone draws nothing below this confidence, in the page and in batches.
LEAST_CONFIDENCE = LIMITS.confidence
# Two masks are of one object from this IoU on.
SAME_OBJECT_IOU = 0.5

# Two lines of the banner at a usual window width.
MAX_CHARACTERS = 190

# One fixed id: each answer replaces the line before it.
STATUS_ID = "status"
# The second entry of a sentence without a mask.
NO_MASK = "no mask"

_UNSURE = 0.45


@dataclass(frozen=True)
class Drawn:
    """The regions of an answer, the request's own object first."""

    items: list[dict[str, Any]]
    own: DrawnMask  # the request's own object; without items where there is none
    confidences: tuple[float, ...]  # of all objects that are drawn
    suggestions: tuple[Suggestion, ...] | None  # other objects; None: those of the turn

    @property
    def digest(self) -> str:
        """Of its own object's region; '' where there is none."""
        return digest(parse_result(self.own.items)[0]) if self.own.items else ""


def draw_one(
    turn: Turn, target: Prompts, mask: np.ndarray, confidence: float, tolerance: float
) -> Drawn:
    """One object's region; beside it what else is suggested, which a phrase alone replaces."""
    own = _region(target, mask, confidence, target.image, tolerance)
    items = list(own.items)
    for other in turn.suggestions if target.clicks else ():
        shown, sure = other.packed_mask.unpack(), other.confidence
        items += _region(other, shown, sure, target.image, tolerance).items
    return Drawn(items, own, (confidence,), None if target.clicks else ())


def draw_several(
    turn: Turn,
    target: Prompts,
    objects: Sequence[Instance],
    size: tuple[int, int],
    tolerance: float,
) -> Drawn:
    """A region for each of these objects. size: width and height of the picture."""
    own = DrawnMask([], np.zeros(size[::-1], np.bool_))
    items: list[dict[str, Any]] = []
    others = []
    for instance, region_id, number in _named(objects, turn, target):
        mask, confidence = instance.mask(), instance.confidence
        drawn = _region(target, mask, confidence, target.image, tolerance, region_id)
        items += drawn.items
        if region_id == target.region_id:
            own = drawn
        else:
            packed = PackedMask.pack(drawn.mask)
            label, brush = target.label, target.brush
            others.append(Suggestion(region_id, label, brush, packed, confidence, True, number))
    confidences = tuple(instance.confidence for instance in objects)
    return Drawn(items, own, confidences, tuple(others))


def unlabeled(
    objects: Sequence[Instance],
    saved: Sequence[Saved],
    image: ImageControls,
    phrases: Set[str] = frozenset(),
) -> list[Instance]:
    """The objects that no region of the image shows, as the page was last saved.

    The asking user's newest draft counts, or the annotations where there is no draft. An annotation
    with phrases, none of which the page shows (``phrases``, by id), is that of another annotator.
    """
    newest = latest(one for one in saved if one.kind == "draft")
    left = list(objects)
    here = [one for one in saved if not one.phrases or one.phrases.keys() & phrases]
    for page in here if newest is None else [newest]:
        alike = (
            shown
            for shown in page.regions.values()
            if image.shows(shown.control, shown.image)
            and left
            and (shown.width, shown.height) == (left[0].width, left[0].height)
        )
        for _, mask in saved_masks(alike):
            left = [instance for instance in left if not _same(instance, mask)]
    return left


def _named(
    objects: Sequence[Instance], turn: Turn, target: Prompts
) -> list[tuple[Instance, str, int]]:
    """Each object with its region id and its number, 0 for a new one; the request's own first."""
    earlier: list[tuple[str, int, PackedMask]] = [
        (one.region_id, one.id, one.packed_mask) for one in turn.suggestions if one.same_phrase
    ]
    if turn.shown_mask is not None:
        earlier.insert(0, (target.region_id, target.id, turn.shown_mask))
    ids: dict[int, tuple[str, int]] = {}
    for region_id, number, packed in earlier:
        mask = packed.unpack()
        again = next(
            (at for at, one in enumerate(objects) if at not in ids and _same(one, mask)), None
        )
        if again is not None:
            ids[again] = region_id, number
    if (target.region_id, target.id) not in ids.values():
        first = next((at for at in range(len(objects)) if at not in ids), 0)
        ids[first] = target.region_id, target.id
    labelled = [(one, *ids.get(at, (new_region_id(), 0))) for at, one in enumerate(objects)]
    return sorted(labelled, key=lambda entry: entry[1] != target.region_id)


def _region(
    about: Prompts | Suggestion,
    mask: np.ndarray,
    confidence: float,
    image: ImageControls,
    tolerance: float,
    region_id: str = "",
) -> DrawnMask:
    """A mask with the label of an object; under its id where no other one is given."""
    return drawn_mask(
        region_id or about.region_id,
        mask,
        brush=about.brush,
        to_name=image.name,
        label=about.label,
        score=confidence,
        tolerance=tolerance,
    )


def _same(instance: Instance, mask: np.ndarray) -> bool:
    if mask.shape != (instance.height, instance.width):
        return False
    both = np.count_nonzero(mask[instance.box.slices] & instance.pixels)
    either = np.count_nonzero(mask) + np.count_nonzero(instance.pixels) - both
    return bool(both > SAME_OBJECT_IOU * either)


# -- the sentence


@dataclass(frozen=True)
class Understood:
    """What an answer rests on, in the annotator's terms."""

    positives: int
    negatives: int
    label: str
    confidence: float
    found: bool  # whether the mask holds a pixel at all
    boxed: bool = False  # whether a box was drawn around it
    holes: int = 0  # of the mask, which its outline covers
    phrase: str = ""  # as typed; empty where none was or the label's name was used
    known: bool = True  # whether a word of the phrase was understood
    corrected: tuple[tuple[str, str], ...] = ()
    near: tuple[tuple[str, str], ...] = ()  # a word that was in no training, and a near one
    unfamiliar: tuple[str, ...] = ()  # words that were in no training, without a near one
    ignored: tuple[str, ...] = ()
    can_click: bool = True  # whether the labeling config has clicks
    notes: tuple[str, ...] = ()
    unsure: bool = False  # too little confidence to draw anything
    started: bool = False  # whether it is a new object
    accepted: bool = False  # whether the page is known to keep its mask
    adds: str = ""  # the key or label that adds to it
    bitmask: bool = False  # which the page selects on any click inside it, once it is accepted

    @classmethod
    def of(
        cls,
        turn: Turn,
        target: Prompts,
        prediction: Prediction | Instances,
        drawn: DrawnMask,
        *,
        unsure: bool = False,
    ) -> "Understood":
        """What the answer to a request rests on."""
        typed = target.phrase_source == "typed"
        positives = sum(click.positive for click in target.points)
        tokens = prediction.tokens
        return cls(
            positives=positives,
            negatives=len(target.points) - positives,
            boxed=target.box is not None,
            label=target.label.text if target.label is not None else "mask",
            confidence=prediction.confidence,
            found=bool(drawn.items),
            holes=drawn.holes,
            phrase=target.phrase if typed else "",
            known=not typed or bool(tokens.words),
            corrected=tuple(tokens.corrected) if typed else (),
            near=tokens.understood_as if typed else (),
            unfamiliar=tokens.unfamiliar if typed else (),
            ignored=tuple(tokens.ignored) if typed else (),
            can_click=bool(target.image.clicks),
            notes=turn.notes,
            unsure=unsure,
            started=turn.started,
            accepted=target.accepted,
            adds=target.image.adds,
            bitmask=target.brush.tool == "bitmask",
        )


def understood(answer: Understood) -> str:
    """What was understood, which words were read differently, and what to do next."""
    clicks = _clicks(answer.positives, answer.negatives)
    box = "1 box" if answer.boxed else ""
    prompts = ", ".join(part for part in (box, clicks, _quoted(answer)) if part)
    if not answer.known and not clicks and not box:
        advice = "try others or click" if answer.can_click else "try others"
        return _fitting([f"{prompts}: I don't know these words"], advice)
    if answer.found:
        summary = f"{prompts} → {answer.label}, {_percent(answer.confidence)}"
    elif answer.unsure:
        sure = _percent(answer.confidence)
        summary = f"{prompts} → {answer.label}: not sure ({sure}), so nothing is drawn"
    else:
        summary = f"{prompts} → {answer.label}: nothing found here"
    notes = (note.rstrip(".") for note in answer.notes if note)
    holes = [f"{_count(answer.holes, 'hole')} filled: a polygon has none"] if answer.holes else []
    new = ["new object"] if answer.started else []
    parts = [summary.removeprefix(" → "), *new, *_words(answer), *notes, *holes]
    return _fitting(parts, _advice(answer))


def said_of_several(answer: Understood, *, found: int, confidences: Sequence[float]) -> str:
    """What a phrase that means all of a kind has found.

    found: objects in the picture. confidences: of those that are suggested now, since nobody has
    labeled them.
    """
    if not found or not answer.known:
        # The words as a whole can be surer than any single object.
        return understood(replace(answer, unsure=0 < answer.confidence < LEAST_CONFIDENCE))
    summary = f"{_quoted(answer)} → {answer.label}"
    if not confidences:
        labeled = "it is" if found == 1 else f"all {found} are"
        parts = [f"{summary}: {labeled} labeled already"]
        advice = "click on an object that is missing" if answer.can_click else "say what is missing"
    else:
        low, high = _percent(min(confidences)), _percent(max(confidences))
        sure = high if low == high else f"{low.removesuffix(' %')} to {high}"
        parts = [f"{summary}: {_count(len(confidences), 'object')}, {sure}"]
        if found > len(confidences):
            parts.append(f"{found - len(confidences)} more are labeled already")
        advice = "✓ to keep them"
        if answer.can_click:
            advice += ", click inside one to refine it, elsewhere to add one"
    notes = (note.rstrip(".") for note in answer.notes if note)
    return _fitting([*parts, *_words(answer), *notes], advice)


def failed(error: BaseException) -> str:
    """What went wrong and what to do, as a sentence; never a traceback, never a secret."""
    if isinstance(error, PhraseClickError) and str(error):
        sentence = " ".join(str(error).split())
    else:
        sentence = (
            f"The backend failed on this request ({type(error).__name__}). "
            "Try again; the cause is in the backend's log."
        )
    if sentence[-1] not in ".!?…":
        sentence += "."
    return _cut(sentence)


def noted(notes: Sequence[str]) -> str:
    """Notes alone, where a request holds nothing to answer with a mask."""
    return _cut(". ".join(note.rstrip(".") for note in notes) + ".")


def status_item(from_name: str, to_name: str, sentence: str, *, mask: bool) -> dict[str, Any]:
    """The sentence as Label Studio takes it: a text area result that replaces the one before.

    mask: whether the sentence is about a mask of this answer. Otherwise a second entry says that
    there is none: the style of the labeling configs hides a sentence whose mask has left the page,
    such as a suggestion after the task was left, and must not hide an explanation.
    """
    return {
        "id": STATUS_ID,
        "from_name": from_name,
        "to_name": to_name,
        "type": "textarea",
        "value": {"text": [sentence] if mask else [sentence, NO_MASK]},
    }


def _clicks(positives: int, negatives: int) -> str:
    total = positives + negatives
    if not total:
        return ""
    if not positives:
        return _count(negatives, "negative click")
    return _count(total, "click") + (f", {negatives} negative" if negatives else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _quoted(answer: Understood) -> str:
    return f"'{_cut(answer.phrase, 60)}'" if answer.phrase else ""


def _percent(confidence: float) -> str:
    # 100 % would promise more than a model can.
    return f"{min(99, max(0, round(confidence * 100)))} %"


def _words(answer: Understood) -> list[str]:
    parts = []
    if answer.corrected:
        parts.append(_listed([f"'{typed}' read as '{known}'" for typed, known in answer.corrected]))
    if answer.near:
        near = [f"'{word}' understood as '{trained}'" for word, trained in answer.near]
        parts.append(_listed(near))
    for words, what in (answer.unfamiliar, "new to the model"), (answer.ignored, "not known"):
        if words:
            verb = "is" if len(words) == 1 else "are"
            quoted = _listed([f"'{_cut(word, 24)}'" for word in words])
            parts.append(f"{quoted} {verb} {what}")
    return parts


def _listed(items: Sequence[str], at_most: int = 3) -> str:
    shown = list(items[:at_most])
    rest = len(items) - len(shown)
    if rest:
        return f"{', '.join(shown)} and {rest} more"
    if len(shown) == 1:
        return shown[0]
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def _advice(answer: Understood) -> str:
    keep = "" if answer.accepted else "✓ to keep it, "
    if not answer.can_click:
        return "try other words" if not answer.found else f"{keep}other words search again"
    if not answer.found:
        return (
            "click on the object"
            if not answer.positives
            else "click elsewhere on it or type a phrase"
        )
    if not answer.positives and not answer.negatives and not answer.boxed:
        return f"{keep}click on the object if it is a different one"
    if answer.confidence < _UNSURE:
        return "not sure: click once more"
    # Label Studio selects an accepted mask or a box on a click inside it, unless Ctrl is held; a
    # bitmask even then.
    removes = "Ctrl+Alt-click" if answer.accepted or answer.boxed else "Alt-click"
    adds = f", {answer.adds} to add to it" if answer.adds else ""
    keys = "" if answer.accepted or answer.boxed else " (Ctrl+Alt once accepted)"
    if answer.bitmask:
        removes = "use the eraser" if answer.accepted else removes
        keys = "" if answer.accepted else " (the eraser once accepted)"
    return f"{keep}{removes} to remove a part{keys}{adds}"


def _fitting(parts: Sequence[str], advice: str) -> str:
    summary = "; ".join(parts)
    whole = f"{summary}; {advice}"
    return whole if len(whole) <= MAX_CHARACTERS else _cut(summary)


def _cut(text: str, at_most: int = MAX_CHARACTERS) -> str:
    return text if len(text) <= at_most else text[: at_most - 1].rstrip() + "…"
