"""The paper's recipe runs as it stands on copies of its data sets: RefCOCO, then VOC."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from model import checkpoint
from tests.training.data.conftest import REFS, write_picture, write_refer_instances, write_voc
from training.data import open_dataset
from training.data.batches import Batches
from training.train.loop import main
from training.train.recipe import read_stages
from training.train.run_folder import LATEST

RECIPE = Path(__file__).parents[3] / "training" / "configs" / "paper_refcoco_voc.toml"
# The same recipe at a size that a test can afford; nothing else is changed.
SMALLER = {
    "channels = 256": "channels = 16",
    "input_size = 512": "input_size = 64",
    "crop = 512": "crop = 64",
    "pictures = 16": "pictures = 2",
    "steps = 60_000": "steps = 2\nthreads = 1\nlog_every = 1",
    "steps = 30_000": "steps = 2",
    'backbone_weights = "IMAGENET1K_V2"': "",
    '"sbd?split=train", ': "",
}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_refer_instances(tmp_path / "refcoco")
    (tmp_path / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(REFS, protocol=2))
    for number in (9, 25, 30):
        write_picture(tmp_path / "train2014" / f"COCO_train2014_{number:012d}.jpg")
    write_voc(tmp_path)
    text = RECIPE.read_text(encoding="utf-8")
    for large, small in SMALLER.items():
        assert large in text
        text = text.replace(large, small)
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_people_s_words_are_what_the_first_stage_learns_from(recipe: Path, tmp_path: Path) -> None:
    # given
    first, second = read_stages(recipe)
    batches = Batches(open_dataset(first.recipe.data.train, tmp_path), first.recipe)
    # when
    texts = {q.text for step in range(20) for q in batches.make(step, 64).questions}
    # then people's phrases are there, also mirrored
    assert {"the left man", "the right man", "man in café"} <= texts
    # and the second stage has categories to speak of
    batches = Batches(open_dataset(second.recipe.data.train, tmp_path), second.recipe)
    words = {
        w for step in range(10) for q in batches.make(step, 64).questions for w in q.attributes
    }
    assert "dog" in words


@pytest.mark.slow
def test_refcoco_then_voc(recipe: Path, tmp_path: Path) -> None:
    # given / when
    torch.set_num_threads(1)
    entries: list[dict[str, Any]] = []
    latest = main(recipe, out=tmp_path / "run", data=tmp_path, report=entries.append)
    # then
    stages = [entry["stage"] for entry in entries if "loss" in entry]
    assert stages == ["refcoco", "refcoco", "voc", "voc"]
    first, last = (checkpoint.load(path) for path in (tmp_path / "run/refcoco" / LATEST, latest))
    assert last.metrics["parent"] == first.version
    assert (last.config.form, last.config.backbone) == ("early", "resnet101")
    assert last.config.output_stride == 16
    assert {"person", "red", "left"} <= set(first.config.attributes)
    assert "dog" in set(last.config.attributes)
    assert {"mask", "attributes", "loss", "iou"} <= set(entries[0])
    assert "voc" in entries[-1]
