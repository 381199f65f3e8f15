"""Makes the batch of a step: draws pictures, cuts views, makes prompts, stacks tensors.

In some steps one prompt of each picture is corrected many times, up to `TrainRecipe.many_rounds`.
The other prompts keep a few rounds, so such a step costs little more.

A batch depends only on the seed and the step's number, and each of its pictures also on its place
in the batch. So a killed run continues with the same batches without any saved sampler state, and
processes that share a batch see together what one process would have seen. Batches are made in
advance, in order (`made_ahead`): by a thread for a CPU, by several processes for a GPU.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as MapDataset

from training.data import Dataset, Sample, Tolerant
from training.data.compose import Composer
from training.data.transforms import Tint, View, ViewShares, random_view, whole_view
from training.data.wrappers import categories_by_source, endless
from training.errors import DataError, RecipeError
from training.prompts.clicks import ClickNoise
from training.prompts.prompts import Prompt, PromptMaker
from training.prompts.questions import Batch, Question
from training.prompts.scenes import PictureScene, annotated_concepts
from training.prompts.vocabulary import concept_of
from training.prompts.written_phrases import AttributeWords
from training.train.recipe import Recipe

# Aspect ratio from which a picture is wide or upright. Batches have pictures of one shape, so that
# none is padded or distorted.
WIDE = 1.12
# Pictures tried for one place in the batch; some show nothing to ask for, some are unreadable.
TRIES = 20
# Tries to fill the prompts that a picture lacks.
PROMPT_TRIES = 4


@dataclass(frozen=True)
class _Picture:
    """One place of a batch: the view of a picture, its prompts, and the noise of their clicks."""

    view: View
    prompts: list[Prompt]
    noise: list[ClickNoise]

    def questions(self, rounds: int, many: int) -> list[Question]:
        """The prompts as questions of ``rounds`` rounds; ``many`` for the first clickable one."""
        long = next((prompt for prompt in self.prompts if prompt.clickable), None)
        questions = []
        for prompt, noise in zip(self.prompts, self.noise, strict=True):
            count = many if many and prompt is long else rounds
            questions.append(
                Question(
                    text=prompt.phrase.text if prompt.phrase else "",
                    attributes=prompt.phrase.attributes if prompt.phrase else (),
                    clicks=list(prompt.clicks),
                    clickable=prompt.clickable,
                    noise=noise,
                    rounds=count,
                    phrase_from=math.ceil(prompt.phrase_late * count),
                    box=prompt.box,
                    given=prompt.given_when,
                )
            )
        return questions


class Batches:
    """Makes the batch of any step; each of several processes makes its share."""

    def __init__(self, dataset: Dataset, recipe: Recipe, *, rank: int = 0, world: int = 1) -> None:
        if world > recipe.train.pictures:
            raise RecipeError(
                f"{world} processes share {recipe.train.pictures} pictures a step: raise "
                "train.pictures, so that each has one at least."
            )
        self.recipe = recipe
        self._places = range(rank, recipe.train.pictures, world)
        self._dataset = dataset
        self._samples = Tolerant(dataset)
        self._groups = _groups(dataset, recipe)
        self._composer = Composer(dataset)
        categories = categories_by_source(dataset)
        self.known = annotated_concepts(categories)
        self._words = AttributeWords(
            concept_of(name) for names in categories.values() for name in names
        )

    def make(self, step: int, crop: int) -> Batch:
        """The batch of a step, with views of about crop x crop pixels.

        Raises DataError if no picture for a place can be read or asked about.
        """
        train = self.recipe.train
        rng = np.random.default_rng([train.seed, step])
        shares = np.array([group.share for group in self._groups])
        group = self._groups[int(rng.choice(len(shares), p=shares / shares.sum()))]
        chances = np.array(train.rounds)
        rounds = int(rng.choice(len(chances), p=chances / chances.sum()))
        many = int(rng.choice(train.many_rounds)) if rng.random() < train.many else 0
        size = view_size(crop, group.shape)
        broken: list[str] = []
        pictures = [self._picture(step, place, group, size, broken) for place in self._places]
        views = [picture.view for picture in pictures]
        prompts = [prompt for picture in pictures for prompt in picture.prompts]
        questions = [
            question for picture in pictures for question in picture.questions(rounds, many)
        ]
        coarse = self.recipe.data.coarse_sources
        return Batch(
            image=torch.from_numpy(np.stack([view.image for view in views])).permute(0, 3, 1, 2),
            picture_index=torch.tensor([i for i, p in enumerate(pictures) for _ in p.prompts]),
            questions=questions,
            target=torch.from_numpy(np.stack([p.target for p in prompts]))[:, None],
            void=torch.from_numpy(np.stack([p.void for p in prompts]))[:, None],
            given=_given(prompts, size),
            coarse_source=torch.tensor(
                [p.view.sample.source in coarse for p in pictures for _ in p.prompts]
            ),
            keys=[view.sample.key for view in views],
            passed_over=tuple(broken),
        )

    def _picture(
        self, step: int, place: int, group: _Group, size: tuple[int, int], broken: list[str]
    ) -> _Picture:
        """One place of a step's batch: the first drawn picture that has something to ask for."""
        train = self.recipe.train
        most = max(len(train.rounds) - 1, *train.many_rounds)
        for attempt in range(TRIES):
            rng = np.random.default_rng([train.seed, step, place, attempt])
            scene = self._scene(group, size, rng, broken)
            if scene is None:
                continue
            maker = PromptMaker(scene, self.known, self.recipe.prompts, rng)
            prompts: list[Prompt] = []
            # A fixed number of prompts: a CPU prepares its convolutions for each new shape.
            for _ in range(PROMPT_TRIES):
                missing = train.prompts - len(prompts)
                if not missing:
                    break
                prompts += maker.several(missing)
            if prompts:
                noise = [ClickNoise.draw(rng, most) for _ in prompts]
                return _Picture(scene.view, prompts, noise)
        raise DataError(
            "The data set has hardly any object to ask for."
            if not broken
            else f"{len(broken)} pictures in a row could not be read, the last: {broken[-1]}"
        )

    def _scene(
        self, group: _Group, size: tuple[int, int], rng: np.random.Generator, broken: list[str]
    ) -> PictureScene | None:
        """A view of a random picture, read or made; None if it cannot be read."""
        index = group.draw(rng)
        maker = endless(self._dataset, index)
        if maker is not None:
            # Made at the view's size, with its own light and colours.
            sample = maker.made(int(rng.integers(2**63)), *size)
            return PictureScene(whole_view(sample), words=self._words)
        drawn = self._draw(index, rng, broken)
        if drawn is None:
            return None
        train = self.recipe.train
        tint = Tint.draw(rng)
        shares = ViewShares(train.whole, train.close, train.detail, train.coarse)
        view = random_view(drawn, *size, rng, shares)
        view = dataclasses.replace(view, image=tint(view.image))
        return PictureScene(view, tint, self._words)

    def _draw(self, index: int, rng: np.random.Generator, broken: list[str]) -> Sample | None:
        """The sample, sometimes composed with another one; None if it cannot be read."""
        sample = self._samples.get(index)
        if sample is None:
            broken.append(self._samples.broken[index])
            return None
        if rng.random() >= self.recipe.train.composed:
            return sample
        try:
            return self._composer.composed(sample, rng)
        except DataError as error:
            broken.append(str(error))
            return sample


def _given(prompts: Sequence[Prompt], size: tuple[int, int]) -> Tensor | None:
    if all(prompt.given is None for prompt in prompts):
        return None
    nothing = np.zeros(size, np.float32)
    shown = [nothing if prompt.given is None else prompt.given for prompt in prompts]
    return torch.from_numpy(np.stack(shown))[:, None]


def view_size(crop: int, shape: str) -> tuple[int, int]:
    """Height and width of a view, multiples of 32 with about crop x crop pixels."""
    less, more = crop - 32, crop + 32
    return {"wide": (less, more), "upright": (more, less)}.get(shape, (crop, crop))


@dataclass(frozen=True)
class _Group:
    """Pictures of one shape: its share of steps, and by source its weight and indices."""

    shape: str
    share: float
    weights: NDArray[np.float64]
    members: tuple[NDArray[np.int64], ...]

    def draw(self, rng: np.random.Generator) -> int:
        members = self.members[int(rng.choice(len(self.weights), p=self.weights))]
        return int(members[int(rng.integers(len(members)))])


def _several(dataset: Dataset, index: int) -> bool:
    """Whether the picture has two things of one kind."""
    things = [about for about in dataset.objects(index) if about.concept and not about.semantic]
    return len({about.concept for about in things}) < len(things)


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
        raise RecipeError("No source has a weight above 0: set data.weights or data.other.")
    return groups


Make = Callable[[int, int], Batch]
Order = tuple[int, int]  # the step, and the size of its views
# Batches in advance, for the thread and for each process.
THREAD_AHEAD = 2
PROCESS_AHEAD = 3


def made_ahead(
    make: Make, orders: Iterator[Order], workers: int, *, pinned: bool = False
) -> Generator[Batch]:
    """The batches of these orders, which are drawn a few batches in advance.

    workers: number of processes; 0: a thread of this process. pinned: page-locked memory, for a
    GPU.
    """
    if workers > 0:
        loader: DataLoader[Batch] = DataLoader(
            _BatchDataset(make),
            batch_size=None,
            sampler=orders,
            num_workers=workers,
            prefetch_factor=PROCESS_AHEAD,
            pin_memory=pinned,
            # The loader draws a seed for its workers; this must not advance the run's generator.
            generator=torch.Generator(),
        )
        yield from loader
        return
    pool = ThreadPoolExecutor(1, "batches")
    waiting: deque[Future[Batch]] = deque()
    try:
        for order in orders:
            waiting.append(pool.submit(make, *order))
            if len(waiting) > THREAD_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def workers_for(wanted: int, device: torch.device, cores: int, world: int) -> int:
    """The number of processes: ``wanted``, or for -1 as many as the machine has cores to spare."""
    if wanted >= 0:
        return wanted
    return 0 if device.type == "cpu" else max(1, min(16, cores // max(world, 1) - 1))


class _BatchDataset(MapDataset[Batch]):
    """A map-style data set whose indices are orders."""

    def __init__(self, make: Make) -> None:
        self._make = make

    def __getitem__(self, order: Order) -> Batch:
        return self._make(*order)
