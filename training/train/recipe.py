"""The recipe of a training run: read from TOML and saved in its checkpoints."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from training.errors import RecipeError
from training.prompts.prompts import PromptRecipe
from training.train.losses import LossRecipe


@dataclass(frozen=True)
class DataRecipe:
    """Pictures and words. Paths are relative to the data folder of the command.

    Data sets are named as in `training.data.open_dataset`: [FORMAT:]PATH[?KEY=VALUE].
    """

    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    # Data sets to test on: their pictures are removed from `train`, even if cropped or scaled.
    apart_from: tuple[str, ...] = ()
    # Use only the first pictures of `train`, to try something out; 0: all.
    at_most: int = 0
    # Word vectors: a file that model/keyed_vectors.py reads, or a gensim-downloader name. Empty:
    # those of `start`, else learned from `text`.
    words: str = ""
    # A file to learn word vectors from, one expression per line; empty: only generated sentences.
    text: str = ""
    # Starting weights of the backbone: a file, or a torchvision weights name; empty: none.
    backbone_weights: str = ""
    # A checkpoint to start from, network and words; empty: a new network. Fields of [model] may
    # make the network larger: new parts start as in a new network.
    start: str = ""
    # How often each source is drawn; sources without a weight have `other`.
    weights: Mapping[str, float] = field(default_factory=dict)
    other: float = 0.0
    # How many times as often a picture with several of a kind is drawn.
    several: int = 1
    # Sources with coarsely drawn borders, whose outermost pixels count less.
    coarse_sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainRecipe:
    """Steps, sizes and rates."""

    seed: int = 1
    # The schedule ends after this many steps or minutes of training, whichever is set; if code sets
    # both, at the first of them. On a CPU that others use at the same time, minutes take up to
    # twice as long, so that as much is learned.
    steps: int = 0
    minutes: float = 0.0
    pictures: int = 8
    prompts: int = 3
    # Views have about crop x crop pixels, wide ones for wide pictures; a multiple of 32.
    crop: int = 256
    # Smaller views in the first share of the schedule allow more steps.
    first_crop: int = 0
    first_share: float = 0.0
    # Shares of whole pictures, close views of an object and details; the rest are parts.
    whole: float = 0.4
    close: float = 0.25
    detail: float = 0.1
    # Of close views and details, the share that is blurred as an enlarged tiny object is.
    coarse: float = 0.0
    # How often a second picture with the same kind of thing is combined with the first.
    composed: float = 0.0
    # Chances of 0, 1, 2, ... rounds of simulated corrections before the answer in the loss.
    rounds: tuple[float, ...] = (0.3, 0.3, 0.25, 0.15)
    # How often one prompt of each picture has one of these numbers of rounds instead.
    many: float = 0.15
    many_rounds: tuple[int, ...] = (5, 8, 12, 16)
    # "adamw", or "sgd" with momentum.
    optimizer: Annotated[str, Field(pattern="^(adamw|sgd)$")] = "adamw"
    momentum: float = 0.9
    # "cosine", or "poly" with its power (DeepLab), down to 0 at the end; "constant" for a run of
    # unknown length, in which averaged weights replace a falling rate.
    schedule: Annotated[str, Field(pattern="^(cosine|poly|constant)$")] = "cosine"
    power: float = 0.9
    rate: float = 1e-3
    backbone_rate: float = 2e-4
    warmup: int = 100
    weight_decay: float = 1e-4
    # Largest norm of the gradient; longer ones are scaled down.
    clip: float = 1.0
    ema: float = 0.999
    # Number of the backbone's first stages (strides 2, 4, 8, 16, 32) that are not trained: they
    # know edges and textures from pretraining and cost as much as the rest of the backbone.
    frozen_stages: int = 0
    # Norms keep their statistics, which few pictures of one kind would spoil.
    frozen_norms: bool = False
    # "auto" (a GPU if there is one), "cpu" or "cuda".
    device: Annotated[str, Field(pattern="^(auto|cpu|cuda)$")] = "auto"
    # Mixed precision: "auto" (on GPUs), "off", "bf16" (also on CPUs with support), "fp16".
    amp: Annotated[str, Field(pattern="^(auto|off|bf16|fp16)$")] = "auto"
    # CPU threads of the network; 0: torch's default.
    threads: int = 0
    # Processes that make batches; 0: a thread; -1: chosen by device and cores.
    workers: int = -1
    tensorboard: bool = False
    log_every: int = 20
    save_minutes: float = 5.0
    validate_minutes: float = 10.0
    validate_objects: int = 60
    # Sources of validation objects; empty: the largest sources of the validation data.
    validate_sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """One run. model: fields of ModelConfig; its attributes come from the data."""

    # For the tables of all parts: unknown keys and other types are errors.
    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    model: Mapping[str, Any] = field(default_factory=dict)
    data: DataRecipe = field(default_factory=DataRecipe)
    train: TrainRecipe = field(default_factory=TrainRecipe)
    prompts: PromptRecipe = field(default_factory=PromptRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)


class Stage(NamedTuple):
    """One of the consecutive runs of a recipe; each starts from the previous one."""

    name: str
    recipe: Recipe


PARTS = ("data", "train", "prompts", "loss")


def read_stages(path: Path) -> list[Stage]:
    """The stages in a TOML file: each of its ``[[stages]]``, or one without a name.

    A stage has a name and its own keys of [data], [train], [prompts] and [loss]; other keys are
    those outside the stages. Raises RecipeError that names what is unknown or impossible.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"The recipe {path} cannot be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"The recipe {path} is not valid TOML: {error}.") from error
    stages = values.pop("stages", [])
    if not stages:
        return [Stage("", _recipe(values, path))]
    names = [str(stage.pop("name", "")) for stage in stages]
    if not all(re.fullmatch(r"[\w-]+", name) for name in names) or len(set(names)) < len(names):
        raise RecipeError(f"{path}: each of [[stages]] needs its own name, a plain word.")
    outside = [key for stage in stages for key in stage if key not in PARTS]
    if outside:
        raise RecipeError(f"{path}: a stage cannot change {outside[0]}, only {', '.join(PARTS)}.")
    merged = [
        {**values, **{part: {**values.get(part, {}), **own} for part, own in stage.items()}}
        for stage in stages
    ]
    return [Stage(name, _recipe(own, path)) for name, own in zip(names, merged, strict=True)]


def _recipe(values: Mapping[str, Any], path: Path) -> Recipe:
    try:
        # As JSON, whose arrays are tuples in the strict mode, too.
        recipe = TypeAdapter(Recipe).validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "unexpected_keyword_argument":
            raise RecipeError(f"The recipe {path} has an unknown key: {key}.") from error
        raise RecipeError(f"{path}: {key} is {first['input']!r}. {first['msg']}.") from error
    train = recipe.train
    if (train.steps > 0) == (train.minutes > 0):
        raise RecipeError(f"{path}: set either train.steps or train.minutes.")
    for crop in (train.crop, train.first_crop or 64):
        if crop < 64 or crop % 32:
            raise RecipeError(f"{path}: a crop of {crop} is not a multiple of 32, 64 or more.")
    if not train.rounds or min(train.rounds) < 0 or sum(train.rounds) <= 0:
        raise RecipeError(f"{path}: train.rounds needs at least one chance above 0, none below.")
    if not train.many_rounds or min(train.many_rounds) < 1:
        raise RecipeError(f"{path}: train.many_rounds needs whole numbers from 1 on.")
    return recipe
