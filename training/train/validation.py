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
from torch import Tensor, nn

from model.crop import Box, mask_box
from model.inference import input_size
from model.network.click_maps import ClickBatch, no_clicks
from model.network.phrase_encoder import WordBatch
from model.network.phraseclick import PhraseClick
from model.tokenizer import Tokenizer
from training.data.batch import word_batch
from training.data.sample import Dataset, Sample, SampleObject
from training.errors import DataError
from training.evaluation.cases import ids_of_kind, word_of
from training.evaluation.protocol import Answer, ClickPoint, Mask, Target, follow, overlap

# The number of sources if the recipe names none.
MOST_SOURCES = 4
# IoU is reported after these numbers of clicks.
CLICKS = (1, 2, 3, 5, 10)
# IoU from which further clicks change almost nothing.
GOOD = 0.95
# The IoU of "clicks to 90".
GOAL = 0.90


@dataclass(frozen=True)
class Case:
    """One object to segment."""

    index: int
    about: SampleObject


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
        [o for o in dataset.objects(index) if not o.semantic] for index in range(len(dataset))
    ]
    order = [int(index) for index in rng.permutation(len(dataset))]
    shuffled = [[objects[i] for i in rng.permutation(len(objects))] for objects in things]
    chosen = [
        Case(index, shuffled[index][turn])
        for turn in range(max((len(objects) for objects in things), default=0))
        for index in order
        if turn < len(things[index])
    ]
    return sorted(chosen[:count], key=lambda case: (case.index, case.about.id))


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
    phrase; objects that shrank to nothing are left out.
    """
    network.eval()
    values: dict[str, list[float]] = {}
    for case in cases:
        try:
            sample = dataset[case.index]
        except DataError:  # logged when the data set was opened or in training
            continue
        if (sample.mask(case.about.id) & ~sample.void).any():
            look = _ValidationCase(network, tokenizer, sample, case.about)
            for name, value in look.figures(most).items():
                values.setdefault(name, []).append(value)
    return {name: float(np.mean(measured)) for name, measured in values.items()}


class _ValidationCase:
    """An encoded picture and one object to segment in it."""

    def __init__(
        self, network: PhraseClick, tokenizer: Tokenizer, sample: Sample, about: SampleObject
    ) -> None:
        self._network, self._tokenizer = network, tokenizer
        self._sample, self._about = sample, about
        self._device = next(network.parameters()).device
        height, width = sample.instances.shape
        size = input_size(Box(0, 0, width, height), network.config.input_size)
        resized = Image.fromarray(sample.image).resize(size[::-1], Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None].float() / 255.0
        self._scale = size[1] / width, size[0] / height
        self._features = network.encode(pixels.to(self._device))
        self._target = Target(sample.mask(about.id), sample.void, word_of(about.category))

    def figures(self, most: int) -> dict[str, float]:
        clicked = self._clicked("", most)
        results = {f"clicks@{count}": clicked[count - 1] for count in CLICKS if count <= most}
        good = [number for number, iou in enumerate(clicked, 1) if iou >= GOAL]
        results["clicks to 90"] = float(good[0] if good else most + 1)
        none = no_clicks(1, self._device)
        box = mask_box(self._target.mask)
        if self._network.config.box_prompts and box is not None:
            boxes = torch.tensor([box], dtype=torch.float32) * torch.tensor([*self._scale] * 2)
            logits = self._decoded(none, self._words(""), boxes=boxes.to(self._device))
            results["box"] = self._overlap(logits, self._target.mask)
        if self._about.category:
            phrase = self._target.phrase
            kind = ids_of_kind(self._sample.objects, self._about.category)
            results["phrase@1"] = self._clicked(phrase, 1)[0]
            logits = self._decoded(none, self._words(phrase))
            results["phrase only"] = self._overlap(logits, self._sample.mask(*kind))
        return results

    def _clicked(self, phrase: str, most: int) -> list[float]:
        """IoU after each of ``most`` clicks of the protocol."""
        answer = self._answer(self._words(phrase))
        trajectory = follow(answer, self._target, "clicks", goal=GOOD, at_least=1, most=most)
        return [trajectory.iou(count) for count in range(1, most + 1)]

    def _answer(self, words: WordBatch) -> Answer:
        """The network's answers; each gets the probabilities of the one before."""
        previous: Tensor | None = None

        def answer(clicks: Sequence[ClickPoint], phrase: str, before: Mask | None) -> Mask:
            nonlocal previous
            across, down = self._scale
            xy = [[[x * across, y * down] for x, y, _ in clicks]]
            sign = [[1.0 if positive else -1.0 for _, _, positive in clicks]]
            batch = ClickBatch(
                torch.tensor(xy, device=self._device), torch.tensor(sign, device=self._device)
            )
            logits = self._decoded(batch, words, previous)
            previous = torch.sigmoid(logits)
            return _at_size(logits, self._target.mask.shape)

        return answer

    def _words(self, phrase: str) -> WordBatch:
        words = word_batch([phrase], self._tokenizer)
        return WordBatch(words.vectors.to(self._device), words.length.to(self._device))

    def _decoded(
        self,
        clicks: ClickBatch,
        words: WordBatch,
        previous: Tensor | None = None,
        boxes: Tensor | None = None,
    ) -> Tensor:
        output = self._network.decode(self._features, clicks, words, previous, None, boxes)
        return output.logits_full()

    def _overlap(self, logits: Tensor, target: Mask) -> float:
        return overlap(_at_size(logits, target.shape), target, self._sample.void)


def _at_size(logits: Tensor, size: tuple[int, ...]) -> NDArray[np.bool_]:
    resized = nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    answer: NDArray[np.bool_] = (resized[0, 0] > 0).cpu().numpy()
    return answer
