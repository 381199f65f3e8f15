"""A training run's every choice, read from TOML and saved with what it made."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from training.errors import RecipeError
from training.losses import LossRecipe
from training.prompts import PromptRecipe


@dataclass(frozen=True)
class DataRecipe:
    """Where pictures and words come from. Paths are relative to the folder given on the way."""

    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    # One expression a line, for word vectors; empty: only sentences made from category names.
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
    # The schedule ends after so many steps, or so many minutes of training, whichever is set.
    steps: int = 0
    minutes: float = 0.0
    pictures: int = 8
    prompts: int = 3
    # Views have about crop x crop pixels, wide ones for wide pictures; a multiple of 32.
    crop: int = 256
    # Smaller views for the first part of the schedule: more steps while there is most to learn.
    first_crop: int = 0
    first_share: float = 0.0
    # How often a view is the whole picture, and how often close around one object.
    whole: float = 0.4
    close: float = 0.3
    # How often a second picture of the same kind of thing is put beside or into the first.
    composed: float = 0.0
    # Chances of 0, 1, 2, ... rounds of simulated corrections before the answer that is learned.
    rounds: tuple[float, ...] = (0.3, 0.3, 0.25, 0.15)
    rate: float = 1e-3
    backbone_rate: float = 2e-4
    warmup: int = 100
    weight_decay: float = 1e-4
    clip: float = 1.0
    ema: float = 0.999
    threads: int = 0
    log_every: int = 20
    save_minutes: float = 5.0
    validate_minutes: float = 10.0
    validate_objects: int = 60


@dataclass(frozen=True)
class Recipe:
    """One TOML file. ``model`` holds fields of ModelConfig; attributes are filled in from data."""

    model: Mapping[str, Any] = field(default_factory=dict)
    data: DataRecipe = field(default_factory=DataRecipe)
    train: TrainRecipe = field(default_factory=TrainRecipe)
    prompts: PromptRecipe = field(default_factory=PromptRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


Part = TypeVar("Part")


def read_recipe(path: Path | str) -> Recipe:
    """The recipe in a TOML file. Raises RecipeError naming what is unknown or impossible."""
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"The recipe {path} cannot be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"The recipe {path} is not valid TOML: {error}.") from error
    unknown = sorted(set(values) - {field.name for field in dataclasses.fields(Recipe)})
    if unknown:
        raise RecipeError(f"The recipe {path} has unknown tables: {', '.join(unknown)}.")
    recipe = Recipe(
        model=values.get("model", {}),
        data=_part(DataRecipe, values.get("data", {}), path),
        train=_part(TrainRecipe, values.get("train", {}), path),
        prompts=_part(PromptRecipe, values.get("prompts", {}), path),
        loss=_part(LossRecipe, values.get("loss", {}), path),
    )
    train = recipe.train
    if (train.steps > 0) == (train.minutes > 0):
        raise RecipeError(f"{path}: set either train.steps or train.minutes, not both or none.")
    for crop in (train.crop, train.first_crop or 64):
        if crop < 64 or crop % 32:
            raise RecipeError(f"{path}: a crop of {crop} is no multiple of 32 from 64 on.")
    if not train.rounds or min(train.rounds) < 0 or sum(train.rounds) <= 0:
        raise RecipeError(f"{path}: train.rounds needs chances of which at least one is above 0.")
    return recipe


def _part(kind: type[Part], values: Mapping[str, Any], path: Path) -> Part:
    known = {each.name for each in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise RecipeError(f"The recipe {path} has unknown keys: {', '.join(unknown)}.")
    plain = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    return kind(**plain)
