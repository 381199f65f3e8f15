"""Encoded pictures, and a cache of them that is bounded in bytes.

Encoding costs as much as a click or more, so its result is kept while there is room. The least
recently used picture goes first. Two threads that want the same picture encode it once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from cachetools import LRUCache

from model.crop import ImageTiles
from model.network.phraseclick import Features


@dataclass(frozen=True, eq=False)
class Embedding:
    """An encoded picture for ``predict`` of this version; only key, width, height are public."""

    version: str
    key: str
    width: int
    height: int
    features: Features
    tiles: ImageTiles

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return self.features.nbytes + self.tiles.nbytes


class HasSize(Protocol):
    """What a cache can hold: anything that knows its own size."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory it takes."""


Value = TypeVar("Value", bound=HasSize)


class EmbeddingCache(Generic[Value]):
    """Least recently used first out, thread-safe. Values are shared: never change one."""

    def __init__(self, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self._values: LRUCache[Hashable, Value] = LRUCache(max_bytes, lambda value: value.nbytes)
        self._making: dict[Hashable, Future[Value]] = {}

    @property
    def max_bytes(self) -> int:
        """The most that the cache holds."""
        return int(self._values.maxsize)

    @property
    def nbytes(self) -> int:
        """Bytes held now; never more than ``max_bytes``."""
        return int(self._values.currsize)

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> Value | None:
        """The value, which then counts as just used, or None."""
        with self._lock:
            return self._values.get(key)

    def get_or_make(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The cached value, or the result of ``make``.

        Threads that ask for a key that is being made wait for it. An exception of ``make`` is
        raised in all of them, and nothing is kept. A value larger than the cache is not kept.
        """
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                return value
            promise = self._making.get(key)
            mine = promise is None
            if promise is None:
                promise = self._making[key] = Future()
        if not mine:
            return promise.result()
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._making[key]
            promise.set_exception(error)
            raise
        with self._lock:
            del self._making[key]
            if value.nbytes <= self.max_bytes:
                self._values[key] = value
        promise.set_result(value)
        return value
