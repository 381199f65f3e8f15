"""The paper's recipe runs as it stands on copies of its data sets: RefCOCO, then VOC."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from model import checkpoint
from tests.training.data.conftest import PERSON, annotation, corners, ref, write_instances
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
LEFT, RIGHT = (4, 10, 40, 50), (56, 14, 92, 54)


def picture(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    ground = Image.fromarray(rng.integers(0, 255, (5, 6, 3), np.uint8)).resize((96, 64))
    for box, colour in ((LEFT, (215, 25, 25)), (RIGHT, (25, 45, 215))):
        ImageDraw.Draw(ground).rectangle(box, fill=colour)
    return ground


def write_refcoco(data: Path) -> None:
    """Four pictures of two people, of whom each has been spoken of."""
    names = {number: f"COCO_train2014_{number:012d}.jpg" for number in range(4)}
    (data / "train2014").mkdir()
    annotations, refs = [], []
    for number, name in names.items():
        picture(number).save(data / "train2014" / name)
        said = ((LEFT, "guy on the left"), (RIGHT, "man in blue"))
        for place, (box, text) in enumerate(said, 10 * number):
            polygon = [corners(*box)]
            annotations.append(annotation(place, number, polygon, category_id=PERSON))
            refs.append(ref(place, number, place, "train", text))
    write_instances(data / "refcoco" / "instances.json", names, annotations, (96, 64))
    (data / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))


def write_voc(data: Path) -> None:
    """Pictures of a dog and a cat: two to learn from and one to look at."""
    home = data / "VOCdevkit" / "VOC2012"
    folders = ("JPEGImages", "SegmentationObject", "SegmentationClass", "ImageSets/Segmentation")
    for folder in folders:
        (home / folder).mkdir(parents=True)

    def write_map(folder: str, name: str, numbers: tuple[int, int]) -> None:
        painted: NDArray[np.uint8] = np.zeros((64, 96), np.uint8)
        for (left, top, right, bottom), number in zip((LEFT, RIGHT), numbers, strict=True):
            painted[top : bottom + 1, left : right + 1] = number
        shown = Image.fromarray(painted, "P")
        shown.putpalette([channel for value in range(256) for channel in (value, value, value)])
        shown.save(home / folder / f"{name}.png")

    names = {"train": ["2007_000001", "2007_000002"], "val": ["2007_000003"]}
    for split, keys in names.items():
        (home / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(keys) + "\n")
        for key in keys:
            picture(int(key[-1]) + 50).save(home / "JPEGImages" / f"{key}.jpg")
            write_map("SegmentationObject", key, (1, 2))
            write_map("SegmentationClass", key, (12, 8))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_refcoco(tmp_path)
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
    # then both phrases are there, one of them also mirrored
    assert {"guy on the left", "guy on the right", "man in blue"} <= texts
    # and the second stage has categories to speak of
    batches = Batches(open_dataset(second.recipe.data.train, tmp_path), second.recipe)
    words = {
        w for step in range(10) for q in batches.make(step, 64).questions for w in q.attributes
    }
    assert {"dog", "cat"} <= words


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
    assert {"dog", "cat"} <= set(last.config.attributes) - set(first.config.attributes)
    assert {"mask", "attributes", "loss", "iou"} <= set(entries[0])
    assert "voc" in entries[-1]
