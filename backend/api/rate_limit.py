"""How often unauthenticated callers, who all look the same, may ask for the same thing."""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable

from cachetools import TTLCache

_KEYS = 1_000


class RateLimit:
    """Once per key in ``each_s`` seconds, and ``most`` times a minute in all. Thread-safe."""

    def __init__(
        self,
        each_s: float = 2.0,
        most: int = 30,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._clock = clock
        self._last: TTLCache[Hashable, bool] = TTLCache(_KEYS, each_s, clock)
        self._all: deque[float] = deque()
        self._lock = threading.Lock()

    def take(self, key: Hashable) -> bool:
        """Whether it may be done now; counted if so."""
        now = self._clock()
        with self._lock:
            while self._all and self._all[0] <= now - 60.0:
                self._all.popleft()
            if key in self._last or len(self._all) >= self._most:
                return False
            self._all.append(now)
            self._last[key] = True
            return True
