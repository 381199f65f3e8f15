"""Long work on what callers sent is done one by one, with pauses, and few wait for it."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from backend.errors import TooManyError
from backend.label_studio.config_xml import Turns


def test_one_works_at_a_time_and_few_wait() -> None:
    # given
    turns, go_on = Turns(), threading.Event()
    at_work: list[int] = []
    most = 0

    def work(number: int) -> None:
        nonlocal most
        with turns.take("things"):
            at_work.append(number)
            most = max(most, len(at_work))
            assert go_on.wait(20)
            at_work.remove(number)

    # when
    with ThreadPoolExecutor(8) as threads:
        working = [threads.submit(work, number) for number in range(8)]
        while turns._room._value:
            time.sleep(0.01)
        with pytest.raises(TooManyError, match="Too many things"), turns.take("things"):
            pass
        go_on.set()
        for done in working:
            done.result(20)
    # then
    assert most == 1
    with turns.take("things"):
        pass


def test_the_next_turn_begins_later_the_longer_the_last_one_took() -> None:
    # given
    turns = Turns()
    started, ends = time.monotonic(), time.thread_time() + 0.02
    with turns.take("things"):
        while time.thread_time() < ends:
            pass
    # when
    with turns.take("things"):
        waited = time.monotonic() - started
    # then
    assert waited > 0.4
