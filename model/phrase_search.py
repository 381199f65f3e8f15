"""What a phrase alone is about: all objects of a kind, or the one of several that it singles out.

The phrase is answered as a whole, and the objects in that answer are found one by one
(`model.instances`). Pictures with extreme sides show nothing as a whole and are searched in
stretches; crowds of small objects in tiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model import crop, referring, word_forms
from model.confidence import implied_score
from model.crop import Box, ImageTiles, stretches
from model.embedding import Embedding
from model.inference import Answer, Inference
from model.instances import (
    LIMITS,
    LOOSE_LIMITS,
    Candidate,
    Instance,
    Limits,
    at_picture_size,
    crowded,
    distinct,
    find,
)
from model.mask_upsampling import LogitGrid, sigmoid
from model.network.phraseclick import Features
from model.point_decoder import PointDecoder
from model.prompt import Click, Prompt
from model.spelling import split
from model.tokenizer import Tokenizer
from model.tokens import Tokens

# Objects that are clicked for a phrase in the singular; more are a crowd, which the network's own
# answer shows better.
MOST_POINTED = 8


@dataclass(frozen=True, eq=False)
class Instances:
    """All that a phrase means, one by one, and how the phrase was read.

    objects: the best first; no pixel is in two of them. confidence: that of the first; of the
    phrase's answer as a whole where no object is sure enough.
    """

    objects: tuple[Instance, ...]
    tokens: Tokens
    confidence: float


@dataclass(frozen=True)
class Pointed:
    """Clicks on what a phrase is about, as a prompt. score: of the phrase's answer without them, as
    in `Prediction`; None where the phrase alone does not say which object is meant."""

    prompt: Prompt
    score: float | None


@dataclass(frozen=True, eq=False)
class PhraseSearch:
    """Searches encoded pictures.

    confidence: of a score, 0 to 1. features: of a part of a picture, which are kept for the next
    prompt. encode: the same for a part that no other prompt will ask for.
    """

    inference: Inference
    tokenizer: Tokenizer
    confidence: Callable[[float], float]
    features: Callable[[Embedding, Box], Features]
    encode: Callable[[Embedding, Box], Features]

    def instances(
        self, embedding: Embedding, phrases: Sequence[str], least: float
    ) -> list[Instances]:
        """For each phrase, one mask for each thing that it means; see `Predictor.instances`."""
        width, height = embedding.width, embedding.height
        limits = replace(LIMITS, confidence=least)
        found: dict[str, list[Instance]] = {phrase: [] for phrase in phrases}
        doubts = dict.fromkeys(phrases, 0.0)
        known = [phrase for phrase in found if self.tokenizer.read(phrase).words]
        parts = stretches(width, height) if known else []
        for part in parts:
            for phrase, (answer, decode) in zip(
                known, self._named(self.features(embedding, part), known, part), strict=True
            ):
                logits = answer.grid.logits
                there = self._objects(embedding, answer, decode, part, limits)
                if crowded(logits, there, part):
                    there = self._closer(embedding, phrase, part, there, limits)
                found[phrase] += there
                if (logits > 0).any():
                    doubts[phrase] = max(doubts[phrase], self.confidence(_score(answer)))
        results = []
        for phrase in phrases:
            objects = found[phrase]
            if len(parts) > 1:
                objects.sort(key=lambda instance: -instance.confidence)
            sure = objects[0].confidence if objects else doubts[phrase]
            results.append(Instances(tuple(objects), self.tokenizer.read(phrase), sure))
        return results

    def _objects(
        self, embedding: Embedding, answer: Answer, decode: PointDecoder, part: Box, limits: Limits
    ) -> list[Instance]:
        """The objects of a phrase's answer over a part of the picture."""
        logits = answer.grid.logits
        candidates = find(logits, decode, self.confidence, limits)
        there = at_picture_size(candidates, logits.shape, part.width, part.height)
        return [instance.within(part, embedding.width, embedding.height) for instance in there]

    def _closer(
        self,
        embedding: Embedding,
        phrase: str,
        part: Box,
        known: Sequence[Instance],
        limits: Limits,
    ) -> list[Instance]:
        """The objects of a crowd, most of them as tiles show them.

        known: as the part as a whole shows them; kept where no tile shows an object whole.
        """

        # Tiles take many passes, and a click must not wait for them.
        behind = replace(self, inference=self.inference.behind_clicks())

        def search(tile: Box) -> list[Instance]:
            ((answer, decode),) = behind._named(self.encode(embedding, tile), [phrase], tile)
            objects = self._objects(embedding, answer, decode, tile, limits)
            return [one for one in objects if not _cut(one.box, tile, part)]

        tiles = crop.tiles(part)
        with ThreadPoolExecutor(len(tiles)) as pool:
            seen = [one for objects in pool.map(search, tiles) for one in objects]
        seen.sort(key=lambda instance: -instance.confidence)
        return sorted(distinct([*seen, *known], limits), key=lambda one: -one.confidence)

    def pointed_at(self, embedding: Embedding, phrase: str) -> Pointed | None:
        """Clicks on the objects that a phrase is about, or on the one that it singles out.

        Clicks show what belongs to an object better than words do (training/RUNS.md). None where no
        object is sure enough, or too many are found; the network's own answer is then the best.
        """
        return self._singled_out(embedding, phrase) or self._found(embedding, phrase)

    def _found(self, embedding: Embedding, phrase: str) -> Pointed | None:
        tokens = self.tokenizer.read(phrase)
        if not tokens.words:
            return None
        if len(stretches(embedding.width, embedding.height)) > 1:
            # Such a picture shows nothing as a whole: the likeliest object.
            (found,) = self.instances(embedding, [phrase], LIMITS.confidence)
            clicks = tuple(Click(*instance.centre) for instance in found.objects[:1])
            return Pointed(Prompt(clicks, tokens), None) if clicks else None
        whole = Box(0, 0, embedding.width, embedding.height)
        ((answer, decode),) = self._named(self.features(embedding, whole), [phrase], whole)
        candidates = find(answer.grid.logits, decode, self.confidence)
        if not 0 < len(candidates) <= MOST_POINTED:
            return None
        clicks = _centres(candidates, answer.grid)
        return Pointed(Prompt(clicks, tokens), _score(answer))

    def _singled_out(self, embedding: Embedding, phrase: str) -> Pointed | None:
        """A click on the one of several objects that a phrase is about; None for other phrases."""
        reference = referring.read(phrase)
        if reference is None:
            return None
        kind = self.tokenizer.read(reference.kind)
        if not kind.words:
            return None
        whole = Box(0, 0, embedding.width, embedding.height)
        ((answer, decode),) = self._named(self.features(embedding, whole), [reference.kind], whole)
        logits = answer.grid.logits
        across, down = embedding.width / logits.shape[1], embedding.height / logits.shape[0]
        for limits in (LIMITS, LOOSE_LIMITS):
            candidates = find(logits, decode, self.confidence, limits)
            chosen = referring.choose(
                reference,
                [_appearance(candidate, embedding.tiles, across, down) for candidate in candidates],
            )
            if chosen is not None:
                clicks = _centres([candidates[chosen]], answer.grid)
                return Pointed(Prompt(clicks, kind), None)
        return None

    def _named(
        self, features: Features, phrases: Sequence[str], part: Box
    ) -> list[tuple[Answer, PointDecoder]]:
        """Each phrase's own answer over a part, and the decoder that finds the objects in it."""
        tokens = [self.tokenizer.read(phrase) for phrase in phrases]
        named = []
        for phrase, answer in zip(
            phrases, self.inference.phrases(features, part, tokens), strict=True
        ):
            one = self.tokenizer.read(" ".join(word_forms.as_singular(split(phrase))))
            probability = sigmoid(answer.grid.logits)
            decoder = PointDecoder(self.inference, features, one.vectors, probability)
            named.append((answer, decoder))
        return named


def _cut(box: Box, tile: Box, part: Box) -> bool:
    """Whether an object continues beyond the tile, as far as its box shows."""
    return (
        (tile.left > part.left and box.left <= tile.left + 1)
        or (tile.top > part.top and box.top <= tile.top + 1)
        or (tile.right < part.right and box.right >= tile.right - 1)
        or (tile.bottom < part.bottom and box.bottom >= tile.bottom - 1)
    )


def _score(answer: Answer) -> float:
    """How good a phrase's answer is, as in `Prediction`."""
    return implied_score(answer.grid.logits) if answer.iou_logit is None else answer.iou_logit


def _centres(candidates: Sequence[Candidate], grid: LogitGrid) -> tuple[Click, ...]:
    """A click where each candidate is deepest; the grid covers the picture."""
    height, width = grid.logits.shape
    across, down = grid.box.width / width, grid.box.height / height
    centres = [candidate.centre for candidate in candidates]
    return tuple(Click((column + 0.5) * across, (row + 0.5) * down) for row, column in centres)


def _appearance(
    candidate: Candidate, tiles: ImageTiles, across: float, down: float
) -> referring.Appearance:
    """A candidate in pixels of the picture, of which a cell covers across x down."""
    rows, columns = np.nonzero(candidate.inside)
    rows, columns = rows + candidate.patch.corner[0], columns + candidate.patch.corner[1]
    left, right = columns.min() * across, (columns.max() + 1) * across
    top, bottom = rows.min() * down, (rows.max() + 1) * down

    def colours() -> NDArray[np.uint8]:
        box = Box(
            int(left),
            int(top),
            min(math.ceil(right), tiles.width),
            min(math.ceil(bottom), tiles.height),
        )
        pixels: NDArray[np.uint8] = np.asarray(tiles.read(box))
        y = np.minimum(((rows + 0.5) * down).astype(int) - box.top, box.height - 1)
        x = np.minimum(((columns + 0.5) * across).astype(int) - box.left, box.width - 1)
        inside: NDArray[np.uint8] = pixels[y, x]
        return inside

    return referring.Appearance((left, top, right, bottom), len(rows) * across * down, colours)
