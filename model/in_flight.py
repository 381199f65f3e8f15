"""Calls that are running when the interpreter ends: they finish first, and no more begin.

A daemon thread that comes back from C++ code while the interpreter is torn down is ended there.
That aborts the process ("terminate called without an active exception"); torch and numpy have such
code. ``atexit`` runs before the tearing down begins, so it is the last time to wait.
"""

from __future__ import annotations

import atexit
import functools
import os
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# A call takes less than a second; one that hangs must not keep the process alive.
LONGEST_S = 10.0


class InFlight:
    """Counts the calls that are running."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin with no calls, as in a forked child, which has none of the threads that call."""
        self._changed = threading.Condition()
        self._running = 0
        self._closed = False

    def counted(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function, counted while it runs. Raises RuntimeError once this is closed."""

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._changed:
                if self._closed:
                    raise RuntimeError("The interpreter is shutting down.")
                self._running += 1
            try:
                return function(*args, **kwargs)
            finally:
                with self._changed:
                    self._running -= 1
                    self._changed.notify_all()

        return call

    def close(self, timeout: float = LONGEST_S) -> bool:
        """Let no further call begin and wait for the others; False if the time, in s, ran out."""
        with self._changed:
            self._closed = True
            return self._changed.wait_for(lambda: not self._running, timeout)


_calls = InFlight()
atexit.register(_calls.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_calls.reset)

finishes_before_exit = _calls.counted
