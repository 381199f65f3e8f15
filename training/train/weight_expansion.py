"""A larger network that starts as a smaller one that has been trained.

Where a tensor has grown, the old numbers fill its leading part: new inputs start without influence,
new outputs as in a new network.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from model.tokenizer import Tokenizer
from training.errors import RecipeError

# The weights that word vectors enter by, forward and backward.
WORD_INPUTS = "phrase.lstm.weight_ih"
# How much more the map of words must fit a trained word.
TRAINED_WEIGHT = 100.0
# The most frequent words count alike; those beyond, the less the rarer they are.
FLAT_RANKS = 300
FEWEST_COMMON = 2


@torch.no_grad()
def grow_from(network: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """Fill the network in place; returns the names of tensors that ``state`` does not have.

    Raises RecipeError where a tensor of the smaller network is larger, or has no place.
    """
    held = network.state_dict()
    lost = sorted(set(state) - set(held))
    if lost:
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
    return sorted(set(held) - set(state))


def remap_words(old: Tokenizer, new: Tokenizer) -> Tensor:
    """New,old: the linear map from the new word vectors to the old ones, by least squares.

    It is fitted to the words of the old vocabulary that the new one holds as well; those that were
    trained count most, and of the others the frequent ones. Raises RecipeError where there are too
    few for a map.
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
    # A small ridge: coordinates that no common word uses get no weight.
    ridge = 1e-3 * len(inputs) * np.eye(inputs.shape[1])
    solved = np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ targets)
    return torch.from_numpy(solved.astype(np.float32))


def with_other_words(state: Mapping[str, Tensor], word_map: Tensor) -> dict[str, Tensor]:
    """A network's state whose LSTM reads other word vectors; word_map as of `remap_words`."""
    return {
        name: tensor @ word_map.T.to(tensor) if name.startswith(WORD_INPUTS) else tensor
        for name, tensor in state.items()
    }
