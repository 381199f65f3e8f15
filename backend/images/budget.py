"""Memory for decoding pictures, shared by all threads of a process.

A picture of 0.4 MB can decode to 400 MB. One is within the limit of pixels, sixteen at the same
time are not within the memory. So each thread takes the bytes that it will need before it decodes,
and waits where they are not free. What the picture itself takes is given back when the array is no
longer used, wherever that is.
"""

import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from backend.errors import PictureAwayError

_BUSY = "Too many large pictures are read at the same time. Try again in a minute."


class MemoryBudget:
    """A number of bytes. Thread-safe."""

    def __init__(self, total: int, wait_s: float = 30.0) -> None:
        self.total = total
        self._free = total
        self._wait_s = wait_s
        # Reentrant: an array may be collected while this thread holds the lock.
        self._changed = threading.Condition(threading.RLock())

    @property
    def free(self) -> int:
        """Bytes that nobody holds."""
        return self._free

    @contextmanager
    def take(self, size: int) -> Iterator[None]:
        """Hold ``size`` bytes within the block; more than all count as all.

        Raises PictureAwayError if they do not become free in time.
        """
        size = min(size, self.total)
        ends = time.monotonic() + self._wait_s
        with self._changed:
            while self._free < size:
                left = ends - time.monotonic()
                if left <= 0:
                    raise PictureAwayError(_BUSY)
                self._changed.wait(min(left, 1.0))
            self._free -= size
        try:
            yield
        finally:
            self._give(size)

    def keep(self, array: NDArray[np.uint8]) -> None:
        """Hold the bytes of an array for as long as it is used; never waits."""
        with self._changed:
            self._free -= array.nbytes
        weakref.finalize(array, self._give, array.nbytes).atexit = False

    def _give(self, size: int) -> None:
        with self._changed:
            self._free += size
            self._changed.notify_all()
