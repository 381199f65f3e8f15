"""The geometry of the page's charts, in SVG units; how they look is the template's business."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.evaluation.protocol import MOST

# Lines that end closer together than this have their names moved apart.
LINE_HEIGHT = 15.0


@dataclass(frozen=True)
class Frame:
    """The plot area: left, top, right, bottom."""

    left: float
    top: float
    right: float
    bottom: float

    def across(self, share: float) -> float:
        return self.left + share * (self.right - self.left)

    def up(self, share: float) -> float:
        return self.bottom - share * (self.bottom - self.top)


@dataclass(frozen=True)
class Tick:
    """A place on an axis and what is written there."""

    at: float
    text: str


@dataclass(frozen=True)
class Curve:
    """A line with its band, and where its name stands."""

    name: str
    line: str
    band: str
    points: tuple[tuple[float, float], ...]
    name_at: float


@dataclass(frozen=True)
class Curves:
    """Mean IoU against interactions, a curve a run."""

    frame: Frame
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Bar:
    """One bar, and what it says when pointed at."""

    left: float
    top: float
    width: float
    height: float
    text: str
    failed: bool


@dataclass(frozen=True)
class Histogram:
    """How many interactions the cases of a run needed; the last bar never got there."""

    name: str
    frame: Frame
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Whisker:
    """A mean with its interval on a small scale; zero and aim are None where they do not show."""

    low: float
    mean: float
    high: float
    zero: float | None
    aim: float | None


def curves(runs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Curves | None:
    """None where every run has a single interaction, which makes no line."""
    most = max(len(run["curve"]) for run in runs)
    if most < 2:
        return None
    frame = Frame(44.0, 12.0, 520.0, 300.0)
    least = min(point["interval"][0] for run in runs for point in run["curve"])
    floor = min(0.9, math.floor(least * 10) / 10)

    def place(k: int, value: float) -> tuple[float, float]:
        share = (value - floor) / (1.0 - floor)
        return round(frame.across((k - 1) / (most - 1)), 1), round(frame.up(share), 1)

    drawn = []
    for run, name in zip(runs, names, strict=True):
        numbered = list(enumerate(run["curve"], 1))
        points = [place(k, each["mean"]) for k, each in numbered]
        above = [place(k, each["interval"][1]) for k, each in numbered]
        below = [place(k, each["interval"][0]) for k, each in numbered]
        band = path([*above, *reversed(below)]) + "Z"
        drawn.append(Curve(name, path(points), band, tuple(points), points[-1][1]))
    return Curves(
        frame,
        tuple(Tick(place(k, floor)[0], str(k)) for k in range(1, most + 1)),
        tuple(
            Tick(place(1, tenth / 10)[1], f"{tenth / 10:.1f}")
            for tenth in range(round(floor * 10), 11)
        ),
        tuple(_apart(drawn, frame)),
    )


def histogram(
    run: Mapping[str, Any], name: str, height: float = 100.0, measure: str = "noc90"
) -> Histogram:
    """Shares of cases by the interactions they needed, ``height`` high without the axis."""
    frame = Frame(8.0, 16.0, 412.0, 16.0 + height)
    counts = [0] * (MOST + 1)
    for case in run["per_case"]:
        reached = case[measure] < MOST or max(case["ious"]) >= int(measure[3:]) / 100
        counts[case[measure] - 1 if reached else MOST] += 1
    highest = max(counts)
    step = (frame.right - frame.left) / (MOST + 1.5)
    bars, ticks = [], []
    for number, count in enumerate(counts):
        failed = number == MOST
        # Those that never got there stand apart.
        left = frame.left + step * (number + (0.5 if failed else 0.0))
        top = frame.up(count / highest)
        share = f"{100 * count / len(run['per_case']):.1f} %"
        when = "not within 20" if failed else f"after {number + 1}"
        text = f"{count} {'object' if count == 1 else 'objects'} ({share}) {when}"
        bars.append(Bar(left, top, step * 0.8, frame.bottom - top, text, failed))
        if failed or number in (0, 4, 9, 14, 19):
            ticks.append(Tick(left + step * 0.4, "never" if failed else str(number + 1)))
    return Histogram(name, frame, tuple(bars), tuple(ticks))


def whisker(
    found: Mapping[str, Any], low: float, high: float, width: float, *, aim: float | None = None
) -> Whisker:
    """An estimate on a scale from low to high that is ``width`` wide; cut off at its ends."""

    def place(value: float) -> float:
        return round(width * (min(max(value, low), high) - low) / (high - low), 1)

    start, end = found["interval"]
    return Whisker(
        place(start),
        place(found["mean"]),
        place(end),
        place(0.0) if low < 0.0 < high else None,
        None if aim is None else place(aim),
    )


def path(points: Sequence[tuple[float, float]]) -> str:
    """An SVG path through these points."""
    return "M" + "L".join(f"{x} {y}" for x, y in points)


def _apart(drawn: Sequence[Curve], frame: Frame) -> list[Curve]:
    """The curves in their order, their names moved up and down until none covers another."""
    order = sorted(range(len(drawn)), key=lambda i: drawn[i].name_at)
    at: dict[int, float] = {}
    lowest = -math.inf
    for i in order:
        lowest = max(drawn[i].name_at, lowest + LINE_HEIGHT)
        at[i] = lowest
    beyond = max(0.0, lowest - frame.bottom)
    return [
        Curve(each.name, each.line, each.band, each.points, round(at[i] - beyond, 1))
        for i, each in enumerate(drawn)
    ]
