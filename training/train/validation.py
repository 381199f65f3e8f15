"""A quick evaluation during training: the same few objects, few clicks, no predictor.

Full evaluation goes through the served predictor (training/evaluation). This one uses the network
directly, one encoding and one decoding at a time, and takes seconds. Clicking stops once the answer
is about right, and its IoU counts for all further clicks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from model.crop import Box, mask_box
from model.inference import input_size
from model.network.phraseclick import PhraseClick
from model.tokenizer import Tokenizer
from training.data.sample import Dataset, Sample
from training.errors import DataError
from training.evaluation.cases import Case, ids_of_kind, target_of, word_of
from training.evaluation.protocol import ClickPoint, Mask, follow, overlap
from training.prompts.clicks import EXACT
from training.prompts.questions import Question, prompt_inputs

# IoU is reported after these numbers of clicks.
CLICKS = (1, 2, 3, 5, 10)
# IoU from which further clicks change almost nothing.
GOOD = 0.95
# The IoU of "clicks to 90".
GOAL = 0.90


def spread_cases(dataset: Dataset, count: int, source: str | None = None) -> list[Case]:
    """Up to ``count`` objects: one of each picture, then a second of each, and so on.

    The same arguments give the same objects.
    """
    rng = np.random.default_rng(0)
    order = rng.permutation(len(dataset)).tolist()
    things = [[o for o in dataset.objects(i) if not o.semantic] for i in range(len(dataset))]
    shuffled = [[objects[i] for i in rng.permutation(len(objects))] for objects in things]
    drawn = [
        (turn, place, index, about)
        for place, index in enumerate(order)
        if source is None or dataset.sources[index] == source
        for turn, about in enumerate(shuffled[index])
    ]
    cases = [
        Case(index, dataset.sources[index], (about.id,), about.category, word_of(about.category))
        for _, _, index, about in sorted(drawn, key=lambda item: item[:2])[:count]
    ]
    return sorted(cases, key=lambda case: (case.index, case.ids))


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
        if (sample.mask(*case.ids) & ~sample.void).any():
            answers = _Answers(network, tokenizer, sample.image)
            for name, value in _figures(answers, sample, case, most).items():
                values.setdefault(name, []).append(value)
    return {name: float(np.mean(measured)) for name, measured in values.items()}


def _figures(answers: _Answers, sample: Sample, case: Case, most: int) -> dict[str, float]:
    target = target_of(sample, case)
    clicked = follow(answers, target, "clicks", goal=GOOD, at_least=1, most=most)
    results = {f"clicks@{count}": clicked.iou(count) for count in CLICKS if count <= most}
    good = [number for number, iou in enumerate(clicked.ious, 1) if iou >= GOAL]
    results["clicks to 90"] = float(good[0] if good else most + 1)
    box = mask_box(target.mask)
    if answers.takes_boxes and box is not None:
        results["box"] = overlap(answers([], "", None, box), target.mask, sample.void)
    if case.category:
        first = follow(answers, target, "clicks+phrase", goal=GOOD, at_least=1, most=1)
        results["phrase@1"] = first.iou(1)
        kind = sample.mask(*ids_of_kind(sample.objects, case.category))
        results["phrase only"] = overlap(answers([], target.phrase, None), kind, sample.void)
    return results


class _Answers:
    """A network's answers for a picture; each gets the probabilities of the one before."""

    def __init__(
        self, network: PhraseClick, tokenizer: Tokenizer, image: NDArray[np.uint8]
    ) -> None:
        self._network, self._tokenizer = network, tokenizer
        self.takes_boxes = network.config.box_prompts
        self._device = next(network.parameters()).device
        height, width = self._shape = image.shape[:2]
        size = input_size(Box(0, 0, width, height), network.config.input_size)
        resized = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None].float() / 255.0
        self._scale = size[1] / width, size[0] / height
        self._features = network.encode(pixels.to(self._device))
        self._previous: Tensor | None = None

    def __call__(
        self, clicks: Sequence[ClickPoint], phrase: str, before: Mask | None, box: Box | None = None
    ) -> Mask:
        across, down = self._scale
        question = Question(
            phrase,
            (),
            [(x * across, y * down, 1 if positive else -1) for x, y, positive in clicks],
            True,
            EXACT,
            box=box and (box[0] * across, box[1] * down, box[2] * across, box[3] * down),
        )
        inputs = prompt_inputs([question], [phrase], self._tokenizer, self._device)
        previous = None if before is None else self._previous
        output = self._network.decode(
            self._features, inputs.clicks, inputs.words, previous, None, inputs.boxes
        )
        logits = output.logits_full()
        self._previous = torch.sigmoid(logits)
        resized = nn.functional.interpolate(
            logits, size=self._shape, mode="bilinear", align_corners=False
        )
        mask: Mask = (resized[0, 0] > 0).cpu().numpy()
        return mask
