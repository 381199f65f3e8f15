"""How much a fine-tuning learns, and how: the two budgets, and the training loop's recipe for each.

The rates are high, and nothing pulls the weights back to the champion's: the version serves the
project whose labels it learned, and labels that it did not learn are served by the base model
(training/finetune/labels.py). On the team kinds of RUNS.md this halved the clicks, where low rates
with distillation hardly changed them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from training.data import Dataset
from training.errors import RecipeError
from training.prompts.prompts import PromptRecipe
from training.prompts.scenes import TEAM
from training.train.distributed import device_for
from training.train.optimization import cpu_computes_bf16
from training.train.recipe import DataRecipe, Recipe, TrainRecipe

Budget = Literal["quick", "thorough"]

# Sources of the pack and of VOC whose borders are drawn coarsely.
COARSE = ("voc", "sbd")


@dataclass(frozen=True)
class FineTuneRecipe(TrainRecipe):
    """How much is learned from a team's labels: a training's recipe with more, and other defaults.

    The defaults are the thorough budget. All of it is a *choice*, measured in RUNS.md.
    """

    # ``steps`` or ``minutes`` end the schedule, whichever comes first. Only if the minutes end it
    # does the clock matter. 0 steps: by the number of labels, at most so many (`steps_for`).
    most_steps: int = 500
    minutes: float = 25.0
    pictures: int = 4
    prompts: int = 4
    # The last part of the schedule sees views nearly as large as pictures are served.
    crop: int = 320
    first_crop: int = 224
    first_share: float = 0.8
    close: float = 0.3
    # So that clicks keep helping.
    many: float = 0.25
    warmup: int = 10
    ema: float = 0.98
    # The backbone's stages at strides 2 and 4 keep their weights: a step costs a third less.
    frozen_stages: int = 2
    frozen_norms: bool = True
    threads: int = 1
    workers: int = 0
    # Share of the pictures of a step that are rehearsed from a base data set, if there is one.
    replay_share: float = 0.15
    # Weight of the base model's answers beside the labels, if there is none.
    # It is computed at every ``distill_every``-th step.
    distillation: float = 1.0
    distill_every: int = 8
    # Of first clicks on objects that people clicked: how often theirs, not simulated ones.
    people: float = 0.5
    # How often the validation part is measured, and on how many of its objects.
    looks: int = 2
    look_objects: int = 24
    # The most of a GPU's memory that may be taken, as a share; 0: no limit.
    gpu_share: float = 0.0
    save_seconds: float = 60.0


THOROUGH = FineTuneRecipe()

BUDGETS: Mapping[Budget, FineTuneRecipe] = {
    # At most five minutes on two cores, the measurements on the way included.
    "quick": FineTuneRecipe(most_steps=150, minutes=4.0, looks=1, look_objects=16),
    # At most half an hour.
    "thorough": THOROUGH,
}


def steps_for(labels: int, most: int) -> int:
    """Steps for this many labeled objects: a few would be memorized by many steps."""
    return min(most, 200 + 8 * labels)


def loop_recipe(recipe: FineTuneRecipe, labels: int, replay: Dataset | None) -> Recipe:
    """The training loop's recipe. Raises RecipeError for impossible values."""
    if recipe.looks < 1 or not 0.0 <= recipe.replay_share < 1.0:
        raise RecipeError("looks must be 1 or more, and replay_share from 0 to below 1.")
    share = 0.0 if replay is None else recipe.replay_share
    sources = [] if replay is None else list(replay.sources)
    weights = {source: share * sources.count(source) / len(sources) for source in set(sources)}
    amp = recipe.amp
    if amp == "auto" and device_for(recipe.device).type == "cpu" and cpu_computes_bf16():
        amp = "bf16"
    return Recipe(
        data=DataRecipe(weights={**weights, TEAM: 1.0 - share}, several=2, coarse_sources=COARSE),
        train=replace(recipe, steps=recipe.steps or steps_for(labels, recipe.most_steps), amp=amp),
        # A label's name alone is learned first, and then means all of its kind beside a click, too:
        # so most phrases come with clicks, and many clicks correct the answer to a phrase.
        prompts=PromptRecipe(
            both=0.45,
            phrase_only=0.2,
            bare_name=0.75,
            # Suggestions ask every picture for every label.
            absent=0.05,
            phrase_first=0.3,
            phrase_late=0.08,
            people=recipe.people,
        ),
    )
