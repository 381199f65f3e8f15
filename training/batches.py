"""Batches: which pictures a step sees, and everything about them as tensors.

A batch is determined by the seed and the number of its step alone. So a run that was killed goes
on with the very batches it would have seen, without any sampler state to save.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.click_maps import ClickBatch
from model.phrase_encoder import WordBatch
from model.phrase_reader import PhraseReader
from training.augment import random_view, tint
from training.compose import Composer
from training.datasets.sample import Dataset
from training.errors import DataError, RecipeError
from training.prompts import PictureScene, Prompt, annotated_concepts, make_prompt
from training.recipe import Recipe
from training.vocabulary import concept_of

# Wide, upright, square: pictures of one shape make a batch, so that none is padded or squeezed.
WIDE = 1.12


@dataclass
class Batch:
    """P pictures and B prompts about them. image: P,3,H,W in [0, 1]. target, void: B,1,H,W."""

    image: Tensor
    picture_index: Tensor
    prompts: list[Prompt]
    target: Tensor
    void: Tensor
    coarse_source: Tensor
    sources: list[str]
    rng: np.random.Generator


class Batches:
    """The batch of any step."""

    def __init__(self, dataset: Dataset, recipe: Recipe) -> None:
        self.dataset = dataset
        self.recipe = recipe
        self._groups = _groups(dataset, recipe)
        self._composer = Composer(dataset)
        categories: dict[str, set[str]] = {}
        for index, source in enumerate(dataset.sources):
            names = {o.category for o in dataset.objects(index) if o.category is not None}
            categories.setdefault(source, set()).update(names)
        self.known = annotated_concepts(categories)

    def make(self, step: int, crop: int) -> Batch:
        """The batch of a step, with views of about crop x crop pixels."""
        train = self.recipe.train
        rng = np.random.default_rng([train.seed, step])
        shares = np.array([group.share for group in self._groups])
        group = self._groups[int(rng.choice(len(shares), p=shares / shares.sum()))]
        height, width = view_size(crop, group.shape)
        images: list[NDArray[np.uint8]] = []
        prompts: list[Prompt] = []
        owners: list[int] = []
        sources: list[str] = []
        for _ in range(20 * train.pictures):
            view_rng = np.random.default_rng(rng.integers(2**63))
            index = group.draw(view_rng)
            sample = self.dataset[index]
            if view_rng.random() < train.composed:
                sample = self._composer.composed(sample, view_rng)
            view = random_view(sample, height, width, view_rng, (train.whole, train.close))
            scene = PictureScene(view)
            made = [
                make_prompt(scene, self.known, self.recipe.prompts, view_rng)
                for _ in range(train.prompts)
            ]
            asked = [prompt for prompt in made if prompt is not None]
            if not asked:
                continue
            owners.extend([len(images)] * len(asked))
            sources.extend([sample.source] * len(asked))
            prompts.extend(asked)
            images.append(tint(view.image, view_rng))
            if len(images) == train.pictures:
                break
        else:
            raise DataError("The data set shows hardly any object: nothing can be asked of it.")
        stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        coarse = [source in self.recipe.data.coarse_sources for source in sources]
        return Batch(
            stacked.float().div_(255.0),
            torch.tensor(owners),
            prompts,
            torch.from_numpy(np.stack([p.target for p in prompts]))[:, None],
            torch.from_numpy(np.stack([p.void for p in prompts]))[:, None],
            torch.tensor(coarse),
            sources,
            rng,
        )


def view_size(crop: int, shape: str) -> tuple[int, int]:
    """Height and width of a view, multiples of 32 with about crop x crop pixels."""
    less, more = crop - 32, crop + 32
    return {"wide": (less, more), "upright": (more, less)}.get(shape, (crop, crop))


def click_batch(prompts: Sequence[Prompt]) -> ClickBatch:
    """The clicks so far, padded."""
    count = max(len(prompt.clicks) for prompt in prompts)
    xy = torch.zeros(len(prompts), count, 2)
    sign = torch.zeros(len(prompts), count)
    for row, prompt in enumerate(prompts):
        for column, (x, y, positive) in enumerate(prompt.clicks):
            xy[row, column, 0], xy[row, column, 1] = x, y
            sign[row, column] = positive
    return ClickBatch(xy, sign)


def word_batch(texts: Sequence[str], reader: PhraseReader) -> WordBatch:
    """The word vectors of B phrases ("" is none), padded."""
    read = [reader.read(text).vectors for text in texts]
    length = torch.tensor([len(vectors) for vectors in read])
    padded = torch.zeros(len(texts), int(length.max()), reader.dim)
    for row, vectors in enumerate(read):
        if len(vectors):
            padded[row, : len(vectors)] = torch.tensor(vectors)
    return WordBatch(padded, length)


def held_attributes(prompts: Sequence[Prompt], attributes: Mapping[str, int]) -> Tensor:
    """B,A of 0 and 1: which attributes each phrase holds."""
    held = torch.zeros(len(prompts), len(attributes))
    for row, prompt in enumerate(prompts):
        for name in prompt.phrase.attributes if prompt.phrase else ():
            if name in attributes:
                held[row, attributes[name]] = 1.0
    return held


@dataclass(frozen=True)
class _Group:
    """Pictures of one shape: how often it is drawn, and by source how often and which."""

    shape: str
    share: float
    weights: NDArray[np.float64]
    members: tuple[NDArray[np.int64], ...]

    def draw(self, rng: np.random.Generator) -> int:
        members = self.members[int(rng.choice(len(self.weights), p=self.weights))]
        return int(members[int(rng.integers(len(members)))])


def _several(dataset: Dataset, index: int) -> bool:
    """Whether two things of one kind are in the picture."""
    kinds = [
        concept_of(each.category)
        for each in dataset.objects(index)
        if each.category and not each.semantic
    ]
    return len(set(kinds)) < len(kinds)


def _groups(dataset: Dataset, recipe: Recipe) -> list[_Group]:
    sources = np.array(dataset.sources)
    widths, heights = np.array([dataset.size(i) for i in range(len(dataset))]).T
    shapes = np.where(
        widths > WIDE * heights, "wide", np.where(heights > WIDE * widths, "upright", "square")
    )
    groups = []
    for shape in ("wide", "upright", "square"):
        weights, members = [], []
        for source in sorted(set(dataset.sources)):
            of_source = sources == source
            here = np.flatnonzero(of_source & (shapes == shape))
            weight = recipe.data.weights.get(source, recipe.data.other)
            if len(here) and weight > 0:
                weights.append(weight * len(here) / of_source.sum())
                crowded = [index for index in here if _several(dataset, int(index))]
                repeats = [here] + [np.array(crowded, np.int64)] * (recipe.data.several - 1)
                members.append(np.concatenate(repeats))
        if weights:
            shares = np.array(weights)
            share = float(shares.sum())
            groups.append(_Group(shape, share, shares / share, tuple(members)))
    if not groups:
        raise RecipeError("No source of the data has a weight above 0: see [data] in the recipe.")
    return groups
