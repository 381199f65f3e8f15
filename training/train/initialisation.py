"""What a run starts with: its pictures, its words and a network that fits them.

A new network takes a backbone's pretrained weights. A network that continues from a checkpoint
takes all of its weights and may have grown: new fields of [model], new categories. Where a tensor
has grown, the old numbers fill its leading part; new inputs start without influence, new outputs as
in a new network.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model.checkpoint import Checkpoint
from model.config import ModelConfig
from model.network.phrase_encoder import PhraseEncoder, WordBatch
from model.network.phraseclick import PhraseClick
from model.tokenizer import Tokenizer
from training.data import Dataset, Without, open_dataset, overlapping
from training.errors import RecipeError
from training.prompts.questions import word_batch
from training.prompts.vocabulary import attributes_for, concept_of, phrase_words
from training.train.distributed import Ranks
from training.train.recipe import Recipe
from training.train.words import framed, trained_before

log = logging.getLogger(__name__)

LEFT_OUT = "left_out.json"


def training_data(recipe: Recipe, folder: Path, data: Path, ranks: Ranks) -> Dataset:
    """The recipe's pictures, without those that also occur in the data sets of ``apart_from``.

    Finding these means looking at every picture, so it is done once and kept in the run's folder.
    """
    dataset = open_dataset(recipe.data.train, data)
    if recipe.data.at_most:
        dataset = Without(dataset, range(recipe.data.at_most, len(dataset)))
    if not recipe.data.apart_from:
        return dataset
    path = folder / LEFT_OUT
    if ranks.first and not (path.exists() and json.loads(path.read_bytes())["of"] == len(dataset)):
        same = overlapping(dataset, open_dataset(recipe.data.apart_from, data))
        path.write_text(json.dumps({"of": len(dataset), "left_out": same}), encoding="utf-8")
    ranks.wait()
    left_out = json.loads(path.read_bytes())["left_out"]
    log.info("%d of %d pictures also occur in %s and are left out.",
             len(left_out), len(dataset), ", ".join(recipe.data.apart_from))  # fmt: skip
    return Without(dataset, left_out)


def first_network(
    start: Checkpoint | None,
    recipe: Recipe,
    categories: list[str],
    tokenizer: Tokenizer,
    data: Path,
    *,
    fitted: bool = True,
) -> PhraseClick:
    """The network that a run starts with: a new one, or a checkpoint's, grown by what the recipe
    and the data add.

    tokenizer: the run's words. If the recipe names other word vectors than the checkpoint's, the
    phrase encoder is fitted to them. fitted: take the seconds for an exact fit; a resumed run does
    not need it.
    """
    before = {} if start is None else start.config.to_dict()
    config = ModelConfig.from_dict({**before, **recipe.model})
    asked = attributes_for(concept_of(category) for category in categories)
    config = replace(
        config,
        attributes=tuple(dict.fromkeys((*before.get("attributes", ()), *asked))),
        word_dim=tokenizer.dim,
        word_geometry=tokenizer.geometry,
    )
    network = PhraseClick(config)
    if start is None:
        if source := recipe.data.backbone_weights:
            file = data / source
            network.backbone.load_pretrained(file if file.exists() else source)
        return network
    state = start.state
    if recipe.data.words:
        state = with_other_words(state, remap_words(start.tokenizer(), tokenizer))
    grow_from(network, state)
    if recipe.data.words and fitted:
        names = phrase_words(trained_before(start))
        seed = recipe.train.seed
        phrases = [*names, *framed(names, np.random.default_rng(seed))]
        old = start.network().phrase
        left = fit_phrases(network.phrase, old, tokenizer, start.tokenizer(), phrases, seed)
        log.info("Phrases are read with other words; %.0f %% of their variance differs.",
                 100 * left)  # fmt: skip
    return network


# The weights that multiply word vectors, forward and backward.
WORD_INPUTS = "phrase.lstm.weight_ih"
# Weight of a trained word in the fit of the word map.
TRAINED_WEIGHT = 100.0
# The most frequent words have equal weights; rarer ones have less.
FLAT_RANKS = 300
FEWEST_COMMON = 2
# Distillation of the phrase encoder, see `fit_phrases`.
FIT_STEPS = 1000
FIT_BATCH = 128
FIT_RATE = 5e-3


@torch.no_grad()
def grow_from(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Fill the network in place from a smaller one's state.

    Raises RecipeError if a tensor of ``state`` is larger than the network's, or missing there.
    """
    held = network.state_dict()
    if lost := sorted(set(state) - set(held)):
        raise RecipeError(f"The network to start from has {lost[0]}, which the new one lacks.")
    for name, old in state.items():
        new = held[name]
        if new.ndim != old.ndim or any(n < o for n, o in zip(new.shape, old.shape, strict=True)):
            raise RecipeError(
                f"{name} is {tuple(old.shape)} in the network to start from and cannot become "
                f"{tuple(new.shape)}: a network may only grow."
            )
        if new.ndim > 1 and new.shape[1] > old.shape[1]:
            new[: old.shape[0], old.shape[1] :] = 0.0
        new[tuple(slice(size) for size in old.shape)] = old


def remap_words(old: Tokenizer, new: Tokenizer) -> Tensor:
    """new,old: the linear map from the new word vectors to the old ones, by least squares.

    It is fitted to the words that both vocabularies have; trained words weigh most, then frequent
    ones. Raises RecipeError if there are too few.
    """
    wanted, given, weights = [], [], []
    for rank, word in enumerate(old.words):
        before, after = old.read(word), new.read(word)
        if len(before.words) != 1 or len(after.words) != 1 or after.corrected:
            continue
        wanted.append(before.vectors[0])
        given.append(after.vectors[0])
        trained = new.trained is not None and not after.near
        weights.append((TRAINED_WEIGHT if trained else 1.0) / (rank + FLAT_RANKS))
    if len(wanted) < FEWEST_COMMON:
        raise RecipeError(
            f"The words to start from and those of the recipe have {len(wanted)} in common: too "
            f"few to carry over what was learned, which needs {FEWEST_COMMON}."
        )
    root = np.sqrt(np.array(weights) / np.mean(weights))[:, None]
    inputs, targets = root * np.array(given), root * np.array(wanted)
    # A small ridge, so that coordinates that no common word uses get no weight.
    ridge = 1e-3 * len(inputs) * np.eye(inputs.shape[1])
    solved = np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ targets)
    return torch.from_numpy(solved.astype(np.float32))


def with_other_words(state: Mapping[str, Tensor], word_map: Tensor) -> dict[str, Tensor]:
    """The state of a network whose LSTM takes other word vectors. word_map: see `remap_words`."""
    return {
        name: tensor @ word_map.T.to(tensor) if name.startswith(WORD_INPUTS) else tensor
        for name, tensor in state.items()
    }


def fit_phrases(
    student: PhraseEncoder,
    teacher: PhraseEncoder,
    new: Tokenizer,
    old: Tokenizer,
    phrases: Sequence[str],
    seed: int,
) -> float:
    """Train the phrase encoder of the new words to match that of the old words on these phrases.

    A linear word map cannot place each of some hundred names exactly; a few seconds of distillation
    can. The student is changed in place. Returns the remaining mean squared difference as a share
    of the teacher's variance.
    """
    known = [text for text in phrases if _understood(old, text) and _understood(new, text)]
    if not known:
        return 1.0
    given = word_batch(known, new)
    with torch.no_grad():
        wanted = teacher(word_batch(known, old))
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(student.parameters(), FIT_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, FIT_RATE, total_steps=FIT_STEPS)
    for _ in range(FIT_STEPS):
        rows = torch.from_numpy(rng.integers(len(known), size=FIT_BATCH))
        words = WordBatch(given.vectors[rows], given.length[rows])
        loss = (student(words) - wanted[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        left = (student(given) - wanted).square().mean() / wanted.var().clamp_min(1e-6)
    return float(left)


def _understood(tokenizer: Tokenizer, text: str) -> bool:
    tokens = tokenizer.read(text)
    return bool(tokens.words) and not tokens.ignored and not tokens.corrected
