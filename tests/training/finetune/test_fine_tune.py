"""A team's labels make a candidate; the champion is never changed."""

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from model import checkpoint
from training.data import Dataset, PackDataset, Sample, SampleObject, Without
from training.data.wrappers import Renamed
from training.errors import DataError
from training.finetune import fine_tune as module
from training.finetune.fine_tune import FineTuned, fine_tune
from training.finetune.labels import LEAST_OBJECTS, has_learned, labels_of, learned_labels
from training.finetune.recipe import BUDGETS, FineTuneRecipe, steps_for

TINY = FineTuneRecipe(
    steps=4, pictures=2, prompts=2, crop=64, first_crop=0, many=0.0, looks=2, look_objects=2,
    device="cpu", amp="off",
)  # fmt: skip

# For runs that will be stopped: everything is saved after every step.
CAREFUL = dataclasses.replace(TINY, save_seconds=0.0)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def team(shard: Path) -> Dataset:
    return Without(PackDataset([shard]), [4, 5])


@pytest.fixture
def held_out(shard: Path) -> Dataset:
    return Without(PackDataset([shard]), [0, 1, 2, 3])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def weights(tuned: FineTuned) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load(tuned.folder).state)


def same(one: FineTuned, other: FineTuned) -> bool:
    ours, theirs = weights(one), weights(other)
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def learned(*data: Any, **options: Any) -> tuple[FineTuned, list[float]]:
    """A candidate, and the progress that was said on the way."""
    ticks: list[float] = []
    made = fine_tune(*data, tick=lambda done, figures: ticks.append(done), **options)
    return made, ticks


class Categorised(Renamed):
    """A data set whose categories have other names, or none."""

    def __init__(self, dataset: Dataset, names: Mapping[str, str]) -> None:
        super().__init__(dataset, "harbour")
        self._names = names

    def __getitem__(self, index: int) -> Sample:
        return dataclasses.replace(super().__getitem__(index), objects=self.objects(index))

    def objects(self, index: int) -> tuple[SampleObject, ...]:
        return tuple(
            dataclasses.replace(about, category=self._names.get(about.category or ""))
            for about in super().objects(index)
        )


class StopError(Exception):
    """Somebody cancels."""


def stop_after(steps: int) -> Callable[[], None]:
    """A check that lets so many steps pass."""
    passed = iter(range(steps))

    def check() -> None:
        if next(passed, None) is None:
            raise StopError

    return check


def test_a_candidate_says_where_it_comes_from_and_leaves_the_champion_alone(
    unlearned: Path, team: Dataset, held_out: Dataset, tmp_path: Path
) -> None:
    # given
    before = contents(unlearned)
    # when
    made, ticks = learned(
        unlearned, team, held_out, out=tmp_path / "out", recipe=TINY, name="harbour"
    )
    # then
    assert contents(unlearned) == before
    loaded, champion = checkpoint.load(made.folder), checkpoint.load(unlearned)
    assert loaded.metrics["parent"] == champion.version
    assert loaded.version == made.version
    assert made.version.startswith("harbour-")
    assert any(not torch.equal(loaded.state[n], champion.state[n]) for n in champion.state
               if loaded.state[n].shape == champion.state[n].shape)  # fmt: skip
    # and its metrics say what it learned from, and how far it came
    metrics = loaded.metrics["metrics"]
    assert metrics["data"]["pictures"] == 4
    assert metrics["data"]["labels"] == 12
    assert metrics["data"]["validation_pictures"] == 2
    assert metrics["labels"] == {"cat": 4, "dog": 8}
    assert metrics["categories"] == ["cat", "dog"]
    assert set(loaded.config.attributes) >= {"cat", "dog"}
    assert made.metrics == metrics
    assert (metrics["step"], metrics["stopped"]) == (4, "steps")
    assert ticks == [0.25, 0.5, 0.75, 1.0]
    assert {"clicks@1", "clicks@3", "phrase@1"} <= set(metrics["before"])
    assert set(metrics["after"]) == set(metrics["before"])
    assert [look["step"] for look in metrics["curve"]] == [0, 2, 4]


def test_the_same_call_makes_the_same_candidate(
    unlearned: Path, team: Dataset, tmp_path: Path
) -> None:
    one = fine_tune(unlearned, team, None, out=tmp_path / "one", recipe=TINY)
    other = fine_tune(unlearned, team, None, out=tmp_path / "other", recipe=TINY)
    another = fine_tune(
        unlearned, team, None, out=tmp_path / "third", recipe=dataclasses.replace(TINY, seed=2)
    )
    assert same(one, other)
    assert one.version == other.version
    assert not same(one, another)
    assert one.metrics["before"] == one.metrics["after"] == {}


def test_it_stops_before_the_next_step_and_goes_on_as_if_nothing_had_happened(
    unlearned: Path, team: Dataset, held_out: Dataset, tmp_path: Path
) -> None:
    # given
    whole = fine_tune(unlearned, team, held_out, out=tmp_path / "whole", recipe=CAREFUL)
    # when it is cancelled after its third step
    there: dict[str, Any] = {"out": tmp_path / "stopped", "recipe": CAREFUL}
    ticks: list[float] = []
    with pytest.raises(StopError):
        fine_tune(
            unlearned, team, held_out, check=stop_after(3),
            tick=lambda done, figures: ticks.append(done), **there,
        )  # fmt: skip
    # then no further step was made
    assert ticks == [0.25, 0.5, 0.75]
    assert not (tmp_path / "stopped" / "checkpoint").exists()
    # and the same call ends as the undisturbed one, without doing those steps again
    stopped, again = learned(unlearned, team, held_out, **there)
    assert again == [1.0]
    assert same(whole, stopped)
    scores = [[look["score"] for look in made.metrics["curve"]] for made in (stopped, whole)]
    assert scores[0] == scores[1]
    # and once more: it is done
    assert fine_tune(unlearned, team, held_out, check=stop_after(0), **there) == stopped


def test_other_labels_start_from_the_beginning(
    unlearned: Path, team: Dataset, tmp_path: Path
) -> None:
    # given a run that was stopped
    with pytest.raises(StopError):
        fine_tune(unlearned, team, None, out=tmp_path / "a", recipe=TINY, check=stop_after(2))
    # when there are fewer labels
    fewer = Without(team, [0])
    made, ticks = learned(unlearned, fewer, None, out=tmp_path / "a", recipe=TINY)
    # then nothing of the old run is in it
    assert len(ticks) == 4
    assert same(made, fine_tune(unlearned, fewer, None, out=tmp_path / "b", recipe=TINY))


def test_the_last_weights_become_the_candidate_however_they_measure(
    unlearned: Path,
    team: Dataset,
    held_out: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given looks of which an earlier one is better
    seen: list[dict[str, Any]] = []
    scores = iter([0.5, 0.8, 0.6, 0.7])

    def look(network: Any, *rest: Any, **options: Any) -> dict[str, float]:
        seen.append({name: t.clone() for name, t in network.state_dict().items()})
        return {"clicks@1": next(scores)}

    monkeypatch.setattr(module, "quick_look", look)
    recipe = dataclasses.replace(TINY, steps=3, looks=3)
    # when
    made = fine_tune(unlearned, team, held_out, out=tmp_path / "out", recipe=recipe)
    # then it is the last
    assert made.metrics["before"] == {"clicks@1": 0.5}
    assert made.metrics["after"] == {"clicks@1": 0.7}
    learned, last = weights(made), seen[3]
    assert all(torch.allclose(learned[name], last[name], atol=1e-3) for name in last)
    assert any(not torch.allclose(learned[name], seen[1][name], atol=1e-5) for name in last)


def test_the_minutes_end_it(unlearned: Path, team: Dataset, tmp_path: Path) -> None:
    recipe = dataclasses.replace(TINY, steps=1000, minutes=1e-6)
    made = fine_tune(unlearned, team, None, out=tmp_path / "out", recipe=recipe)
    assert (made.metrics["step"], made.metrics["stopped"]) == (1, "minutes")


def test_minutes_in_which_others_have_the_processor_count_half(
    unlearned: Path, team: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given steps that take 20 s each, of which this process has the processor for 1 s or 12 s
    def seconds(share: float) -> float:
        looks, worked = itertools.count(0.0, 10.0), itertools.count(0.0, 20.0 * share)
        clock = SimpleNamespace(monotonic=lambda: next(looks), process_time=lambda: next(worked))
        monkeypatch.setattr("training.train.loop.time", clock)
        recipe = dataclasses.replace(TINY, steps=3, minutes=60)
        made = fine_tune(unlearned, team, None, out=tmp_path / f"{share}", recipe=recipe)
        assert made.metrics["stopped"] == "steps"
        return float(made.metrics["seconds"])

    # when / then
    assert seconds(0.05) == 3 * 10
    assert seconds(0.6) == 3 * 12
    assert seconds(1.5) == 3 * 20


def test_base_data_have_their_share_of_every_step(
    unlearned: Path, team: Dataset, held_out: Dataset, tmp_path: Path
) -> None:
    # given / when
    recipe = dataclasses.replace(TINY, replay_share=0.5)
    made = fine_tune(unlearned, team, None, out=tmp_path / "a", recipe=recipe, replay=held_out)
    # then
    assert checkpoint.load(made.folder).metrics["metrics"]["data"]["replay_pictures"] == 2
    champion = checkpoint.load(unlearned)
    inputs = module._Inputs(champion, champion, team, None, held_out, recipe)
    training = module._Training(inputs, tmp_path / "b")
    keys = [key for step in range(30) for key in training.run.batches.make(step, 64).keys]
    replayed = sum(key in ("picture-4", "picture-5") for key in keys) / len(keys)
    assert 0.3 < replayed < 0.7
    # and with base data nothing is distilled
    assert training.run.auxiliary_loss is None


def test_labels_that_the_vocabulary_does_not_know_can_be_typed_afterwards(
    unlearned: Path, team: Dataset, tmp_path: Path
) -> None:
    # given a team with a word of its own
    assert not checkpoint.load(unlearned).tokenizer().knows("hull scratch")
    # when
    names = Categorised(team, {"cat": "Hull_Scratch", "dog": "Dog"})
    made = fine_tune(unlearned, names, None, out=tmp_path / "out", recipe=TINY)
    # then
    loaded = checkpoint.load(made.folder)
    assert loaded.tokenizer().knows("hull scratch")
    assert set(loaded.metrics["metrics"]["new_words"]) == {"hull", "scratch"}
    assert "hull scratch" in loaded.config.attributes
    assert "Dog" not in loaded.config.attributes


def test_nothing_labeled_is_said(unlearned: Path, team: Dataset, tmp_path: Path) -> None:
    nothing = Without(team, range(len(team)))
    with pytest.raises(DataError, match="no labeled object"):
        fine_tune(unlearned, nothing, None, out=tmp_path / "out", recipe=TINY)


def test_labels_of_earlier_trainings_stay_learned_while_they_are_in_the_data(
    unlearned: Path, team: Dataset, held_out: Dataset, tmp_path: Path
) -> None:
    # given a version that was trained on cats and dogs
    first = fine_tune(unlearned, team, None, out=tmp_path / "first", recipe=TINY)
    # when it learns from fewer of them
    made = fine_tune(first.folder, held_out, None, out=tmp_path / "second", recipe=TINY)
    # then
    labels = checkpoint.load(made.folder).metrics["metrics"]["labels"]
    assert labels == {"cat": 4, "dog": 8}
    assert has_learned(labels, "Dog")
    assert not has_learned({"cat": LEAST_OBJECTS - 1}, "cat")
    assert not has_learned(labels, "horse")
    # and what the team has withdrawn is left to the base
    withdrawn = Categorised(held_out, {"cat": "cat"})
    assert learned_labels(labels, withdrawn) == {"cat": 4}


def test_what_is_labeled_without_names_leaves_all_labels_to_the_base(
    unlearned: Path, team: Dataset, tmp_path: Path
) -> None:
    # given labels that the project has renamed since, so that their objects have no category
    made = fine_tune(unlearned, Categorised(team, {}), None, out=tmp_path / "out", recipe=TINY)
    # when
    labels = labels_of(made.metrics)
    # then
    assert not has_learned(labels, "dog")
    assert has_learned(labels, "")
    assert has_learned(labels_of(checkpoint.load(unlearned).metrics["metrics"]), "dog")


@pytest.mark.parametrize("foreign", [None, ["cat"], "cat", 7])
def test_a_foreign_checkpoints_labels_are_not_taken_for_a_teams(foreign: object) -> None:
    assert labels_of({"labels": foreign}) is None


def test_more_labels_make_more_steps_within_bounds() -> None:
    # given / when
    most = {name: recipe.most_steps for name, recipe in BUDGETS.items()}
    # then
    assert steps_for(1, 500) < steps_for(20, 500) < steps_for(1000, 500) == 500
    assert most["quick"] < most["thorough"]
    assert all(recipe.minutes < 30 for recipe in BUDGETS.values())


@pytest.mark.slow
def test_killed_at_any_time_it_ends_as_if_it_had_not_been(
    unlearned: Path, shard: Path, team: Dataset, tmp_path: Path
) -> None:
    # given
    recipe = dataclasses.replace(CAREFUL, steps=8)
    whole = fine_tune(unlearned, team, None, out=tmp_path / "whole", recipe=recipe)
    # when a process is killed without warning in its sixth step
    code = (
        "import sys, json, dataclasses; from pathlib import Path\n"
        "from training.data import PackDataset, Without\n"
        "from training.finetune.fine_tune import fine_tune\n"
        "from training.finetune.recipe import FineTuneRecipe\n"
        "recipe = FineTuneRecipe(**json.loads(sys.argv[4]))\n"
        "fine_tune(Path(sys.argv[1]), Without(PackDataset([sys.argv[2]]), [4, 5]), None,\n"
        "          out=Path(sys.argv[3]), recipe=recipe,\n"
        "          tick=lambda done, _: print(done, flush=True))\n"
    )
    killed = tmp_path / "killed"
    values = json.dumps(dataclasses.asdict(recipe))
    command = [sys.executable, "-c", code, str(unlearned), str(shard), str(killed), values]
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if float(line) > 0.7:
                os.kill(process.pid, signal.SIGKILL)
                break
    assert not (killed / "checkpoint").exists()
    # then the same call goes on with it
    made, ticks = learned(unlearned, team, None, out=killed, recipe=recipe)
    assert 0 < len(ticks) < 8
    assert same(made, whole)
