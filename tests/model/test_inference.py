"""Passes run one at a time, clicks before pictures, on a thread that ends with its owner."""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch

from model.crop import Box
from model.inference import Inference, InferenceQueue, Priority, passes_for
from model.network.phraseclick import PhraseClick
from model.point_decoder import PointDecoder
from model.prompt import Click, Prompt
from model.tokens import Tokens

T = TypeVar("T")
ROOT = Path(__file__).parents[2]


def test_what_the_work_gives_or_raises_comes_back() -> None:
    queue = InferenceQueue()

    assert queue.run(Priority.PROMPT, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        queue.run(Priority.PROMPT, lambda: 1 // 0)
    assert queue.run(Priority.PICTURE, lambda: 8) == 8


@pytest.mark.parametrize("passes", [1, 2])
def test_all_run_on_its_own_threads_and_never_more_at_once(passes: int) -> None:
    queue = InferenceQueue(passes)
    threads: set[int] = set()
    running = 0
    most = 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            threads.add(threading.get_ident())
        time.sleep(0.005)
        with lock:
            running -= 1

    askers = [threading.Thread(target=queue.run, args=(Priority.PROMPT, work)) for _ in range(20)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()

    assert most == passes
    assert len(threads) == passes
    assert threading.get_ident() not in threads


def test_clicks_pass_pictures_and_equals_keep_their_order() -> None:
    queue = InferenceQueue()
    busy, go = threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> None:
        busy.set()
        go.wait(10)

    askers = [threading.Thread(target=queue.run, args=(Priority.PICTURE, first))]
    askers[0].start()
    busy.wait(10)
    for name in ("picture 1", "picture 2", "click 1", "click 2"):
        priority = Priority.PROMPT if name.startswith("click") else Priority.PICTURE
        askers.append(
            threading.Thread(
                target=queue.run, args=(priority, lambda name=name: order.append(name))
            )
        )
        askers[-1].start()
        time.sleep(0.05)
    go.set()
    for asker in askers:
        asker.join()

    assert order == ["click 1", "click 2", "picture 1", "picture 2"]


def test_the_thread_ends_with_its_owner() -> None:
    queue = InferenceQueue()
    where = queue.run(Priority.PROMPT, threading.current_thread)
    assert where.is_alive()

    del queue
    gc.collect()
    where.join(10)

    assert not where.is_alive()


@pytest.mark.parametrize(
    ("cores", "threads", "passes"),
    [(1, 1, 1), (2, 1, 2), (8, 2, 4), (2, 2, 1), (64, 1, 4), (2, 8, 1)],
)
def test_there_are_as_many_passes_as_cores_have_room_for(
    monkeypatch: pytest.MonkeyPatch, cores: int, threads: int, passes: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(cores)), raising=False)
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    assert passes_for(torch.device("cpu")) == passes
    assert passes_for(torch.device("cuda")) == 1


# One process imports torch; each of its forks lives for another while and then ends normally.
LEAVING = """
import os, sys, threading, time
import numpy as np
from model.predictor import Click, Predictor

def ask():
    try:
        embedding = predictor.encode(np.zeros((64, 96, 3), np.uint8))
        while True:
            predictor.predict(embedding, [Click(5, 5)])
    except RuntimeError:
        pass  # The interpreter shuts down.

ends = []
for number in range(24):
    child = os.fork()
    if child == 0:
        predictor = Predictor(sys.argv[1], device="cpu", threads=1)
        if number % 4:
            threading.Thread(target=ask, daemon=True).start()
        time.sleep(0.013 * (number % 8))
        sys.exit(0)
    ends.append(os.waitpid(child, 0)[1])
print(ends)
"""


def tokens(count: int) -> Tokens:
    vectors = np.random.default_rng(count).normal(size=(count, 8)).astype(np.float32)
    return Tokens(("word",) * count, (), (), vectors)


@pytest.mark.parametrize(("nothing", "cells"), [(-math.inf, 64), (math.inf, 16)])
def test_phrases_are_answered_together_as_each_alone(
    small_network: PhraseClick, monkeypatch: pytest.MonkeyPatch, nothing: float, cells: int
) -> None:
    # given a limit that every phrase passes, or none, and more phrases than fit one pass
    monkeypatch.setattr("model.inference.NOTHING", nothing)
    monkeypatch.setattr("model.inference.AT_ONCE", 2)
    inference = Inference(small_network, torch.device("cpu"), InferenceQueue())
    with torch.inference_mode():
        features = small_network.encode(torch.rand(1, 3, 128, 128))
    box, several = Box(0, 0, 200, 200), [tokens(2), tokens(1), tokens(3)]
    # when
    answers = inference.phrases(features, box, several)
    # then
    for answer, one in zip(answers, several, strict=True):
        alone = inference.decode(features, box, Prompt((), one), None)
        assert answer.grid.logits.shape == (cells, cells)
        if cells == 64:
            assert np.allclose(answer.grid.logits, alone.grid.logits, atol=1e-4)
            assert answer.iou_logit == pytest.approx(alone.iou_logit, abs=1e-4)


def test_an_answer_holds_no_tensor_whose_freeing_would_run_torch(
    small_network: PhraseClick,
) -> None:
    inference = Inference(small_network, torch.device("cpu"), InferenceQueue())
    with torch.inference_mode():
        features = small_network.encode(torch.rand(1, 3, 128, 128))
    box = Box(0, 0, 200, 200)

    clicked = inference.decode(features, box, Prompt((Click(50, 50),), tokens(1)), None)
    (named,) = inference.phrases(features, box, [tokens(1)])

    for owner in (clicked.grid.logits, named.grid.logits):
        while isinstance(owner, np.ndarray):
            owner = owner.base
        assert owner is None


def test_a_search_behind_clicks_waits_as_new_pictures_do(small_network: PhraseClick) -> None:
    # given
    asked: list[Priority] = []

    class Recording(InferenceQueue):
        def run(self, priority: Priority, work: Callable[[], T]) -> T:
            asked.append(priority)
            return super().run(priority, work)

    inference = Inference(small_network, torch.device("cpu"), Recording())
    with torch.inference_mode():
        features = small_network.encode(torch.rand(1, 3, 128, 128))
    box, prompt = Box(0, 0, 200, 200), Prompt((Click(50, 50),), tokens(1))
    for one, priority in (
        (inference, Priority.PROMPT),
        (inference.behind_clicks(), Priority.PICTURE),
    ):
        asked.clear()
        # when
        one.decode(features, box, prompt, None)
        one.phrases(features, box, [tokens(1)])
        PointDecoder(one, features, tokens(1).vectors)([(8, 8)])
        # then
        assert set(asked) == {priority}
        assert len(asked) >= 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_script_that_ends_in_the_middle_of_a_pass_ends_in_order(checkpoint_path: Path) -> None:
    left = subprocess.run(
        [sys.executable, "-c", LEAVING, str(checkpoint_path)],
        capture_output=True,
        text=True,
        timeout=480,
    )

    assert left.stderr == ""
    assert left.stdout.strip() == str([0] * 24)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_no_thread_of_numpy_spins_beside_the_network() -> None:
    program = (
        "import os, model, numpy\n"
        "product = numpy.ones((600, 600)) @ numpy.ones((600, 600))\n"
        "print(len(os.listdir('/proc/self/task')))"
    )
    environment = {name: value for name, value in os.environ.items() if "THREADS" not in name}
    environment["PYTHONPATH"] = str(ROOT)

    said = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )

    assert int(said.stdout) == 1
