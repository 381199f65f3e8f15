"""The best, middle and worst cases as pictures: target, clicks and answers."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.evaluation.cases import target_of
from training.evaluation.overlay import around
from training.evaluation.protocol import Mask, Spot
from training.evaluation.run import Measurement, Result, Run

# Cases of each kind, and runs shown next to each other.
EACH = 4
MOST_RUNS = 4
# Interactions after which a case is shown and ranked; later the best and the middle look alike.
AFTER = 3
# Longest side of a picture in pixels.
LONGEST = 480


@dataclass(frozen=True)
class Panel:
    """One answer. outline: an SVG path in the picture's pixels; clicks up to this answer."""

    label: str
    outline: str
    clicks: tuple[Spot, ...]
    iou: float
    needed: int
    failed: bool


@dataclass(frozen=True)
class Exhibit:
    """One case with the answers of all runs.

    wanted: the target as an SVG path. view: the part shown: left, top, width and height in the
    picture's pixels. picture: that part as a data URI.
    """

    title: str
    phrase: str
    view: tuple[int, int, int, int]
    picture: str
    wanted: str
    panels: tuple[Panel, ...]


def choose(measurement: Measurement) -> dict[str, list[Exhibit]]:
    """Cases of the first run by their mean IoU over its first interactions: "best" and so on.

    Each picture is shown once. The chosen cases are repeated for their masks.
    """
    run = measurement.runs[0]
    ranked = sorted(measurement.results[run], key=_score, reverse=True)
    once: dict[int, Result] = {}
    for result in ranked:
        if result.case.ids:
            once.setdefault(result.case.index, result)
    # The worst case of each picture.
    last: dict[int, Result] = {}
    for result in reversed(ranked):
        if result.case.ids:
            last.setdefault(result.case.index, result)
    by_score = list(once.values())
    count = min(EACH, max(1, len(by_score) // 3))
    best = by_score[:count]
    shown = {result.case.index for result in best}
    worst = [r for r in last.values() if r.case.index not in shown][:count]
    shown |= {result.case.index for result in worst}
    rest = [result for result in by_score if result.case.index not in shown]
    start = max(0, (len(rest) - count) // 2)
    middle = rest[start : start + count]
    kinds = {"best": best, "middle": middle, "worst": worst}
    return {
        name: [_exhibit(measurement, result) for result in results]
        for name, results in kinds.items()
        if results
    }


def _score(result: Result) -> float:
    trajectory = result.trajectory
    return float(np.mean([trajectory.iou(k) for k in range(1, AFTER + 1)]))


def _exhibit(measurement: Measurement, result: Result) -> Exhibit:
    case = result.case
    panels, seen = [], []
    sample = None
    for run in measurement.runs[:MOST_RUNS]:
        of_run = _same_case(result, measurement.results[run])
        if of_run is not None:
            sample, masks = measurement.again(run, of_run)
            panels.append(_panel(run, of_run, masks))
            seen.append(masks[min(AFTER, len(masks)) - 1])
    assert sample is not None
    wanted = target_of(sample, case).mask
    clicks = [spot for panel in panels for spot in panel.clicks]
    view = around([wanted, *seen], clicks)
    left, top, width, height = view
    about = [case.source, sample.key]
    if case.category not in (None, case.phrase):
        about.insert(0, str(case.category))
    return Exhibit(
        title=" · ".join(about),
        phrase=case.phrase,
        view=view,
        picture=_data_uri(sample.image[top : top + height, left : left + width]),
        wanted=outline(wanted),
        panels=tuple(panels),
    )


def _same_case(result: Result, others: Sequence[Result]) -> Result | None:
    """Another run's result for the same target, or None."""
    case = result.case
    same = [r for r in others if (r.case.index, r.case.ids) == (case.index, case.ids)]
    return next((r for r in same if r.case.phrase == case.phrase), same[0] if same else None)


def _panel(run: Run, result: Result, masks: Sequence[Mask]) -> Panel:
    trajectory = result.trajectory
    shown = min(AFTER, len(masks))
    clicks = shown if run.mode == "clicks" else shown - 1
    return Panel(
        label=run.label,
        outline=outline(masks[shown - 1]),
        clicks=trajectory.clicks[:clicks],
        iou=trajectory.iou(shown),
        needed=trajectory.needed(0.90),
        failed=trajectory.failed(0.90),
    )


def outline(mask: Mask) -> str:
    """The borders of an H,W mask, holes included, as one SVG path (fill rule evenodd)."""
    # Imports scipy.signal, which takes a second or two that workers should not wait for.
    from skimage.measure import approximate_polygon, find_contours

    parts = []
    for contour in find_contours(np.pad(mask, 1).astype(float), 0.5):
        points = approximate_polygon(contour, 0.4) - 0.5
        if len(points) > 3:
            parts.append("M" + "L".join(f"{x:.1f} {y:.1f}" for y, x in points) + "Z")
    return "".join(parts)


def _data_uri(image: NDArray[np.uint8]) -> str:
    picture = Image.fromarray(image)
    picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=82, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
