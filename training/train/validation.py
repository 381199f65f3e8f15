"""A quick evaluation during training: the same few objects, few clicks, no predictor.

Full evaluation goes through the served predictor (training/evaluation). This one uses the network
directly, one encoding and one decoding at a time, and takes seconds. Clicking stops once the answer
is about right, and its IoU counts for all further clicks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model.network.click_maps import ClickBatch, no_clicks
from model.network.phrase_encoder import WordBatch
from model.network.phraseclick import PhraseClick
from model.tokenizer import Tokenizer
from training.data.batch import word_batch
from training.data.regions import bounds
from training.data.sample import Dataset, Sample, SampleObject
from training.errors import DataError
from training.evaluation.protocol import overlap
from training.prompts.clicks import correction
from training.prompts.vocabulary import concept_of, words_for


@dataclass(frozen=True)
class Case:
    """One object to segment."""

    index: int
    about: SampleObject


# The number of sources if the recipe names none.
MOST_SOURCES = 4


def sources_of(dataset: Dataset, named: Sequence[str]) -> tuple[str, ...]:
    """The sources to evaluate: those named, else the largest."""
    if named:
        return tuple(named)
    return tuple(source for source, _ in Counter(dataset.sources).most_common(MOST_SOURCES))


def choose_cases(dataset: Dataset, count: int, source: str, seed: int = 0) -> list[Case]:
    """Up to ``count`` objects of a source, one per picture, without semantic regions.

    The same arguments give the same objects.
    """
    cases: list[Case] = []
    order = np.random.default_rng(seed).permutation(len(dataset))
    for index in order:
        if dataset.sources[index] != source or len(cases) >= count:
            continue
        things = [o for o in dataset.objects(int(index)) if not o.semantic and o.category]
        if things:
            cases.append(Case(int(index), things[0]))
    return cases


def spread_cases(dataset: Dataset, count: int, seed: int = 0) -> list[Case]:
    """Up to ``count`` objects of a team: one of each picture, then a second of each, and so on.

    The same arguments give the same objects.
    """
    rng = np.random.default_rng(seed)
    things = [
        [each for each in dataset.objects(index) if not each.semantic]
        for index in range(len(dataset))
    ]
    order = [int(index) for index in rng.permutation(len(dataset))]
    shuffled = [[each[i] for i in rng.permutation(len(each))] for each in things]
    chosen = [
        Case(index, shuffled[index][turn])
        for turn in range(max((len(each) for each in things), default=0))
        for index in order
        if turn < len(things[index])
    ]
    return sorted(chosen[:count], key=lambda case: (case.index, case.about.id))


# IoU is reported after these numbers of clicks.
CLICKS = (1, 2, 3, 5, 10)
# IoU from which further clicks change almost nothing.
GOOD = 0.95
# The IoU of "clicks to 90".
GOAL = 0.90


@torch.no_grad()
def quick_look(
    network: PhraseClick,
    tokenizer: Tokenizer,
    dataset: Dataset,
    cases: Sequence[Case],
    *,
    most: int = CLICKS[-1],
) -> dict[str, float]:
    """Means over these objects, by the name of the figure. most: number of clicks at most.

    "clicks@N" and "phrase@1": IoU after N clicks, and after one click with a phrase. "clicks to
    90": clicks until IoU .90, or ``most`` + 1 if it is not reached. "box": IoU of an exact box, for
    a network with boxes. "phrase only": IoU of the phrase alone. Objects without a category get no
    phrase.
    """
    network.eval()
    values: dict[str, list[float]] = {}
    for case in cases:
        try:
            sample = dataset[case.index]
        except DataError:  # logged when the data set was opened or in training
            continue
        for name, value in _Look(network, tokenizer, sample, case.about).figures(most).items():
            values.setdefault(name, []).append(value)
    return {name: float(np.mean(each)) for name, each in values.items()}


class _Look:
    """An encoded picture and one object to segment in it."""

    def __init__(
        self, network: PhraseClick, tokenizer: Tokenizer, sample: Sample, about: SampleObject
    ) -> None:
        self._network, self._sample = network, sample
        self._device = next(network.parameters()).device
        image, self._scale = network_input(sample.image, network.config.input_size)
        self._features = network.encode(image.to(self._device))
        self._target = sample.mask(about.id)
        self._concept = concept_of(about.category) if about.category else ""
        texts = [words_for(self._concept)[0] if self._concept else "", ""]
        self._phrase, self._silent = (
            WordBatch(words.vectors.to(self._device), words.length.to(self._device))
            for words in (word_batch([text], tokenizer) for text in texts)
        )

    def figures(self, most: int) -> dict[str, float]:
        reached = self._clicked(self._silent, most)
        results = {f"clicks@{count}": reached[count - 1] for count in CLICKS if count <= most}
        good = [number for number, value in enumerate(reached, 1) if value >= GOAL]
        results["clicks to 90"] = float(good[0] if good else most + 1)
        box = bounds(self._target)
        if self._network.config.box_prompts and box is not None:
            boxes = torch.tensor([box], dtype=torch.float32) * torch.tensor([*self._scale] * 2)
            silent = no_clicks(1, self._device)
            logits = self._decoded(silent, self._silent, boxes=boxes.to(self._device))
            results["box"] = self._overlap(logits, self._target)
        if self._concept:
            results["phrase@1"] = self._clicked(self._phrase, 1)[0]
            every = [
                each.id
                for each in self._sample.objects
                if each.category and concept_of(each.category) == self._concept
            ]
            logits = self._decoded(no_clicks(1, self._device), self._phrase)
            results["phrase only"] = self._overlap(logits, self._sample.mask(*every))
        return results

    def _clicked(self, words: WordBatch, most: int) -> list[float]:
        """IoU after each of ``most`` clicks of the protocol."""
        rng = np.random.default_rng(0)
        clicks: list[tuple[float, float, int]] = []
        prediction = np.zeros(self._target.shape, bool)
        previous: torch.Tensor | None = None
        reached: list[float] = []
        for _ in range(most):
            if reached and reached[-1] >= GOOD:
                reached.append(reached[-1])
                continue
            spot = correction(self._target, prediction, self._sample.void, rng, border=True)
            if spot is not None:
                x, y, positive = spot
                clicks.append((x * self._scale[0], y * self._scale[1], 1 if positive else -1))
            batch = ClickBatch(
                torch.tensor([[c[:2] for c in clicks]], device=self._device).view(1, -1, 2),
                torch.tensor([[float(c[2]) for c in clicks]], device=self._device),
            )
            logits = self._decoded(batch, words, previous)
            previous = torch.sigmoid(logits)
            prediction = _at_size(logits, self._target.shape)
            reached.append(overlap(prediction, self._target, self._sample.void))
        return reached

    def _decoded(
        self,
        clicks: ClickBatch,
        words: WordBatch,
        previous: torch.Tensor | None = None,
        boxes: torch.Tensor | None = None,
    ) -> torch.Tensor:
        output = self._network.decode(self._features, clicks, words, previous, None, boxes)
        return output.logits_full()

    def _overlap(self, logits: torch.Tensor, target: NDArray[np.bool_]) -> float:
        return overlap(_at_size(logits, target.shape), target, self._sample.void)


def network_input(
    image: NDArray[np.uint8], longest: int
) -> tuple[torch.Tensor, tuple[float, float]]:
    """1,3,H,W stretched to multiples of 32 as in the predictor, and the scales in x and y.

    longest: the longest side of the input in pixels.
    """
    height, width = image.shape[:2]
    factor = longest / max(height, width)
    new_width = max(32, round(width * factor / 32) * 32)
    new_height = max(32, round(height * factor / 32) * 32)
    resized = Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BILINEAR)
    tensor = torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None].float() / 255.0
    return tensor, (new_width / width, new_height / height)


def _at_size(logits: torch.Tensor, size: tuple[int, ...]) -> NDArray[np.bool_]:
    resized = torch.nn.functional.interpolate(
        logits, size=(size[0], size[1]), mode="bilinear", align_corners=False
    )
    answer: NDArray[np.bool_] = (resized[0, 0] > 0).cpu().numpy()
    return answer
