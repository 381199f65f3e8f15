"""What a run starts with: the words it knows, and a network for what its data show.

A new network takes its backbone's trained weights; one that goes on from a checkpoint takes all of
it, and may have grown: new fields of [model], new categories of the data.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from model.checkpoint import Checkpoint
from model.config import ModelConfig
from model.network import PhraseClick
from model.phrase_reader import PhraseReader
from training.datasets import Dataset
from training.growth import grow_from
from training.recipe import Recipe
from training.vocabulary import attributes_for, concept_of
from training.word_vectors import DIM, train_word_vectors

WORDS = "word_vectors.npz"


def categories_of(dataset: Dataset) -> list[str]:
    """Every category that occurs, sorted."""
    return sorted(
        {
            each.category
            for index in range(len(dataset))
            for each in dataset.objects(index)
            if each.category
        }
    )


def read_words(folder: Path) -> PhraseReader:
    """The run's own word vectors."""
    with np.load(folder / WORDS, allow_pickle=False) as stored:
        return PhraseReader([str(word) for word in stored["words"]], stored["vectors"])


def learn_words(folder: Path, recipe: Recipe, categories: list[str], data: Path) -> None:
    """Learn the run's word vectors when it first starts: from the recipe's text and categories."""
    path = folder / WORDS
    if path.exists():
        return
    text: Path | list[str] = data / recipe.data.text if recipe.data.text else []
    dim = int(recipe.model.get("word_dim", DIM))
    words, vectors = train_word_vectors(text, categories, dim=dim)
    partial = folder / f"partial-{WORDS}"
    np.savez(partial, words=np.array(words), vectors=vectors)
    partial.replace(path)


def new_network(
    recipe: Recipe, categories: list[str], reader: PhraseReader, data: Path
) -> PhraseClick:
    """A new network with its backbone's trained weights, where the recipe names some."""
    attributes = attributes_for(concept_of(each) for each in categories)
    config = ModelConfig.from_dict(dict(recipe.model))
    network = PhraseClick(replace(config, attributes=attributes, word_dim=reader.dim))
    source = recipe.data.backbone_weights
    if source:
        file = data / source
        network.backbone.load_pretrained(file if file.exists() else source)
    return network


def grown_network(start: Checkpoint, recipe: Recipe, categories: list[str]) -> PhraseClick:
    """The checkpoint's network, with what the recipe and the data ask for beyond it."""
    config = ModelConfig.from_dict({**start.config.to_dict(), **recipe.model})
    asked = attributes_for(concept_of(each) for each in categories)
    attributes = dict.fromkeys((*start.config.attributes, *asked))
    network = PhraseClick(replace(config, attributes=tuple(attributes)))
    grow_from(network, start.state)
    return network
