"""A small data set in the format of the shards, made of clearly different shapes."""

from __future__ import annotations

import copy
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from model import checkpoint
from model.config import ModelConfig
from model.network.blocks import fold_norms
from model.network.phraseclick import PhraseClick
from training.data.sample import Record, RecordDataset, Sample
from training.errors import DataError
from training.train.loop import Run
from training.train.optimization import EMA, make_optimizer
from training.train.recipe import Recipe, read_stages

RED, BLUE, GREEN, GREY = (215, 25, 25), (25, 45, 215), (30, 170, 40), (128, 128, 128)


@pytest.fixture(autouse=True)
def _denormal_numbers() -> Iterator[None]:
    """Training sets the whole process to round them to zero, which must not affect other tests."""
    yield
    torch.set_flush_denormal(False)


def encoded(array: NDArray[np.uint8], kind: str) -> bytes:
    stream = io.BytesIO()
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def draw(
    shapes: Sequence[tuple[int, tuple[int, int, int, int], tuple[int, int, int]]],
    width: int,
    height: int,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Picture and instance map of ellipses: (id, (left, top, right, bottom), colour)."""
    picture = Image.new("RGB", (width, height), GREY)
    instances = Image.new("L", (width, height), 0)
    for number, box, colour in shapes:
        ImageDraw.Draw(picture).ellipse(box, fill=colour)
        ImageDraw.Draw(instances).ellipse(box, fill=number)
    return np.asarray(picture), np.asarray(instances)


def write_shard(path: Path, samples: Sequence[tuple[str, dict[str, bytes]]]) -> Path:
    """A tar file of samples: (key, suffix to bytes)."""
    with tarfile.open(path, "w") as archive:
        for key, members in samples:
            for suffix, data in members.items():
                about = tarfile.TarInfo(f"{key}.{suffix}")
                about.size = len(data)
                archive.addfile(about, io.BytesIO(data))
    return path


def members(
    picture: NDArray[np.uint8],
    instances: NDArray[np.uint8],
    objects: Sequence[tuple[int, str | None, bool]],
    source: str = "voc",
) -> dict[str, bytes]:
    about = {
        "source": source,
        "objects": [{"id": i, "category": name, "semantic": many} for i, name, many in objects],
    }
    return {
        "webp": encoded(picture, "WEBP"),
        "inst.png": encoded(instances, "PNG"),
        "json": json.dumps(about).encode(),
    }


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """Six pictures: a red dog left of a blue dog, and a green cat below them."""
    rng = np.random.default_rng(0)
    samples = []
    for number in range(6):
        shift = int(rng.integers(0, 12))
        shapes = [
            (1, (8 + shift, 10, 58 + shift, 60), RED),
            (2, (90, 14 + shift, 150, 66 + shift), BLUE),
            (3, (50, 74, 120, 114), GREEN),
        ]
        picture, instances = draw(shapes, 160, 120)
        instances = instances.copy()
        instances[:4] = 255
        named: list[tuple[int, str | None, bool]] = [
            (1, "dog", False),
            (2, "dog", False),
            (3, "cat", False),
        ]
        samples.append((f"picture-{number}", members(picture, instances, named)))
    return write_shard(tmp_path / "train.tar", samples)


@pytest.fixture
def recipe_file(tmp_path: Path, shard: Path) -> Path:
    """A recipe of a few steps on the small shard, beside it."""
    text = f"""
[model]
form = "late"
input_size = 96
channels = 16
phrase_dim = 8
embedding_dim = 8
phrase_queries = 2
word_dim = 12

[data]
train = ["{shard.name}"]
val = ["{shard.name}"]
other = 1.0

[train]
steps = 6
pictures = 2
prompts = 2
crop = 96
threads = 1
log_every = 1
validate_objects = 2
"""
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def read_recipe(path: Path) -> Recipe:
    """The recipe of the only stage in a file."""
    (stage,) = read_stages(path)
    return stage.recipe


@pytest.fixture(scope="session")
def unlearned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained checkpoint that knows the words of the shapes."""
    torch.manual_seed(0)
    words = ["the", "dog", "cat", "left", "right", "red", "blue", "green", "dress", "person"]
    vectors = np.random.default_rng(0).normal(size=(len(words), 8)).astype(np.float32)
    config = ModelConfig(input_size=64, channels=16, word_dim=8, phrase_dim=4, attributes=("dog",))
    path = tmp_path_factory.mktemp("checkpoint") / "unlearned"
    checkpoint.save(path, PhraseClick(config).eval(), words, vectors, {"categories": ["dog"]})
    return path


def without_norms(run: Run) -> None:
    """Fold the norms of a run that has not begun, so that its pictures do not see each other."""
    fold_norms(run.network)
    for parameter in run.network.parameters():
        parameter.requires_grad_(True)
    # Its checkpoints do not fit its configuration, so none is loaded to calibrate it.
    run.val = None
    run.ema = EMA(run.network, copy.deepcopy(run.network), run.recipe.train.ema)
    run.optimizer = make_optimizer(run.network, run.recipe.train)


class Pictures(RecordDataset[Record]):
    """A data set of samples in memory. read: the indices decoded so far.

    Indices in ``broken`` cannot be decoded.
    """

    def __init__(self, samples: Sequence[Sample], broken: Sequence[int] = ()) -> None:
        shapes = [sample.instances.shape for sample in samples]
        super().__init__(
            "",
            [
                Record(sample.key, (width, height), sample.objects, sample.expressions)
                for sample, (height, width) in zip(samples, shapes, strict=True)
            ],
        )
        self.samples = list(samples)
        self.broken = set(broken)
        self.read: list[int] = []

    @property
    def sources(self) -> list[str]:
        return [sample.source for sample in self.samples]

    def __getitem__(self, index: int) -> Sample:
        if index in self.broken:
            raise DataError(f"picture {index} cannot be decoded")
        self.read.append(index)
        return self.samples[index]
