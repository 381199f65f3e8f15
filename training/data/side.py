"""Which labeled pictures train, and which are held out to measure: decided by a hash.

Two tasks with the same picture are on the same side.
"""

from collections.abc import Sequence
from typing import Literal

Side = Literal["train", "validation"]

_HELD_OUT = 0.2
# The gate needs this many pictures. If the hash holds out fewer, a part of the others is held out
# as well: without it a project could not be measured before some thirty pictures.
_FEWEST_HELD_OUT = 6
_MOST_SET_ASIDE = 1 / 3


def side(digest: str) -> Side:
    """The side of a picture, by the hash of its content (hex): a fifth is held out."""
    return "validation" if int(digest[:8], 16) < _HELD_OUT * 2**32 else "train"


def sides(digests: Sequence[str]) -> dict[Side, list[int]]:
    """The positions of the pictures on each side, with the rule for few held-out ones."""
    train, held_out = (
        [n for n, digest in enumerate(digests) if side(digest) == wanted]
        for wanted in ("train", "validation")
    )
    lacking = min(max(0, _FEWEST_HELD_OUT - len(held_out)), int(len(train) * _MOST_SET_ASIDE))
    set_aside = sorted(train, key=lambda n: (digests[n], n))[:lacking]
    return {
        "train": [n for n in train if n not in set_aside],
        "validation": sorted([*held_out, *set_aside]),
    }
