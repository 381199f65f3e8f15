"""A run learns, goes on after a kill as if nothing had happened, and leaves a usable checkpoint."""

import itertools
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model import checkpoint
from model.confidence import Calibration
from model.config import ModelConfig
from model.predictor import Click, Predictor
from tests.training.conftest import read_recipe
from training.data import PackDataset
from training.errors import RecipeError, TrainingError
from training.evaluation.calibration import Report
from training.train import loop
from training.train.initialisation import LEFT_OUT
from training.train.loop import Run, main
from training.train.recipe import read_stages
from training.train.run_folder import HISTORY, LATEST, STATE, rewind_history

Entry = dict[str, Any]


def losses(folder: Path) -> dict[int, float]:
    lines = (folder / HISTORY).read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    return {entry["step"]: entry["loss"] for entry in entries if "loss" in entry}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_a_calibrated_checkpoint_becomes_the_latest(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    run = Run(read_recipe(recipe_file), tmp_path / "run", tmp_path)
    run.save()
    asked: dict[str, object] = {}

    def write(source: Path, target: Path, dataset: object, **options: object) -> tuple[str, Report]:
        asked.update(options, dataset=dataset)
        target.mkdir()
        return "run-cal0000-01234567", Report(Calibration(), 0.02, 0.9, 24)

    monkeypatch.setattr(loop, "write_calibrated", write)
    # when
    run.calibrate()
    # then
    latest = tmp_path / "run" / LATEST
    assert latest.resolve().name == "step-000000-calibrated"
    assert asked == {"dataset": run.val, "limit": 2, "device": "cpu"}


def test_with_few_validation_objects_the_checkpoint_stays(
    recipe_file: Path, tmp_path: Path
) -> None:
    run = Run(read_recipe(recipe_file), tmp_path / "run", tmp_path)
    run.save()

    run.calibrate()

    assert (tmp_path / "run" / LATEST).resolve().name == "step-000000"


def test_the_checkpoint_of_a_run_answers(recipe_file: Path, tmp_path: Path) -> None:
    # given / when
    seen: list[Entry] = []
    latest = main(recipe_file, out=tmp_path / "run", data=tmp_path, report=seen.append)
    # then
    predictor = Predictor(latest, device="cpu")
    embedding = predictor.encode(np.zeros((60, 80, 3), np.uint8))
    mask = predictor.predict(embedding, [Click(40, 30, True)], "left red dog").mask()
    assert mask.shape == (60, 80)
    assert predictor.tokenizer.knows("left red dog")
    assert {"dog", "cat", "red", "left"} <= set(predictor.config.attributes)
    # and the log held losses and a look at the validation objects
    assert all(math.isfinite(entry["loss"]) for entry in seen if "loss" in entry)
    assert {"clicks@1", "clicks@10", "clicks to 90", "phrase@1", "phrase only"} <= set(
        seen[-1]["voc"]
    )


def test_the_papers_form_trains_too(recipe_file: Path, tmp_path: Path) -> None:
    # given clicks as input channels, on a ResNet
    text = recipe_file.read_text().replace('form = "late"', 'form = "early"\nbackbone = "resnet18"')
    text = text.replace("embedding_dim = 8", 'backbone_norm = "batch"\npadding = "symmetric"')
    recipe_file.write_text(text.replace("steps = 6", "steps = 3"))
    run = Run(read_recipe(recipe_file), tmp_path / "run", tmp_path)
    before = {name: p.detach().clone() for name, p in run.network.named_parameters()}
    # when
    run.train(lambda entry: None)
    # then
    changed = [n for n, p in run.network.named_parameters() if not torch.equal(p, before[n])]
    assert any(name.startswith("backbone") for name in changed)
    assert any(name.startswith("decoder") for name in changed)
    assert run.network.config.form == checkpoint.load(tmp_path / "run" / "latest").config.form


def test_every_part_of_the_network_learns(recipe_file: Path, tmp_path: Path) -> None:
    # given
    run = Run(read_recipe(recipe_file), tmp_path / "run", tmp_path)
    before = {name: p.detach().clone() for name, p in run.network.named_parameters()}
    # when
    run.train(lambda entry: None)
    # then not one parameter stayed behind
    still = [n for n, p in run.network.named_parameters() if torch.equal(p, before[n])]
    assert still == []


@pytest.mark.slow
def test_it_learns_one_batch_by_heart(recipe_file: Path, tmp_path: Path) -> None:
    # given
    recipe_file.write_text(
        recipe_file.read_text().replace(
            "steps = 6", "steps = 80\nwarmup = 5\nrate = 0.005\nbackbone_rate = 0.001"
        )
    )
    run = Run(read_recipe(recipe_file), tmp_path / "run", tmp_path)
    losses: list[float] = []
    # when it sees the same batch again and again
    for _ in range(40):
        batch = run.batches.make(3, 96)
        losses.append(run.learn(batch)["loss"])
        run.step += 1
    # then
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:5])


def test_the_first_share_of_the_steps_sees_small_views(recipe_file: Path, tmp_path: Path) -> None:
    text = recipe_file.read_text()
    recipe_file.write_text(
        text.replace("crop = 96", "crop = 96\nfirst_crop = 64\nfirst_share = 0.5")
    )
    run = Run(read_recipe(recipe_file), tmp_path / "run", tmp_path)
    assert [crop for _, crop in itertools.islice(run._orders(), 6)] == [64, 64, 64, 96, 96, 96]


def test_a_state_of_another_network_is_refused(recipe_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    Run(read_recipe(recipe_file), out, tmp_path).save()
    recipe_file.write_text(recipe_file.read_text().replace("channels = 16", "channels = 32"))
    with pytest.raises(RecipeError, match="another network"):
        main(recipe_file, out=out, data=tmp_path, report=print)


def test_a_state_that_was_cut_off_is_said_to_be(recipe_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    Run(read_recipe(recipe_file), out, tmp_path).save()
    whole = (out / STATE).read_bytes()
    (out / STATE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match="cannot be read"):
        main(recipe_file, out=out, data=tmp_path, report=print)


def test_what_was_logged_after_the_last_state_is_dropped(tmp_path: Path) -> None:
    lines = [json.dumps({"step": step, "loss": 1.0}) for step in (1, 2, 3)]
    (tmp_path / HISTORY).write_text("\n".join([*lines, '{"step": 4, "lo']))
    rewind_history(tmp_path, 2)
    assert (tmp_path / HISTORY).read_text().splitlines() == lines[:2]


def test_a_folder_with_a_run_is_not_overwritten(recipe_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = Run(read_recipe(recipe_file), out, tmp_path)
    run.save()
    with pytest.raises(RecipeError, match="already has a run"):
        main(recipe_file, out=out, data=tmp_path, resume=False, report=print)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]\nsteps = 1\nstepz = 2", "stepz"),
        ("[trane]\nsteps = 1", "trane"),
        ("[train]\nsteps = 1\nminutes = 2.0", "either"),
        ("[train]\nsteps = 1\ncrop = 100", "multiple"),
        ("[train]\nsteps = 1\nrate = '1e-3'", "train.rate is .* valid number"),
        ("[train]\nsteps = 1.5", "train.steps is .* valid integer"),
        ("[data]\nweights = 3\n[train]\nsteps = 1", "data.weights is 3"),
        ("[train]\nsteps = 1\noptimizer = 'adam'", r"train.optimizer is .*adamw\|sgd"),
        ("[train]\nsteps = 1\namp = 'yes'", r"train.amp is .*auto\|off\|bf16\|fp16"),
        ("[[stages]]\n[stages.train]\nsteps = 1", "its own name"),
        ('[[stages]]\nname = "a"\n[[stages]]\nname = "a"', "its own name"),
        ('[[stages]]\nname = "../a"', "its own name"),
        ('[[stages]]\nname = "a"\n[stages.model]\nform = "late"', "cannot change model"),
        ('[[stages]]\nname = "a"\n[stages.train]\nstepz = 1', "stepz"),
        ("[train", "TOML"),
        (None, "cannot be read"),
    ],
)
def test_an_impossible_recipe_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "recipe.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_recipe(path)


def test_the_ready_recipes_are_sound() -> None:
    folder = Path(__file__).parents[3] / "training" / "configs"
    recipes = {path.stem: read_stages(path) for path in sorted(folder.glob("*.toml"))}
    assert {"paper_refcoco_voc", "mobilenet_pack", "smoke"} <= set(recipes)
    assert [stage.name for stage in recipes["paper_refcoco_voc"]] == ["refcoco", "voc"]
    for stages in recipes.values():
        for stage in stages:
            config = ModelConfig.from_dict(dict(stage.recipe.model))
            assert stage.recipe.train.crop <= 2 * config.input_size


def test_pictures_that_are_tested_on_are_left_out(
    recipe_file: Path, tmp_path: Path, shard: Path
) -> None:
    # given a folder that holds one of the pictures under another name, smaller
    test_set = tmp_path / "tested"
    test_set.mkdir()
    sample = PackDataset([shard])[2]
    small = Image.fromarray(sample.image).resize((120, 90))
    small.save(test_set / "a.jpg", quality=80)
    mask = Image.fromarray((sample.mask(1) * 255).astype(np.uint8)).resize((120, 90))
    mask.save(test_set / "a.png")
    recipe_file.write_text(
        recipe_file.read_text().replace("val =", 'apart_from = ["tested"]\nval =')
    )
    # when (all six pictures are alike, but not that much)
    run = Run(read_recipe(recipe_file), tmp_path / "run", tmp_path)
    seen = {key for step in range(20) for key in run.batches.make(step, 96).keys}
    # then
    left_out = json.loads((tmp_path / "run" / LEFT_OUT).read_text())
    assert 2 in left_out["left_out"]
    assert left_out["of"] == 6
    assert "picture-2" not in seen
    assert seen
    # and it is not looked for again
    (test_set / "a.jpg").unlink()
    again = Run(read_recipe(recipe_file), tmp_path / "run", tmp_path)
    assert again.batches.make(0, 96).keys == run.batches.make(0, 96).keys


@pytest.mark.slow
def test_a_run_killed_in_the_middle_goes_on_with_the_same_losses(
    recipe_file: Path, tmp_path: Path
) -> None:
    # given a recipe that saves after every step, and logs means of three
    text = recipe_file.read_text().replace("steps = 6", "steps = 9\nsave_minutes = 0.0")
    recipe_file.write_text(text.replace("log_every = 1", "log_every = 3"))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    main(recipe_file, out=whole, data=tmp_path, report=lambda entry: None)
    # when a process is killed without warning once it has saved a few steps
    code = (
        "import sys, torch; torch.set_num_threads(1); from pathlib import Path;"
        "from training.train.loop import main; recipe, out, data = map(Path, sys.argv[1:]);"
        "main(recipe, out=out, data=data, report=lambda e: print('step', e['step'], flush=True))"
    )
    command = [sys.executable, "-c", code, str(recipe_file), str(killed), str(tmp_path)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(b"step 6"):
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    assert (killed / STATE).exists()
    latest = main(recipe_file, out=killed, data=tmp_path, report=lambda entry: None)
    # then each line of the log is there once, and says what it would have said
    assert losses(killed) == losses(whole)
    steps = [json.loads(line)["step"] for line in (killed / HISTORY).read_text().splitlines()]
    assert steps == [3, 6, 9, 9]
    # and the network is the one of the run that was not disturbed
    one, other = checkpoint.load(whole / "latest"), checkpoint.load(latest)
    assert all(torch.equal(one.state[name], other.state[name]) for name in one.state)
