"""Forward passes, one at a time on a thread of their own, clicks before pictures.

One thread, because every thread that ever ran a pass keeps scratch memory and a team of helpers of
its own: sixteen request threads cost 150 MB more than one. One at a time, because two passes on
half the cores each take twice as long. Clicks first, because somebody looks at the screen waiting
for a mask of a moment's work, while a new picture takes several times as long in any case.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from enum import IntEnum
from queue import PriorityQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Urgency(IntEnum):
    """Which of the waiting passes comes next."""

    PROMPT = 0
    PICTURE = 1
    END = 2


_Job = tuple[Urgency, int, Callable[[], Any] | None, "Future[Any] | None"]


class Passes:
    """A thread that works off what it is given; it ends with this object."""

    def __init__(self) -> None:
        self._waiting: PriorityQueue[_Job] = PriorityQueue()
        self._numbers = itertools.count()
        thread = threading.Thread(target=_work, args=(self._waiting,), name="passes", daemon=True)
        thread.start()
        end: _Job = (Urgency.END, next(self._numbers), None, None)
        weakref.finalize(self, self._waiting.put, end)

    def run(self, urgency: Urgency, work: Callable[[], T]) -> T:
        """What ``work`` gives or raises, once its turn has come; among equals, first come."""
        future: Future[T] = Future()
        self._waiting.put((urgency, next(self._numbers), work, future))
        return future.result()


def _work(waiting: PriorityQueue[_Job]) -> None:
    while True:
        _, _, work, future = waiting.get()
        if work is None or future is None:
            return
        try:
            result = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        # Nothing of a job lives on while the next one is waited for.
        del work, future
