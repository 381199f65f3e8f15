"""The cache: bounded, least recently used first out, each value made once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.embedding import EmbeddingCache


@dataclass(frozen=True)
class Weight:
    nbytes: int


def test_the_longest_unused_goes_first() -> None:
    cache: EmbeddingCache[Weight] = EmbeddingCache(30)
    for key in "abc":
        cache.get_or_make(key, lambda: Weight(10))
    cache.get("a")

    cache.get_or_make("d", lambda: Weight(10))

    assert cache.get("b") is None
    assert all(cache.get(key) is not None for key in "acd")


@given(sizes=st.lists(st.tuples(st.integers(0, 8), st.integers(1, 60)), max_size=60))
def test_never_above_its_bound(sizes: list[tuple[int, int]]) -> None:
    cache: EmbeddingCache[Weight] = EmbeddingCache(100)
    largest: dict[int, Weight] = {}

    for key, size in sizes:
        value = cache.get_or_make(key, lambda size=size: Weight(size))  # type: ignore[misc]
        largest[key] = value
        held = [w for k in largest if (w := cache._values.get(k)) is not None]
        assert cache.nbytes == sum(w.nbytes for w in held) <= 100
        assert cache.get(key) is value


def test_what_is_larger_than_the_cache_is_given_but_not_kept() -> None:
    cache: EmbeddingCache[Weight] = EmbeddingCache(10)
    cache.get_or_make("small", lambda: Weight(5))

    assert cache.get_or_make("large", lambda: Weight(11)) == Weight(11)

    assert cache.get("large") is None
    assert cache.get("small") is not None


def test_many_at_once_make_a_value_once() -> None:
    cache: EmbeddingCache[Weight] = EmbeddingCache(100)
    made: list[int] = []
    ready = threading.Barrier(8)

    def make() -> Weight:
        made.append(1)
        time.sleep(0.05)
        return Weight(1)

    def ask() -> Weight:
        ready.wait()
        return cache.get_or_make("picture", make)

    with ThreadPoolExecutor(8) as pool:
        values = [future.result() for future in [pool.submit(ask) for _ in range(8)]]

    assert len(made) == 1
    assert all(value is values[0] for value in values)


def test_different_keys_do_not_wait_for_each_other() -> None:
    cache: EmbeddingCache[Weight] = EmbeddingCache(100)
    started, finish = threading.Event(), threading.Event()

    def slow() -> Weight:
        started.set()
        finish.wait(5)
        return Weight(1)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cache.get_or_make, "slow", slow)
        started.wait(5)
        quick = cache.get_or_make("quick", lambda: Weight(2))
        assert not waiting.done()
        finish.set()
        assert waiting.result(5) == Weight(1)
    assert quick == Weight(2)


def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    cache: EmbeddingCache[Weight] = EmbeddingCache(100)
    started, fail = threading.Event(), threading.Event()

    def broken() -> Weight:
        started.set()
        fail.wait(5)
        raise ValueError("no picture")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get_or_make, "a", broken)
        started.wait(5)
        second = pool.submit(cache.get_or_make, "a", lambda: Weight(3))
        time.sleep(0.05)
        fail.set()
        with pytest.raises(ValueError, match="no picture"):
            first.result(5)
        with pytest.raises(ValueError, match="no picture"):
            second.result(5)

    assert cache.get_or_make("a", lambda: Weight(3)) == Weight(3)
