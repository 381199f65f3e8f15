"""What runs while the interpreter ends; `test_inference` ends whole processes."""

from __future__ import annotations

import threading

import pytest

from model.in_flight import InFlight


def test_closing_waits_for_the_calls_that_run() -> None:
    # given a call that runs
    calls, begun, end = InFlight(), threading.Event(), threading.Event()
    answers: list[int] = []

    @calls.counted
    def call() -> None:
        begun.set()
        end.wait()
        answers.append(1)

    thread = threading.Thread(target=call)
    thread.start()
    begun.wait()
    # when it does not end in time, then later does
    in_time = calls.close(timeout=0.01)
    threading.Timer(0.05, end.set).start()
    ended = calls.close()
    # then
    assert (in_time, ended, answers) == (False, True, [1])
    thread.join()


def test_no_call_begins_after_closing() -> None:
    calls = InFlight()
    answer = calls.counted(lambda: 1)
    assert answer() == 1

    calls.close()

    with pytest.raises(RuntimeError, match="shutting down"):
        answer()


def test_a_call_that_fails_has_ended() -> None:
    calls = InFlight()

    @calls.counted
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()

    assert calls.close(timeout=0)


def test_a_forked_child_waits_for_no_call_of_its_parent() -> None:
    # given
    calls, begun, end = InFlight(), threading.Event(), threading.Event()
    running = calls.counted(lambda: (begun.set(), end.wait()))
    thread = threading.Thread(target=running)
    thread.start()
    begun.wait()
    # when
    calls.reset()
    # then
    assert calls.close(timeout=0)
    end.set()
    thread.join()
