"""The largest gains and losses of a candidate, as pictures that a person can judge at a glance.

Champion on the left, candidate on the right: the picture, the target as a white line, the answer in
blue, positive clicks green and negative ones red. All after the same number of interactions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.evaluation.cases import target_of
from training.evaluation.measurement import Measurement, Result, Run
from training.evaluation.overlay import (
    WHITE,
    View,
    around,
    crop,
    crop_clicks,
    crop_mask,
    overlay,
)
from training.evaluation.protocol import CLICKS_FIRST, ClickPoint, Mask
from training.gate.rules import Which

# Gains of each set, and losses.
EACH = 3
AFTER = 3
# Pixels: one half of an image, the gap between both, and a click's dot.
WIDTH = 360
GAP = 8
RADIUS = 7
QUALITY = 80


class Answered(NamedTuple):
    """One side of a picture: the H,W mask, and the clicks that it answers."""

    mask: Mask
    clicks: Sequence[ClickPoint]


@dataclass(frozen=True)
class _PairedResult:
    """One question, as both answered it: run and result of the candidate, then the champion's."""

    measurement: Measurement
    candidate: tuple[Run, Result]
    champion: tuple[Run, Result]

    @property
    def gain(self) -> float:
        return _score(self.candidate[1]) - _score(self.champion[1])


def examples(
    which: Which,
    measurements: Sequence[Measurement],
    folder: Path | None,
    check: Callable[[], None] | None = None,
) -> list[dict[str, Any]]:
    """The questions with the largest gains and losses of mean IoU after 1 to 3 interactions.

    A picture is shown once for each. With a folder, "picture" is the name of a file in it, else
    "". check: called before each question is asked again for its masks.
    """
    pairs = sorted(
        (pair for measurement in measurements for pair in _paired_results(measurement)),
        key=lambda pair: -pair.gain,
    )
    kinds = {
        "won": _once_a_picture([pair for pair in pairs if pair.gain > 0]),
        "lost": _once_a_picture([pair for pair in reversed(pairs) if pair.gain < 0]),
    }
    shown = []
    for kind, chosen in kinds.items():
        for number, pair in enumerate(chosen, 1):
            name = ""
            if folder is not None:
                if check:
                    check()
                name = f"{which}-{kind}-{number}.jpg"
                _draw(folder / name, pair)
            shown.append({"set": which, "kind": kind, **_described(pair), "picture": name})
    return shown


def _paired_results(measurement: Measurement) -> Iterator[_PairedResult]:
    """Runs come in pairs of one mode, the candidate's first."""
    for mine, theirs in zip(measurement.runs[::2], measurement.runs[1::2], strict=True):
        results = measurement.results[mine], measurement.results[theirs]
        for one, other in zip(*results, strict=True):
            yield _PairedResult(measurement, (mine, one), (theirs, other))


def _score(result: Result) -> float:
    return sum(result.trajectory.iou(count) for count in range(1, AFTER + 1)) / AFTER


def _once_a_picture(pairs: Iterable[_PairedResult]) -> list[_PairedResult]:
    first: dict[int, _PairedResult] = {}
    for pair in pairs:
        first.setdefault(pair.candidate[1].case.index, pair)
    return list(first.values())[:EACH]


def _described(pair: _PairedResult) -> dict[str, Any]:
    run, result = pair.candidate
    case = result.case
    return {
        "gain": round(pair.gain, 4),
        "key": result.key,
        "objects": list(case.ids),
        "category": case.category,
        "mode": run.mode,
        "phrase": "" if run.mode == "clicks" else case.phrase,
        "candidate": _curve_json(result),
        "champion": _curve_json(pair.champion[1]),
    }


def _curve_json(result: Result) -> dict[str, Any]:
    """IoU after each interaction, and the clicks."""
    return {
        "ious": [round(value, 4) for value in result.trajectory.ious],
        "clicks": [[x, y, int(positive)] for x, y, positive in result.trajectory.clicks],
    }


def _draw(path: Path, pair: _PairedResult) -> None:
    answered: list[Answered] = []
    for run, result in (pair.champion, pair.candidate):
        sample, masks = pair.measurement.again(run, result)
        shown = min(AFTER, len(masks))
        clicks = shown if run.mode in CLICKS_FIRST else shown - 1
        answered.append(Answered(masks[shown - 1], result.trajectory.clicks[:clicks]))
    wanted = target_of(sample, pair.candidate[1].case).mask
    spots = [spot for side in answered for spot in side.clicks]
    view = around([wanted, *(side.mask for side in answered)], spots)
    save_side_by_side(path, sample.image, wanted, answered, view)


def save_side_by_side(
    path: Path, image: NDArray[np.uint8], wanted: Mask, answered: Sequence[Answered], view: View
) -> None:
    """Draw both answers in the part of the picture that ``view`` is, the champion's on the left."""
    pixels = crop(image, view, WIDTH)
    both = Image.new("RGB", (2 * WIDTH + GAP, pixels.shape[0]), WHITE)
    for side, (mask, clicks) in enumerate(answered):
        half = overlay(
            pixels,
            crop_mask(mask, view, pixels.shape),
            crop_clicks(clicks, view, pixels.shape),
            target=crop_mask(wanted, view, pixels.shape),
            radius=RADIUS,
        )
        both.paste(half, (side * (WIDTH + GAP), 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    both.save(path, quality=QUALITY, optimize=True)
