"""How many pixels somebody changed by hand after the last answer.

The page re-encodes a mask when it saves, which moves single pixels along its border. A stroke of
brush or eraser is several pixels thick. So what differs counts only where it is thick enough to
hold a square of three pixels; then all of that patch counts that is joined to the square.
"""

import numpy as np
from numpy.typing import NDArray

from backend.db.packed_mask import PackedMask

Mask = NDArray[np.bool_]


def corrected(accepted: PackedMask, served: PackedMask) -> int | None:
    """Pixels; None where the two are of different pictures."""
    if (accepted.width, accepted.height) != (served.width, served.height):
        return None
    if accepted.data == served.data:
        return 0
    changed = accepted.unpack() ^ served.unpack()
    return int(np.count_nonzero(_thick(changed)))


def _thick(changed: Mask) -> Mask:
    """Without what no square of three pixels fits into."""
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    if not len(rows):
        return changed
    box = changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    cores = _spread(box, np.logical_and, edge=False)
    return _spread(cores, np.logical_or, edge=False) & box


def _spread(mask: Mask, join: np.ufunc, *, edge: bool) -> Mask:
    """Each pixel joined with its eight neighbours; beyond the edge lies ``edge``."""
    padded = np.pad(mask, 1, constant_values=edge)
    lines = join(join(padded[:-2], padded[1:-1]), padded[2:])
    return np.asarray(join(join(lines[:, :-2], lines[:, 1:-1]), lines[:, 2:]), bool)
