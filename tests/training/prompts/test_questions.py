"""The simulated dialogue between an annotator and the network."""

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import read_recipe
from training.data import PackDataset
from training.data.batches import Batches
from training.prompts.questions import Batch, Question, prompt_inputs, simulate_corrections
from training.train.loop import Run


@pytest.fixture
def run(recipe_file: Path, tmp_path: Path) -> Run:
    torch.set_num_threads(1)
    text = recipe_file.read_text().replace("pictures = 2", "pictures = 4")
    text = text.replace("steps = 6", "steps = 6\nrounds = [0.0, 0.0, 0.0, 1.0]\nmany = 0.0")
    recipe_file.write_text(
        text + "\n[prompts]\nphrase_first = 0.5\nphrase_late = 0.3\nboxed = 0.2\n"
    )
    return Run(read_recipe(recipe_file), tmp_path / "run", tmp_path)


def answered(run: Run, batch: Batch) -> torch.Tensor | None:
    with torch.no_grad():
        features = run.network.encode(batch.image)
    return simulate_corrections(run.network, run.tokenizer, features, batch)


def test_three_rounds_add_up_to_three_clicks_where_something_is_wrong(run: Run) -> None:
    # given
    batch = run.batches.make(1, 96).to(run.device)
    before = [len(question.clicks) for question in batch.questions]
    # when
    previous = answered(run, batch)
    # then
    assert {question.rounds for question in batch.questions} == {3}
    assert previous is not None
    assert previous.shape == batch.target.shape
    assert 0.0 <= float(previous.min()) <= float(previous.max()) <= 1.0
    for row, (question, had) in enumerate(zip(batch.questions, before, strict=True)):
        added = question.clicks[had:]
        skipped = sum(question.noise.skips[:3])
        assert len(added) <= (3 if question.clickable else 0)
        if question.clickable:
            # the untrained network is wrong everywhere, so only skipped rounds lack a click
            assert len(added) >= 3 - skipped
        for x, y, sign in added:
            inside = float(batch.target[row, 0, int(y), int(x)]) > 0.5
            assert (sign > 0) == inside
            assert not batch.void[row, 0, int(y), int(x)]
    assert run.network.training


def test_a_phrase_comes_first_or_with_the_click_or_later(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given what is asked in which round
    heard: list[list[tuple[Question, str, int]]] = []

    def listening(questions: Sequence[Question], texts: Sequence[str], *rest: Any) -> Any:
        clicks = [len(question.clicks) for question in questions]
        heard.append(list(zip(questions, texts, clicks, strict=True)))
        return prompt_inputs(questions, texts, *rest)

    monkeypatch.setattr("training.prompts.questions.prompt_inputs", listening)
    ways = set()
    for step in range(4):
        # when
        heard.clear()
        batch = run.batches.make(step, 96).to(run.device)
        answered(run, batch)
        for question in (q for q in batch.questions if q.clickable and q.text):
            # (a batch may be padded with a question that is in it already)
            trajectory = [
                next((text, clicks) for q, text, clicks in asked if q is question)
                for asked in heard
            ]
            known = [bool(text) for text, _ in trajectory]
            # then what is once known stays known
            assert known == [number >= question.phrase_from for number in range(3)]
            assert {text for text, _ in trajectory} <= {"", question.text}
            if known[0]:
                ways.add("first" if trajectory[0][1] == 0 else "together")
            else:
                assert trajectory[0][1] > 0 or question.box is not None
                ways.add("later")
    assert ways == {"first", "together", "later"}


def test_without_rounds_a_phrase_that_was_to_come_first_still_gets_its_click(
    run: Run, shard: Path, recipe_file: Path
) -> None:
    recipe_file.write_text(recipe_file.read_text().replace("[0.0, 0.0, 0.0, 1.0]", "[1.0]"))
    batches = Batches(PackDataset([shard]), read_recipe(recipe_file))
    waiting = 0
    for step in range(6):
        batch = batches.make(step, 96).to(run.device)
        first = [q for q in batch.questions if q.clickable and not (q.clicks or q.box)]
        waiting += len(first)
        answered(run, batch)
        for question in first:
            assert len(question.clicks) == 1
            assert question.clicks[0][2] == 1
    assert waiting > 0


def test_what_a_prompt_goes_through_does_not_depend_on_the_others(run: Run, shard: Path) -> None:
    # given a step as one process sees it, and as the second of two sees it
    alone = run.batches.make(2, 96).to(run.device)
    half = Batches(PackDataset([shard]), run.recipe, rank=1, world=2).make(2, 96).to(run.device)
    run.network.eval()
    monkey = copy.deepcopy(run.network)
    monkey.train = lambda mode=True: monkey  # type: ignore[method-assign,assignment]
    run.network = monkey
    # when both are corrected by a network whose norms do not look at the batch
    answered(run, alone)
    answered(run, half)
    # then its prompts got the same clicks
    rows = [row for row, p in enumerate(alone.picture_index.tolist()) if p % 2 == 1]
    assert [alone.questions[row].clicks for row in rows] == [q.clicks for q in half.questions]


@pytest.fixture
def long_run(recipe_file: Path, tmp_path: Path) -> Run:
    """Every step corrects one prompt of each picture twelve times, the others at most once."""
    text = recipe_file.read_text().replace(
        "steps = 6", "steps = 6\nrounds = [0.5, 0.5]\nmany = 1.0\nmany_rounds = [12]"
    )
    recipe_file.write_text(text + "\n[prompts]\nmany_clicks = 0.0\nphrase_late = 0.5\n")
    return Run(read_recipe(recipe_file), tmp_path / "run", tmp_path)


def test_many_rounds_correct_one_prompt_of_each_picture(long_run: Run) -> None:
    # given
    batch = long_run.batches.make(1, 96).to(long_run.device)
    before = [len(question.clicks) for question in batch.questions]
    # when
    answered(long_run, batch)
    # then
    places = batch.picture_index.tolist()
    for picture in set(places):
        rows = [row for row, place in enumerate(places) if place == picture]
        rounds = [batch.questions[row].rounds for row in rows if batch.questions[row].clickable]
        assert rounds.count(12) == min(len(rounds), 1)
        assert all(count in (0, 1, 12) for count in rounds)
    for question, had in zip(batch.questions, before, strict=True):
        if question.rounds == 12:
            skipped = sum(question.noise.skips[:12])
            assert 12 - skipped <= len(question.clicks) - had <= 12
            assert 0 <= question.phrase_from <= 12


def test_a_given_mask_opens_the_conversation_or_stands_before_the_last_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given previous masks that the network did not make
    batch = run.batches.make(1, 96).to(run.device)
    given = (torch.rand(batch.target.shape) > 0.5).float()
    batch = dataclasses.replace(batch, given=given)
    for row, question in enumerate(batch.questions):
        question.given = ("first", "last", "")[row % 3]  # type: ignore[assignment]
        question.clickable = True
    shown: list[torch.Tensor] = []
    decode = run.network.decode

    def watching(features: Any, clicks: Any, words: Any, previous: Any, *rest: Any) -> Any:
        shown.append(previous.clone())
        return decode(features, clicks, words, previous, *rest)

    monkeypatch.setattr(run.network, "decode", watching)
    # when
    last = answered(run, batch)
    # then
    assert last is not None
    for row, question in enumerate(batch.questions):
        assert torch.equal(shown[0][row], given[row]) == (question.given == "first")
        assert torch.equal(last[row], given[row]) == (question.given == "last")


def test_a_box_is_asked_about_before_the_first_click(run: Run) -> None:
    # given a prompt that has nothing but a box
    batch = run.batches.make(1, 96).to(run.device)
    for question in batch.questions:
        question.clicks.clear()
        question.rounds = 0
        question.clickable = True
        question.box = (10.0, 10.0, 50.0, 60.0)
    # when it is learned from at once, then no click is added
    answered(run, batch)
    assert not any(question.clicks for question in batch.questions)
    inputs = prompt_inputs(batch.questions, [""] * len(batch.questions), run.tokenizer, run.device)
    assert inputs.boxes is not None
    assert inputs.boxes.shape == (len(batch.questions), 4)
