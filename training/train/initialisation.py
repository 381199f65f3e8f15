"""What a run starts with: the words it knows, and a network for what its data show.

A new network takes its backbone's trained weights; one that goes on from a checkpoint takes all of
it, and may have grown: new fields of [model], new categories of the data.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from model.checkpoint import Checkpoint
from model.config import ModelConfig
from model.network.phraseclick import PhraseClick
from model.tokenizer import Tokenizer
from training.data import Dataset, Without, open_dataset, overlapping
from training.data.endless import categories_by_source
from training.prompts.vocabulary import (
    COLOURS,
    PLACES,
    SIZES,
    TRAITS,
    attributes_for,
    concept_of,
    phrase_words,
)
from training.prompts.word_vectors import framed
from training.train.distributed import Ranks
from training.train.recipe import Recipe
from training.train.weight_expansion import (
    fit_phrases,
    grow_from,
    remap_words,
    with_other_words,
)

log = logging.getLogger(__name__)

LEFT_OUT = "left_out.json"


def training_data(recipe: Recipe, folder: Path, data: Path, ranks: Ranks) -> Dataset:
    """The recipe's pictures, without those of the data sets that it is to be kept apart from.

    Which ones these are is found out once, since every picture has to be looked at, and kept in the
    run's folder; how many they are is in the log.
    """
    dataset = open_dataset(recipe.data.train, data)
    if recipe.data.at_most:
        dataset = Without(dataset, range(recipe.data.at_most, len(dataset)))
    if not recipe.data.apart_from:
        return dataset
    path = folder / LEFT_OUT
    if ranks.first and _left_out(path, len(dataset)) is None:
        found = overlapping(dataset, open_dataset(recipe.data.apart_from, data))
        path.write_text(json.dumps({"of": len(dataset), "left_out": found}), encoding="utf-8")
    ranks.wait()
    left_out = _left_out(path, len(dataset)) or []
    log.info("%d of %d pictures also occur in %s and are left out.",
             len(left_out), len(dataset), ", ".join(recipe.data.apart_from))  # fmt: skip
    return Without(dataset, left_out)


def _left_out(path: Path, of: int) -> list[int] | None:
    """What was found out before, of a data set of this size."""
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return [int(index) for index in found["left_out"]] if found["of"] == of else None


def categories_of(dataset: Dataset) -> list[str]:
    """Every category that occurs, sorted."""
    return sorted(set().union(*categories_by_source(dataset).values()) - {""})


def trained_on(start: Checkpoint) -> list[str]:
    """The categories a checkpoint says it has seen; of an older one, the things it can name."""
    listed = start.metrics.get("metrics", {}).get("categories")
    if listed is not None:
        return [str(each) for each in listed]
    return [
        name for name in start.config.attributes if name not in (*COLOURS, *PLACES, *SIZES, *TRAITS)
    ]


def new_network(
    recipe: Recipe, categories: list[str], tokenizer: Tokenizer, data: Path
) -> PhraseClick:
    """A new network with its backbone's trained weights, where the recipe names some."""
    attributes = attributes_for(concept_of(each) for each in categories)
    config = ModelConfig.from_dict(dict(recipe.model))
    network = PhraseClick(replace(config, attributes=attributes, **_word_fields(tokenizer)))
    source = recipe.data.backbone_weights
    if source:
        file = data / source
        network.backbone.load_pretrained(file if file.exists() else source)
    return network


def grown_network(
    start: Checkpoint,
    recipe: Recipe,
    categories: list[str],
    tokenizer: Tokenizer,
    *,
    fitted: bool = True,
) -> PhraseClick:
    """The checkpoint's network, with what the recipe and the data ask for beyond it.

    tokenizer: the run's words; where the recipe names word vectors of its own, what the network
    learned of the checkpoint's words is carried over to them. fitted: take the seconds that this
    needs to be exact; a run that goes on has no use for them.
    """
    config = ModelConfig.from_dict({**start.config.to_dict(), **recipe.model})
    asked = attributes_for(concept_of(each) for each in categories)
    attributes = tuple(dict.fromkeys((*start.config.attributes, *asked)))
    network = PhraseClick(replace(config, attributes=attributes, **_word_fields(tokenizer)))
    state = start.state
    if recipe.data.words:
        state = with_other_words(state, remap_words(start.tokenizer(), tokenizer))
    grow_from(network, state)
    if recipe.data.words and fitted:
        names = phrase_words(trained_on(start))
        phrases = [*names, *framed(names, np.random.default_rng(recipe.train.seed))]
        left = fit_phrases(
            network.phrase, start.network().phrase, tokenizer, start.tokenizer(), phrases,
            recipe.train.seed,
        )  # fmt: skip
        log.info("Phrases are read with other words; %.0f %% of their variance differs.",
                 100 * left)  # fmt: skip
    return network


def _word_fields(tokenizer: Tokenizer) -> dict[str, Any]:
    return {"word_dim": tokenizer.dim, "word_geometry": tokenizer.geometry}
