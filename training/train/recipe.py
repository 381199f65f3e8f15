"""A training run's every choice, read from TOML and saved with what it made."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from training.errors import RecipeError
from training.prompts.prompts import PromptRecipe
from training.train.losses import LossRecipe


@dataclass(frozen=True)
class DataRecipe:
    """Where pictures and words come from. Paths are relative to the folder given on the way.

    Data sets are named as `training.data.open_dataset` takes them: [FORMAT:]PATH[?KEY=VALUE].
    """

    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    # Data sets to test on: a picture of theirs is taken out of `train`, be it cropped or scaled.
    apart_from: tuple[str, ...] = ()
    # Only so many pictures of `train`, the first ones, to try something out; 0: all.
    at_most: int = 0
    # Word vectors: a file that model/keyed_vectors.py reads, or a gensim-downloader name. Empty:
    # those of `start`, else learned from `text`.
    words: str = ""
    # One expression a line, to learn word vectors from; empty: only sentences made from category
    # names.
    text: str = ""
    # Starting weights of the backbone: a file, or a torchvision weights name; empty: none.
    backbone_weights: str = ""
    # A checkpoint to start from, network and words; empty: a new network. Fields of [model] that
    # make the network larger are allowed: what is new starts as it would in a new network.
    start: str = ""
    # How often each source is drawn; sources that are not named share `other`.
    weights: Mapping[str, float] = field(default_factory=dict)
    other: float = 0.0
    # How much likelier a picture is drawn that shows several of a kind.
    several: int = 1
    # Sources whose borders are drawn coarsely: their outermost pixels count less.
    coarse_sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainRecipe:
    """Steps, sizes and rates."""

    seed: int = 1
    # The schedule ends after so many steps, or so many minutes of training, whichever is set; where
    # code sets both, with whichever is reached first.
    steps: int = 0
    minutes: float = 0.0
    pictures: int = 8
    prompts: int = 3
    # Views have about crop x crop pixels, wide ones for wide pictures; a multiple of 32.
    crop: int = 256
    # Smaller views for the first part of the schedule: more steps while there is most to learn.
    first_crop: int = 0
    first_share: float = 0.0
    # How often a view is the whole picture, close around one object, and a detail of one; the rest
    # are parts of the picture.
    whole: float = 0.4
    close: float = 0.25
    detail: float = 0.1
    # How often a second picture of the same kind of thing is put beside or into the first.
    composed: float = 0.0
    # Chances of 0, 1, 2, ... rounds of simulated corrections before the answer that is learned.
    rounds: tuple[float, ...] = (0.3, 0.3, 0.25, 0.15)
    # How often one prompt of each picture is corrected one of so many times instead.
    many: float = 0.15
    many_rounds: tuple[int, ...] = (5, 8, 12, 16)
    # "adamw", or "sgd" with momentum.
    optimizer: str = "adamw"
    momentum: float = 0.9
    # "cosine", or "poly" with its power (DeepLab's), down to 0 at the end; "constant" for a run of
    # unknown length, whose averaged weights take the place of a falling rate.
    schedule: str = "cosine"
    power: float = 0.9
    rate: float = 1e-3
    backbone_rate: float = 2e-4
    warmup: int = 100
    weight_decay: float = 1e-4
    # Gradients longer than this are shortened to it.
    clip: float = 1.0
    ema: float = 0.999
    # The backbone's first stages (strides 2, 4, 8, 16, 32) that are not trained: edges and textures
    # are known from pretraining, and learning them costs as much as all the rest of the backbone.
    frozen_stages: int = 0
    # Norms keep the statistics that they start with: few pictures of one kind would spoil them.
    frozen_norms: bool = False
    # "auto" is a GPU where there is one; "cpu", "cuda".
    device: str = "auto"
    # Mixed precision: "auto" (on GPUs), "off", "bf16" (also on CPUs that have it), "fp16".
    amp: str = "auto"
    # Threads of the network on a CPU; 0 leaves it to torch.
    threads: int = 0
    # Processes that make batches: 0 is one thread, -1 as many as a GPU wants and the machine has.
    workers: int = -1
    tensorboard: bool = False
    log_every: int = 20
    save_minutes: float = 5.0
    validate_minutes: float = 10.0
    validate_objects: int = 60
    # Whose objects are looked at; empty: the sources of the validation data, the largest first.
    validate_sources: tuple[str, ...] = ()


CHOICES = {
    "optimizer": ("adamw", "sgd"),
    "schedule": ("cosine", "poly", "constant"),
    "device": ("auto", "cpu", "cuda"),
    "amp": ("auto", "off", "bf16", "fp16"),
}


@dataclass(frozen=True)
class Recipe:
    """One run. ``model`` holds fields of ModelConfig; attributes are filled in from data."""

    model: Mapping[str, Any] = field(default_factory=dict)
    data: DataRecipe = field(default_factory=DataRecipe)
    train: TrainRecipe = field(default_factory=TrainRecipe)
    prompts: PromptRecipe = field(default_factory=PromptRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Stage:
    """One of the runs that a recipe asks for, each of which starts from the one before."""

    name: str
    recipe: Recipe


Part = TypeVar("Part")
PARTS: Mapping[str, type[Any]] = {
    "data": DataRecipe,
    "train": TrainRecipe,
    "prompts": PromptRecipe,
    "loss": LossRecipe,
}


def read_recipe(path: Path | str) -> Recipe:
    """The recipe of one run in a TOML file. Raises RecipeError where it has stages, too."""
    stages = read_stages(path)
    if len(stages) > 1 or stages[0].name:
        raise RecipeError(f"The recipe {path} has stages; this needs a recipe of one run.")
    return stages[0].recipe


def read_stages(path: Path | str) -> list[Stage]:
    """The stages in a TOML file: one without a name, or each of its ``[[stages]]``.

    A stage has a name and its own keys of [data], [train], [prompts] and [loss]; all else is as it
    stands outside. Raises RecipeError naming what is unknown or impossible.
    """
    path = Path(path)
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
        raise RecipeError(f"{path}: each of [[stages]] needs a name of its own, a plain word.")
    outside = [key for stage in stages for key in stage if key not in PARTS]
    if outside:
        raise RecipeError(f"{path}: a stage cannot change {outside[0]}, only {', '.join(PARTS)}.")
    return [
        Stage(name, _recipe(_merged(values, stage), path))
        for name, stage in zip(names, stages, strict=True)
    ]


def _merged(values: Mapping[str, Any], stage: Mapping[str, Any]) -> dict[str, Any]:
    return {**values, **{name: {**values.get(name, {}), **own} for name, own in stage.items()}}


def _recipe(values: Mapping[str, Any], path: Path) -> Recipe:
    unknown = sorted(set(values) - {"model", *PARTS})
    if unknown:
        raise RecipeError(f"The recipe {path} has unknown tables: {', '.join(unknown)}.")
    parts = {name: _part(kind, values.get(name, {}), path) for name, kind in PARTS.items()}
    recipe = Recipe(model=values.get("model", {}), **parts)
    train = recipe.train
    if (train.steps > 0) == (train.minutes > 0):
        raise RecipeError(f"{path}: set either train.steps or train.minutes, not both or none.")
    for crop in (train.crop, train.first_crop or 64):
        if crop < 64 or crop % 32:
            raise RecipeError(f"{path}: a crop of {crop} is no multiple of 32 from 64 on.")
    if not train.rounds or min(train.rounds) < 0 or sum(train.rounds) <= 0:
        raise RecipeError(f"{path}: train.rounds needs chances of which at least one is above 0.")
    if not train.many_rounds or min(train.many_rounds) < 1:
        raise RecipeError(f"{path}: train.many_rounds needs whole numbers from 1 on.")
    for key, choices in CHOICES.items():
        if getattr(train, key) not in choices:
            given = getattr(train, key)
            raise RecipeError(f"{path}: train.{key} is '{given}', none of {', '.join(choices)}.")
    return recipe


def _part(kind: type[Part], values: Mapping[str, Any], path: Path) -> Part:
    defaults = {each.name: each for each in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(defaults))
    if unknown:
        raise RecipeError(f"The recipe {path} has unknown keys: {', '.join(unknown)}.")
    plain = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    for key, value in plain.items():
        default = defaults[key].default
        if not _fits(value, default):
            raise RecipeError(f"{path}: {key} is {value!r}, but must be {_said(default)}.")
    return kind(**plain)


def _said(default: object) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return names.get(type(default), "a list" if isinstance(default, tuple) else "a table")


def _fits(value: object, default: object) -> bool:
    if default is dataclasses.MISSING:  # a table, made anew for each recipe
        return isinstance(value, Mapping)
    if isinstance(default, float):
        return isinstance(value, float | int) and not isinstance(value, bool)
    return type(value) is type(default)
