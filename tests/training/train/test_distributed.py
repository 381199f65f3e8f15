"""Two processes that share each batch hold one network, and it is nearly that of one process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import read_recipe, without_norms
from training.data import PackDataset
from training.data.batches import Batches
from training.errors import RecipeError
from training.train.loop import Run
from training.train.run_folder import EXPORTS, HISTORY, STATE

ROOT = Path(__file__).parents[3]
# One process of torchrun's: trains, and keeps its own view of the network.
SCRIPT = """
import sys
from pathlib import Path
import torch
from tests.training.conftest import read_recipe, without_norms
from training.train.loop import Run
from training.train.distributed import joined

torch.set_num_threads(1)
recipe, out, data = (Path(each) for each in sys.argv[1:4])
with joined(torch.device("cpu")) as ranks:
    parts = [torch.nn.Parameter(torch.zeros(3)) for _ in range(3)]
    parts[0].grad = torch.full((3,), float(ranks.rank))
    if ranks.rank == 1:
        parts[1].grad = torch.ones(3)
    ranks.average_gradients(parts)
    run = Run(read_recipe(recipe), out, data, ranks=ranks)
    if sys.argv[4] == "without norms":
        without_norms(run)
    run.resume()
    entries = []
    run.train(entries.append)
    kept = {
        "gradients": [each.grad for each in parts],
        "network": run.network.state_dict(),
        "average": run.ema.network.state_dict(),
        "attributes": run.attribute_loss.state_dict(),
        "reported": len(entries),
    }
    torch.save(kept, data / f"rank-{ranks.rank}.pt")
"""


@pytest.fixture
def shared(recipe_file: Path) -> Path:
    """A recipe whose batches two processes can share."""
    text = recipe_file.read_text().replace("pictures = 2", "pictures = 4")
    recipe_file.write_text(text.replace("steps = 6", "steps = 5\nwarmup = 1\nema = 0.5"))
    return recipe_file


def test_places_of_a_batch_are_filled_the_same_whoever_fills_them(
    shared: Path, shard: Path
) -> None:
    # given
    recipe, dataset = read_recipe(shared), PackDataset([shard])
    alone = Batches(dataset, recipe).make(3, 96)
    # when two processes share the step
    first, second = (Batches(dataset, recipe, rank=r, world=2).make(3, 96) for r in (0, 1))
    # then they see together what one would have seen, places taken in turn
    assert [first.keys[0], second.keys[0], first.keys[1], second.keys[1]] == alone.keys
    for half, places in ((first, (0, 2)), (second, (1, 3))):
        for own, place in enumerate(places):
            assert torch.equal(half.image[own], alone.image[place])
            rows = half.picture_index == own
            assert torch.equal(half.target[rows], alone.target[alone.picture_index == place])


def test_more_processes_than_pictures_are_refused(shared: Path, shard: Path) -> None:
    with pytest.raises(RecipeError, match="5 processes share 4 pictures"):
        Batches(PackDataset([shard]), read_recipe(shared), rank=0, world=5)


Views = list[dict[str, Any]]


@pytest.fixture
def torchrun(tmp_path: Path) -> Callable[..., Views]:
    """Train as two processes; what each of them then holds."""
    script = tmp_path / "worker.py"
    script.write_text(SCRIPT)

    def run(recipe: Path, out: Path, norms: str) -> Views:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node", "2", str(script), str(recipe), str(out), str(tmp_path)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [*command, norms],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return [torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True) for rank in (0, 1)]

    return run


@pytest.mark.slow
def test_two_processes_go_where_one_process_goes(
    shared: Path, tmp_path: Path, torchrun: Callable[..., Views]
) -> None:
    # given a network whose pictures do not see each other, and a loss that is a mean over prompts
    shared.write_text(shared.read_text() + "\n[loss]\nattributes = 0.0\n")
    torch.set_num_threads(1)
    alone = Run(read_recipe(shared), tmp_path / "alone", tmp_path)
    without_norms(alone)
    before = {name: value.detach().clone() for name, value in alone.network.named_parameters()}
    alone.train(lambda entry: None)
    # when two processes do the same run
    first, _ = torchrun(shared, tmp_path / "shared", "without norms")
    # then they took the same way
    there = dict(alone.network.named_parameters())
    taken, wanted = (
        torch.cat([(state[name].detach() - value).flatten() for name, value in before.items()])
        for state in (first["network"], there)
    )
    assert float(wanted.norm()) > 1e-3
    assert float((taken - wanted).norm() / wanted.norm()) < 0.02


@pytest.mark.slow
def test_two_processes_hold_one_network_and_the_first_one_writes(
    shared: Path, tmp_path: Path, torchrun: Callable[..., Views]
) -> None:
    # given / when
    one, other = torchrun(shared, tmp_path / "shared", "with norms")
    # then gradients are means; what had none in either has none
    for process in (one, other):
        assert torch.equal(process["gradients"][0], torch.full((3,), 0.5))
        assert torch.equal(process["gradients"][1], torch.full((3,), 0.5))
        assert process["gradients"][2] is None
    # and both hold the same numbers to the bit: weights, running statistics, averages
    for part in ("network", "average", "attributes"):
        for name, value in one[part].items():
            assert torch.equal(value, other[part][name]), name
    # and only the first one wrote and spoke
    assert (one["reported"], other["reported"]) == (6, 0)
    assert (tmp_path / "shared" / STATE).exists()
    assert len(list((tmp_path / "shared" / EXPORTS).iterdir())) == 1
    history = (tmp_path / "shared" / HISTORY).read_text().splitlines()
    assert len(history) == 6
    # and its losses are about those of one process, whose norms see twice as many pictures
    torch.set_num_threads(1)
    entries: list[dict[str, Any]] = []
    Run(read_recipe(shared), tmp_path / "alone", tmp_path).train(entries.append)
    losses = [json.loads(line)["loss"] for line in history[:5]]
    assert losses == pytest.approx([entry["loss"] for entry in entries[:5]], rel=0.15)
    # and where one process stopped, two go on
    shared.write_text(shared.read_text().replace("steps = 5", "steps = 6"))
    torchrun(shared, tmp_path / "alone", "with norms")
    assert len((tmp_path / "alone" / HISTORY).read_text().splitlines()) == 8
