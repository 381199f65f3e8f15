"""Calls to a Label Studio that may be down for a while: background work waits for it.

An answer that refuses the call is not retried: waiting would not change it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from backend.errors import LabelStudioError, TokenError

# About ten minutes together: an update with migrations, or a machine that restarts.
PAUSES_S = (2.0, 5.0, 15.0, 30.0, 60.0, 60.0, 120.0, 300.0)
# Between two checks during a pause.
_CHECK_S = 0.5

T = TypeVar("T")


def with_retries(
    call: Callable[[], T],
    *,
    waiting: Callable[[str], None],
    check: Callable[[], None],
) -> T:
    """The result of ``call``, repeated after a pause while Label Studio is down.

    waiting: called with the reason before each pause. check: called during pauses; an exception
    ends the wait. Raises LabelStudioError if it is still down after all pauses, or refuses.
    """

    def pause(seconds: float) -> None:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            check()
            time.sleep(min(left, _CHECK_S))

    def pause_after(state: RetryCallState) -> float:
        return PAUSES_S[min(state.attempt_number, len(PAUSES_S)) - 1] if PAUSES_S else 0.0

    def before_pause(state: RetryCallState) -> None:
        assert state.outcome is not None
        waiting(str(state.outcome.exception()))

    retrying = Retrying(
        retry=retry_if_exception(_is_outage),
        stop=stop_after_attempt(len(PAUSES_S) + 1),
        wait=pause_after,
        sleep=pause,
        before_sleep=before_pause,
        reraise=True,
    )
    return retrying(call)


def _is_outage(error: BaseException) -> bool:
    """Whether Label Studio was not reached or is failing, rather than refusing."""
    if not isinstance(error, LabelStudioError) or isinstance(error, TokenError):
        return False
    return error.answered is None or error.answered >= 500 or error.answered == 429
