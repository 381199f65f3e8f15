"""Stages run one after the other, each from the one before, and go on where they were stopped."""

from pathlib import Path
from typing import Any

import pytest
import torch

from model import checkpoint
from tests.training.conftest import draw, members, write_shard
from training.train.loop import main
from training.train.recipe import read_stages
from training.train.run_folder import LATEST

Entry = dict[str, Any]


@pytest.fixture
def staged(tmp_path: Path, recipe_file: Path) -> Path:
    """First dogs and cats, then, in data of their own, sheep."""
    picture, instances = draw([(1, (20, 20, 90, 90), (250, 250, 250))], 160, 120)
    sheep = write_shard(
        tmp_path / "made.tar", [("s", members(picture, instances, [(1, "sheep", False)]))]
    )
    text = recipe_file.read_text().replace("steps = 6", "steps = 3\nwarmup = 1\nseed = 4")
    recipe_file.write_text(
        text
        + f"""
[[stages]]
name = "dogs"
[stages.train]
rate = 2e-3

[[stages]]
name = "sheep"
[stages.data]
train = ["{sheep.name}"]
[stages.train]
steps = 2
schedule = "poly"
"""
    )
    return recipe_file


def test_a_stage_changes_what_it_names_and_nothing_else(staged: Path) -> None:
    dogs, sheep = read_stages(staged)
    assert (dogs.name, sheep.name) == ("dogs", "sheep")
    assert (dogs.recipe.train.steps, sheep.recipe.train.steps) == (3, 2)
    assert (dogs.recipe.train.rate, sheep.recipe.train.rate) == (2e-3, 1e-3)
    assert (dogs.recipe.train.schedule, sheep.recipe.train.schedule) == ("cosine", "poly")
    assert dogs.recipe.data.val == sheep.recipe.data.val
    assert dogs.recipe.data.train != sheep.recipe.data.train
    assert dogs.recipe.train.seed == sheep.recipe.train.seed == 4


def test_the_second_stage_starts_from_the_first_and_both_go_on(
    staged: Path, tmp_path: Path
) -> None:
    # given a whole run
    torch.set_num_threads(1)
    entries: list[Entry] = []
    done: list[float] = []
    out = tmp_path / "whole"
    latest = main(
        staged,
        out=out,
        data=tmp_path,
        report=entries.append,
        tick=lambda progress, figures: done.append(progress),
    )
    # then each stage has its folder, and the newest checkpoint knows where it comes from
    first, second = (checkpoint.load(out / name / LATEST) for name in ("dogs", "sheep"))
    assert checkpoint.load(latest).version == second.version
    assert second.metrics["parent"] == first.version
    # and which categories were seen on the way
    assert first.metrics["metrics"]["categories"] == ["cat", "dog"]
    assert second.metrics["metrics"]["categories"] == ["cat", "dog", "sheep"]
    # and the attributes of both, the first one's in their place
    known = len(first.config.attributes)
    assert second.config.attributes[:known] == first.config.attributes
    assert set(second.config.attributes[known:]) == {"sheep"}
    assert [entry["stage"] for entry in entries if "loss" in entry] == ["dogs"] * 3 + ["sheep"] * 2
    assert done == sorted(done)
    assert done[-1] == 1.0

    # when another is stopped in its second stage, and started again
    class StoppedError(Exception):
        pass

    def stop(entry: Entry) -> None:
        if entry["stage"] == "sheep":
            raise StoppedError

    with pytest.raises(StoppedError):
        main(staged, out=tmp_path / "stopped", data=tmp_path, report=stop)
    again: list[Entry] = []
    latest = main(staged, out=tmp_path / "stopped", data=tmp_path, report=again.append)
    # then the first stage is not run again, and the end is the same
    assert {entry["stage"] for entry in again} == {"sheep"}
    same = checkpoint.load(latest)
    assert all(torch.equal(same.state[name], second.state[name]) for name in second.state)
    # and a finished run has nothing left to do
    nothing: list[Entry] = []
    main(staged, out=out, data=tmp_path, report=nothing.append)
    assert nothing == []
