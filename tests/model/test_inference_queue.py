"""Passes run one at a time, clicks before pictures, on a thread that ends with its owner."""

from __future__ import annotations

import gc
import threading
import time

import pytest

from model.inference_queue import Passes, Urgency


def test_what_the_work_gives_or_raises_comes_back() -> None:
    passes = Passes()

    assert passes.run(Urgency.PROMPT, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        passes.run(Urgency.PROMPT, lambda: 1 // 0)
    assert passes.run(Urgency.PICTURE, lambda: 8) == 8


def test_all_run_on_one_thread_and_never_two_at_once() -> None:
    passes = Passes()
    threads: set[int] = set()
    running = 0
    most = 0

    def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        threads.add(threading.get_ident())
        time.sleep(0.002)
        running -= 1

    askers = [threading.Thread(target=passes.run, args=(Urgency.PROMPT, work)) for _ in range(20)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()

    assert most == 1
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_clicks_pass_pictures_and_equals_keep_their_order() -> None:
    passes = Passes()
    busy, go = threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> None:
        busy.set()
        go.wait(10)

    askers = [threading.Thread(target=passes.run, args=(Urgency.PICTURE, first))]
    askers[0].start()
    busy.wait(10)
    for name in ("picture 1", "picture 2", "click 1", "click 2"):
        urgency = Urgency.PROMPT if name.startswith("click") else Urgency.PICTURE
        askers.append(
            threading.Thread(
                target=passes.run, args=(urgency, lambda name=name: order.append(name))
            )
        )
        askers[-1].start()
        time.sleep(0.05)
    go.set()
    for asker in askers:
        asker.join()

    assert order == ["click 1", "click 2", "picture 1", "picture 2"]


def test_the_thread_ends_with_its_owner() -> None:
    passes = Passes()
    where = passes.run(Urgency.PROMPT, threading.current_thread)
    assert where.is_alive()

    del passes
    gc.collect()
    where.join(10)

    assert not where.is_alive()
