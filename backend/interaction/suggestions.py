"""A phrase that means all of a kind: which of the objects found are suggested, and under which id.

Each object is a region of its own. Those that a person has labeled already are not suggested again,
and an object that an earlier answer to the same phrase suggested keeps its id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backend.db.packed_mask import PackedMask
from backend.errors import BackendError
from backend.interaction.mask_history import digest
from backend.interaction.objects import Prompts, Suggestion, Turn, new_region_id
from backend.interaction.request import Saved
from backend.label_studio.controls import ImageControls
from backend.label_studio.regions import DrawnMask, drawn_mask, parse_result
from model.instances import LIMITS, Instance

# A phrase alone draws nothing below this confidence, in the page and in batches.
LEAST_CONFIDENCE = LIMITS.confidence
# Two masks are of one object from this IoU on.
SAME_OBJECT_IOU = 0.5


def unlabeled(objects: Sequence[Instance], saved: Sequence[Saved]) -> list[Instance]:
    """The objects that no region of the page shows, as it was last saved.

    The asking user's newest draft counts, or the annotations where there is no draft.
    """
    drafts = [one for one in saved if one.kind == "draft"]
    newest = max(drafts, key=lambda one: one.updated_at, default=None)
    pages = [newest] if newest is not None else list(saved)
    left = list(objects)
    for shown in (region for page in pages for region in page.regions.values()):
        if not left:
            break
        if (shown.width, shown.height) != (left[0].width, left[0].height):
            continue
        try:
            mask = shown.saved_mask()
        except BackendError:
            continue
        left = [instance for instance in left if not _same(instance, mask)]
    return left


def named(
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


@dataclass(frozen=True)
class SeveralObjects:
    """Several objects as they are answered: the request's own, and those beside it."""

    items: list[dict[str, Any]]
    mask: np.ndarray  # H,W bool of the request's own; without a pixel where there is none
    digest: str  # of its region
    confidences: tuple[float, ...]
    others: tuple[Suggestion, ...]


def drawn(
    objects: Sequence[Instance],
    turn: Turn,
    target: Prompts,
    size: tuple[int, int],
    tolerance: float,
) -> SeveralObjects:
    """The regions of these objects. size: width and height of the picture."""
    items: list[dict[str, Any]] = []
    mask, name = np.zeros(size[::-1], np.bool_), ""
    others = []
    for instance, region_id, number in named(objects, turn, target):
        own = region(target, instance.mask(), instance.confidence, tolerance, region_id)
        items += own.items
        if region_id == target.region_id:
            mask, name = own.mask, digest(parse_result(own.items)[0])
        else:
            packed = PackedMask.pack(own.mask)
            others.append(
                Suggestion(
                    region_id, target.label, target.brush, packed, instance.confidence, True, number
                )
            )
    return SeveralObjects(
        items, mask, name, tuple(instance.confidence for instance in objects), tuple(others)
    )


def shown_again(
    others: Sequence[Suggestion], image: ImageControls, tolerance: float
) -> list[dict[str, Any]]:
    """Suggestions as they were: the page keeps only what is answered again."""
    return [
        item
        for other in others
        for item in drawn_mask(
            other.region_id,
            other.packed_mask.unpack(),
            brush=other.brush,
            to_name=image.name,
            label=other.label,
            score=other.confidence,
            tolerance=tolerance,
        ).items
    ]


def region(
    target: Prompts, mask: np.ndarray, confidence: float, tolerance: float, region_id: str = ""
) -> DrawnMask:
    """A mask with the label of a request; under its id where no other one is given."""
    if not mask.any():
        return DrawnMask([], mask)
    return drawn_mask(
        region_id or target.region_id,
        mask,
        brush=target.brush,
        to_name=target.image.name,
        label=target.label,
        score=confidence,
        tolerance=tolerance,
    )


def _same(instance: Instance, mask: np.ndarray) -> bool:
    if mask.shape != (instance.height, instance.width):
        return False
    both = np.count_nonzero(mask[instance.box.slices] & instance.pixels)
    either = np.count_nonzero(mask) + np.count_nonzero(instance.pixels) - both
    return bool(both > SAME_OBJECT_IOU * either)
