"""Calls to a Label Studio that may be away for a while: background work waits for it.

What it refuses is no absence: that is raised at once, for waiting would not mend it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from backend.errors import LabelStudioError, TokenError

# About ten minutes together: an update with migrations, a machine that starts anew.
PAUSES_S = (2.0, 5.0, 15.0, 30.0, 60.0, 60.0, 120.0, 300.0)
# Between two looks at whether the waiting itself is to end.
_LOOK_S = 0.5

T = TypeVar("T")


def patiently(
    call: Callable[[], T],
    *,
    waits: Callable[[str], None],
    check: Callable[[], None],
) -> T:
    """What ``call`` gives, asked again after a pause while Label Studio is away.

    waits: is told why, before each pause. check: raises where the work is to end, in pauses too.
    Raises LabelStudioError where it is still away after all pauses, or where it refuses.
    """
    for pause in PAUSES_S:
        try:
            return call()
        except LabelStudioError as error:
            if not away(error):
                raise
            waits(str(error))
        ends = time.monotonic() + pause
        while (left := ends - time.monotonic()) > 0:
            check()
            time.sleep(min(left, _LOOK_S))
    return call()


def away(error: LabelStudioError) -> bool:
    """Whether it was not reached or is out of order, rather than unwilling."""
    if isinstance(error, TokenError):
        return False
    return error.answered is None or error.answered >= 500 or error.answered == 429
