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
from backend.interaction.named_objects import NamedObject
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
    target: Prompts  # the request's own object, with the label that it is drawn with
    own: DrawnMask  # the request's own object; without items where there is none
    confidences: tuple[float, ...]  # of all objects that are drawn
    suggestions: tuple[Suggestion, ...] | None  # other objects; None: those of the turn
    labels: tuple[str, ...] = ()  # of several kinds, as the page shows them

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
        # One of another size is of a picture that was replaced.
        if other.packed_mask.shape == mask.shape:
            shown, sure = other.packed_mask.unpack(), other.confidence
            items += _region(other, shown, sure, target.image, tolerance).items
    return Drawn(items, target, own, (confidence,), None if target.clicks else ())


def draw_several(
    turn: Turn,
    target: Prompts,
    objects: Sequence[NamedObject],
    size: tuple[int, int],
    tolerance: float,
) -> Drawn:
    """A region for each of these objects. size: width and height of the picture."""
    own = DrawnMask([], np.zeros(size[::-1], np.bool_))
    items: list[dict[str, Any]] = []
    others = []
    answered = target
    for one, region_id, number in _named(objects, turn, target):
        mask, confidence = one.instance.mask(), one.instance.confidence
        about = replace(target, brush=one.brush, label=one.label, model_version=one.version)
        drawn = _region(about, mask, confidence, target.image, tolerance, region_id)
        items += drawn.items
        if region_id == target.region_id:
            answered, own = about, drawn
        else:
            others.append(
                Suggestion(
                    region_id=region_id,
                    label=one.label,
                    brush=one.brush,
                    packed_mask=PackedMask.pack(drawn.mask),
                    confidence=confidence,
                    model_version=one.version,
                    same_phrase=True,
                    id=number,
                )
            )
    confidences = tuple(one.instance.confidence for one in objects)
    labels = dict.fromkeys(one.label.text for one in objects if one.label)
    return Drawn(items, answered, own, confidences, tuple(others), tuple(labels))


def unlabeled(
    objects: Sequence[NamedObject],
    saved: Sequence[Saved],
    image: ImageControls,
    phrases: Set[str] = frozenset(),
) -> list[NamedObject]:
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
            and (shown.width, shown.height) == (left[0].instance.width, left[0].instance.height)
        )
        for _, mask in saved_masks(alike):
            left = [one for one in left if not _same(one.instance, mask)]
    return left


def _named(
    objects: Sequence[NamedObject], turn: Turn, target: Prompts
) -> list[tuple[NamedObject, str, int]]:
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
            (at for at, one in enumerate(objects) if at not in ids and _same(one.instance, mask)),
            None,
        )
        if again is not None:
            ids[again] = region_id, number
    if (target.region_id, target.id) not in ids.values():
        new = [at for at in range(len(objects)) if at not in ids]
        new.sort(key=lambda at: objects[at].label != target.label)  # of several kinds, its own
        first = new[0] if new else 0
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


def understood(
    turn: Turn,
    target: Prompts,
    prediction: Prediction | Instances,
    drawn: DrawnMask,
    *,
    unsure: bool = False,
) -> str:
    """What was understood, which words were read differently, and what to do next.

    unsure: too little confidence to draw anything.
    """
    found, confidence = bool(drawn.items), prediction.confidence
    box = "1 box" if target.box else ""
    prompts = ", ".join(filter(None, (box, _clicks(target), _quoted(target))))
    if _unknown(target, prediction) and not target.clicks:
        advice = "try others or click" if target.image.clicks else "try others"
        return _fitting([f"{prompts}: I don't know these words"], advice)
    label = _label(target)
    if found:
        summary = f"{prompts} → {label}, {_percent(confidence)}".removeprefix(" → ")
    elif unsure:
        summary = f"{prompts} → {label}: not sure ({_percent(confidence)}), so nothing is drawn"
    else:
        summary = f"{prompts} → {label}: nothing found here"
    new = ["new object"] if turn.started else []
    holes = [f"{_count(drawn.holes, 'hole')} filled: a polygon has none"] if drawn.holes else []
    parts = [summary, *new, *_words(target, prediction), *_notes(turn.notes), *holes]
    return _fitting(parts, _advice(target, confidence, found=found))


def said_of_several(turn: Turn, target: Prompts, prediction: Instances, drawn: Drawn) -> str:
    """What a phrase that means all of a kind has found, and what of it is labeled already."""
    found, suggested = len(prediction.objects), drawn.confidences
    if not found or _unknown(target, prediction):
        # The words as a whole can be surer than any single object.
        unsure = 0 < prediction.confidence < LEAST_CONFIDENCE
        return understood(turn, target, prediction, drawn.own, unsure=unsure)
    summary = f"{_quoted(target)} → {' and '.join(drawn.labels) or _label(target)}"
    can_click = bool(target.image.clicks)
    if not suggested:
        labeled = "it is" if found == 1 else f"all {found} are"
        parts = [f"{summary}: {labeled} labeled already"]
        advice = "click on an object that is missing" if can_click else "say what is missing"
    else:
        low, high = _percent(min(suggested)), _percent(max(suggested))
        sure = high if low == high else f"{low.removesuffix(' %')} to {high}"
        parts = [f"{summary}: {_count(len(suggested), 'object')}, {sure}"]
        if found > len(suggested):
            parts.append(f"{found - len(suggested)} more are labeled already")
        them, one = ("it", "it") if len(suggested) == 1 else ("them", "one")
        advice = f"✓ to keep {them}"
        if can_click:
            advice += f", click inside {one} to refine it, elsewhere to add one"
    return _fitting([*parts, *_words(target, prediction), *_notes(turn.notes)], advice)


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
    return _cut(". ".join(_notes(notes)) + ".")


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


def _unknown(target: Prompts, prediction: Prediction | Instances) -> bool:
    """Whether words were typed of which none is known that says what they are about."""
    return target.typed and prediction.tokens.unknown


def _label(target: Prompts) -> str:
    return target.label.text if target.label else "mask"


def _clicks(target: Prompts) -> str:
    total = len(target.points)
    negatives = sum(not click.positive for click in target.points)
    if negatives == total:
        return _count(total, "negative click") if total else ""
    return _count(total, "click") + (f", {negatives} negative" if negatives else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _quoted(target: Prompts) -> str:
    return f"'{_cut(target.phrase, 60)}'" if target.typed else ""


def _percent(confidence: float) -> str:
    # 100 % would promise more than a model can.
    return f"{min(99, max(0, round(confidence * 100)))} %"


def _notes(notes: Sequence[str]) -> list[str]:
    return [note.rstrip(".") for note in notes if note]


def _words(target: Prompts, prediction: Prediction | Instances) -> list[str]:
    """What became of the words that were not read as typed."""
    tokens, parts = prediction.tokens, []
    if not target.typed:
        return []
    if tokens.corrected:
        parts.append(_listed([f"'{typed}' read as '{known}'" for typed, known in tokens.corrected]))
    if near := tokens.understood_as:
        parts.append(_listed([f"'{word}' understood as '{trained}'" for word, trained in near]))
    for words, what in (tokens.unfamiliar, "new to the model"), (tokens.ignored, "not known"):
        if words:
            verb = "is" if len(set(words)) == 1 else "are"
            quoted = _listed([f"'{_cut(word, 24)}'" for word in words])
            parts.append(f"{quoted} {verb} {what}")
    return parts


def _listed(several: Sequence[str], at_most: int = 3) -> str:
    """Each of them once."""
    items = list(dict.fromkeys(several))
    if len(items) > at_most:
        return f"{', '.join(items[:at_most])} and {len(items) - at_most} more"
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1])))


def _advice(target: Prompts, confidence: float, *, found: bool) -> str:
    keep = "" if target.accepted else "✓ to keep it, "
    if not target.image.clicks:
        return f"{keep}other words search again" if found else "try other words"
    if not found:
        clicked = any(click.positive for click in target.points)
        return "click elsewhere on it or type a phrase" if clicked else "click on the object"
    if not target.clicks:
        return f"{keep}click on the object if it is a different one"
    if confidence < _UNSURE:
        return "not sure: click once more"
    # Label Studio selects an accepted mask or a box on a click inside it, unless Ctrl is held; a
    # bitmask even then.
    with_ctrl = target.accepted or target.box is not None
    removes = "Ctrl+Alt-click" if with_ctrl else "Alt-click"
    later = "" if with_ctrl else " (Ctrl+Alt once accepted)"
    if target.brush.tool == "bitmask":
        removes = "use the eraser" if target.accepted else removes
        later = "" if target.accepted else " (the eraser once accepted)"
    adds = f", {target.image.adds} to add to it" if target.image.adds else ""
    return f"{keep}{removes} to remove a part{later}{adds}"


def _fitting(parts: Sequence[str], advice: str) -> str:
    summary = "; ".join(parts)
    whole = f"{summary}; {advice}"
    return whole if len(whole) <= MAX_CHARACTERS else _cut(summary)


def _cut(text: str, at_most: int = MAX_CHARACTERS) -> str:
    return text if len(text) <= at_most else text[: at_most - 1].rstrip() + "…"
