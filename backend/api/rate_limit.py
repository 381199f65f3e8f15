"""How often the same may be asked for by callers who cannot be told apart."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable

_KEYS = 1_000


class RateLimit:
    """Once for each key in ``each_s`` seconds, and ``most`` times a minute for all. Thread-safe."""

    def __init__(
        self,
        each_s: float = 2.0,
        most: int = 30,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._each_s = each_s
        self._most = most
        self._clock = clock
        self._last: OrderedDict[Hashable, float] = OrderedDict()
        self._all: deque[float] = deque()
        self._lock = threading.Lock()

    def take(self, key: Hashable) -> bool:
        """Whether it may be done now; counted if so."""
        now = self._clock()
        with self._lock:
            while self._all and self._all[0] <= now - 60.0:
                self._all.popleft()
            if now - self._last.get(key, float("-inf")) < self._each_s:
                return False
            if len(self._all) >= self._most:
                return False
            self._all.append(now)
            self._last[key] = now
            self._last.move_to_end(key)
            if len(self._last) > _KEYS:
                self._last.popitem(last=False)
            return True
