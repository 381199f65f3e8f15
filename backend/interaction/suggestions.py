"""An answer's regions: of one object, or of each object that a phrase means.

Each object is a region of its own. Of a phrase that means all of a kind, those that a person has
labeled already are not suggested again, and an object that an earlier answer to the same phrase
suggested keeps its id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backend.db.packed_mask import PackedMask
from backend.interaction.mask_history import digest
from backend.interaction.objects import new_region_id
from backend.interaction.request import Prompts, Saved, Suggestion, Turn, latest
from backend.label_studio.controls import ImageControls
from backend.label_studio.regions import DrawnMask, drawn_mask, parse_result, saved_masks
from model.instances import LIMITS, Instance

# A phrase alone draws nothing below this confidence, in the page and in batches.
LEAST_CONFIDENCE = LIMITS.confidence
# Two masks are of one object from this IoU on.
SAME_OBJECT_IOU = 0.5


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
    others = turn.suggestions if target.clicks else ()
    beside = [
        item
        for other in others
        for item in _region(
            other, other.packed_mask.unpack(), other.confidence, target.image, tolerance
        ).items
    ]
    own = _region(target, mask, confidence, target.image, tolerance)
    return Drawn([*own.items, *beside], own, (confidence,), None if target.clicks else ())


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


def unlabeled(objects: Sequence[Instance], saved: Sequence[Saved]) -> list[Instance]:
    """The objects that no region of the page shows, as it was last saved.

    The asking user's newest draft counts, or the annotations where there is no draft.
    """
    newest = latest(one for one in saved if one.kind == "draft")
    left = list(objects)
    for page in saved if newest is None else [newest]:
        alike = (
            shown
            for shown in page.regions.values()
            if left and (shown.width, shown.height) == (left[0].width, left[0].height)
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
    if not mask.any():
        return DrawnMask([], mask)
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
