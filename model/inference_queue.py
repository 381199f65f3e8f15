"""Forward passes, one at a time on a thread of their own, clicks before new pictures.

One thread, because each thread that runs a pass keeps scratch memory and a pool of OpenMP threads:
sixteen request threads cost 150 MB more than one. One pass at a time, because two passes on half
the cores each take twice as long. Clicks first, because an annotator waits for a mask that takes a
moment, while a new picture takes several times as long anyway.

The thread belongs to a ``ThreadPoolExecutor``, which Python joins before it tears down the
interpreter. A daemon thread would be stopped in the middle of torch's C++ code, which aborts the
process.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from enum import IntEnum
from queue import PriorityQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Priority(IntEnum):
    """Lower values run first."""

    PROMPT = 0
    PICTURE = 1


_Job = tuple[Priority, int, Callable[[], Any], "Future[Any]"]


class InferenceQueue:
    """Runs functions on one thread, in order of priority. The thread ends with this object."""

    def __init__(self) -> None:
        self._waiting: PriorityQueue[_Job] = PriorityQueue()
        self._numbers = itertools.count()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")

    def run(self, priority: Priority, work: Callable[[], T]) -> T:
        """Wait for this function's turn, run it, and return or raise what it does.

        Among equal priorities the first comes first. Raises RuntimeError while the interpreter
        shuts down.
        """
        future: Future[T] = Future()
        self._waiting.put((priority, next(self._numbers), work, future))
        # One task for each job. It runs the job that is first by then, which may be another.
        self._executor.submit(_run_first, self._waiting)
        return future.result()


def _run_first(waiting: PriorityQueue[_Job]) -> None:
    _, _, work, future = waiting.get()
    try:
        result = work()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
