"""Which labeled pictures train, and which are held out to measure: decided once, by a hash.

Two tasks with the same picture are on the same side, and no picture ever changes sides.
"""

from typing import Literal

Side = Literal["train", "validation"]

_HELD_OUT = 0.2


def side(digest: str) -> Side:
    """The side of a picture, by the hash of its content (hex): a fifth is held out."""
    return "validation" if int(digest[:8], 16) < _HELD_OUT * 2**32 else "train"
