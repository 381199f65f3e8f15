"""A quick look at a network while it trains: the same few objects, few clicks, no predictor.

Full evaluation goes through the served predictor (training/evaluation); this one takes the
network as it stands, one encoding and one decoding at a time, and is meant to take seconds.
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
from training.data.sample import Dataset, Sample, SampleObject
from training.errors import DataError
from training.evaluation.protocol import overlap
from training.prompts.annotator import correction
from training.prompts.vocabulary import concept_of, words_for


@dataclass(frozen=True)
class Case:
    """One object to be found, and what it is called."""

    index: int
    about: SampleObject


# How many sources are looked at where the recipe names none.
MOST_SOURCES = 4


def sources_of(dataset: Dataset, named: Sequence[str]) -> tuple[str, ...]:
    """The sources to look at: those named, else the largest."""
    if named:
        return tuple(named)
    return tuple(source for source, _ in Counter(dataset.sources).most_common(MOST_SOURCES))


def choose_cases(dataset: Dataset, count: int, source: str, seed: int = 0) -> list[Case]:
    """The same ``count`` objects of a source every time, semantic regions and specks left out."""
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
    """At most ``count`` objects of a team, the same every time: one a picture, then a second."""
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


@torch.no_grad()
def quick_look(
    network: PhraseClick, tokenizer: Tokenizer, dataset: Dataset, cases: Sequence[Case]
) -> dict[str, float]:
    """Mean IoU after 1, 2 and 3 clicks, of phrase + 1 click, and of the phrase alone.

    What has no category is looked at by clicks only.
    """
    network.eval()
    found: dict[str, list[float]] = {}
    for case in cases:
        try:
            sample = dataset[case.index]
        except DataError:  # named when the data set was opened, or when first met in training
            continue
        for name, value in _look_at(network, tokenizer, sample, case.about).items():
            found.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _look_at(
    network: PhraseClick, tokenizer: Tokenizer, sample: Sample, about: SampleObject
) -> dict[str, float]:
    device = next(network.parameters()).device
    image, (scale_x, scale_y) = network_input(sample.image, network.config.input_size)
    features = network.encode(image.to(device))
    size = sample.instances.shape
    target, void = sample.mask(about.id), sample.void
    concept = concept_of(about.category) if about.category else ""
    phrase, silent = (
        WordBatch(words.vectors.to(device), words.length.to(device))
        for words in (word_batch([text], tokenizer) for text in (words_for(concept)[0], ""))
    )
    rng = np.random.default_rng(0)
    results: dict[str, float] = {}
    for name, words in (("clicks", silent), ("phrase", phrase))[: 2 if concept else 1]:
        clicks: list[tuple[float, float, int]] = []
        prediction = np.zeros(size, bool)
        previous: torch.Tensor | None = None
        for count in range(1, 4 if name == "clicks" else 2):
            spot = correction(target, prediction, void, rng, border=True)
            if spot is not None:
                clicks.append((spot[0] * scale_x, spot[1] * scale_y, 1 if spot[2] else -1))
            batch = ClickBatch(
                torch.tensor([[c[:2] for c in clicks]], device=device).view(1, -1, 2),
                torch.tensor([[float(c[2]) for c in clicks]], device=device),
            )
            logits = network.decode(features, batch, words, previous).logits_full()
            previous = torch.sigmoid(logits)
            prediction = _at_size(logits, size)
            results[f"{name}@{count}"] = overlap(prediction, target, void)
    if not concept:
        return results
    every = [o.id for o in sample.objects if o.category and concept_of(o.category) == concept]
    logits = network.decode(features, no_clicks(1, device), phrase).logits_full()
    results["phrase only"] = overlap(_at_size(logits, size), sample.mask(*every), void)
    return results


def network_input(
    image: NDArray[np.uint8], longest: int
) -> tuple[torch.Tensor, tuple[float, float]]:
    """1,3,H,W stretched to multiples of 32 as the predictor does, and the scale in x and y."""
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
