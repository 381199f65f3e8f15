"""Work on what callers sent that keeps all other threads waiting, such as reading a long config."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from backend.errors import TooManyError

# The next turn begins after this multiple of the processor time that the last one took. Clicks are
# slower beside it: so rarely that few of them are.
_PAUSES = 20
# Threads that work or wait. A server has some sixty, which are also for clicks.
_MOST = 8


class Turns:
    """One thread works at a time, with pauses. Thread-safe."""

    def __init__(self) -> None:
        self._room = threading.BoundedSemaphore(_MOST)
        self._turn = threading.Lock()
        self._next = 0.0

    @contextmanager
    def take(self, what: str) -> Iterator[None]:
        """Wait for a turn. Raises TooManyError, which names ``what``, where too many wait."""
        if not self._room.acquire(blocking=False):
            raise TooManyError(f"Too many {what} arrive at the same time. Try again in a moment.")
        try:
            with self._turn:
                time.sleep(max(0.0, self._next - time.monotonic()))
                started = time.thread_time()
                try:
                    yield
                finally:
                    spent = time.thread_time() - started
                    self._next = time.monotonic() + _PAUSES * spent
        finally:
            self._room.release()
