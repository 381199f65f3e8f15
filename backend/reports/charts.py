"""The geometry of all charts in SVG units, for the dashboard and for the HTML report.

``templates/charts.html`` draws it. Nothing is shown by colour alone: each series has its own mark
and dash, promotions are numbered, and bars have their shares. A chart
whose text must be readable on a phone is laid out for a wide and for a narrow screen; the style
sheet shows one of them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from backend.reports.records import Interval

WIDE, NARROW = 1100.0, 344.0

Point = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """The size of a drawing, and the plot area in it."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float

    def x(self, share: float) -> float:
        """0 is the left edge of the plot, 1 the right one."""
        return round(self.left + (self.right - self.left) * share, 1)

    def y(self, share: float) -> float:
        """0 is the bottom of the plot, 1 the top; cut off there."""
        return round(self.bottom - (self.bottom - self.top) * min(max(share, 0.0), 1.0), 1)


@dataclass(frozen=True)
class Tick:
    """A position on an axis and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Bar:
    """A bar with its tooltip; ``share``: the text above it."""

    x: float
    top: float
    width: float
    height: float
    text: str
    share: str = ""


@dataclass(frozen=True)
class Series:
    """A curve, its marks, the height of its name, and its last value."""

    name: str
    line: str
    marks: tuple[Point, ...]
    name_at: float
    last: str


@dataclass(frozen=True)
class CurvesChart:
    """Figures of a training over its steps."""

    frame: Frame
    up: tuple[Tick, ...]
    across: tuple[Tick, ...]
    series: tuple[Series, ...]


@dataclass(frozen=True)
class BarsChart:
    """Shares of objects by interactions; each named series has its own bars."""

    frame: Frame
    ticks: tuple[Tick, ...]
    series: tuple[tuple[str, tuple[Bar, ...]], ...]


@dataclass(frozen=True)
class ErrorBar:
    """A mean with its interval on a small scale; ``zero`` is None if the scale does not cross 0."""

    low: float | None
    mean: float
    high: float | None
    zero: float | None


def bars(groups: Sequence[tuple[str, Sequence[int]]], width: float) -> BarsChart | None:
    """Histograms side by side, each as shares of its own objects; None if there are no objects.

    groups: a name, and how many objects took 0, 1, … interactions; the last bin is open.
    """
    groups = [(name, counts) for name, counts in groups if sum(counts)]
    if not groups:
        return None
    frame = Frame(width, 212.0, left=6.0, right=width - 6.0, top=22.0, bottom=184.0)
    open_bin = len(groups[0][1]) - 1
    last = max(max(n for n, count in enumerate(counts) if count) for _, counts in groups)
    first = 0 if any(counts[0] for _, counts in groups) else 1
    last = min(max(last, first + 7), open_bin)
    slot = (frame.right - frame.left) / (last - first + 1)
    highest = max(count / sum(counts) for _, counts in groups for count in counts)
    bar = slot * 0.78 / len(groups)
    series = []
    for place, (name, counts) in enumerate(groups):
        drawn = []
        for number in range(first, last + 1):
            share = counts[number] / sum(counts)
            top = frame.y(share / highest)
            x = round(frame.left + slot * (number - first) + slot * 0.11 + bar * place, 1)
            what = _interactions(number, open_bin)
            text = f"{counts[number]:,} objects ({100 * share:.1f} %) took {what}"
            written = f"{100 * share:.0f}" if share >= 0.02 and bar >= 15 else ""
            tall = round(frame.bottom - top, 1)
            drawn.append(Bar(x, top, round(bar - 1, 1), tall, text, written))
        series.append((name, tuple(drawn)))
    every = 1 if slot >= 18 else 2 if slot >= 9 else 5
    ticks = [
        Tick(
            round(frame.left + slot * (number - first + 0.5), 1),
            f"{number}+" if number == open_bin else str(number),
        )
        for number in range(first, last + 1)
        if number % every == (1 % every) or number == open_bin
    ]
    return BarsChart(frame, tuple(ticks), tuple(series))


def curves(
    named: Mapping[str, Sequence[Point]], width: float, *, share: bool = False
) -> CurvesChart | None:
    """Named curves of (step, value); None for fewer than two points. share: values are 0 to 1."""
    drawn = {name: points for name, points in named.items() if len(points) > 1}
    if not drawn:
        return None
    beside = max(len(name) for name in drawn) * 6.6 + 14 if len(drawn) > 1 else 44.0
    right = width - min(beside, width / 3)
    frame = Frame(width, 220.0, left=40.0, right=right, top=14.0, bottom=186.0)
    everything = [point for points in drawn.values() for point in points]
    first, last = min(x for x, _ in everything), max(x for x, _ in everything)
    least, most = min(y for _, y in everything), max(y for _, y in everything)
    step = nice_step(max(most - least, 1e-3), 4)
    floor, ceiling = step * math.floor(least / step), step * math.ceil(most / step)
    if share:
        ceiling = min(ceiling, 1.0)
    ceiling = max(ceiling, floor + step)

    def across(at: float) -> float:
        return frame.x((at - first) / ((last - first) or 1.0))

    series = []
    for name, points in drawn.items():
        placed = [(across(x), frame.y((y - floor) / (ceiling - floor))) for x, y in points]
        marked = tuple(placed[:: max(1, len(placed) // 8)])
        series.append(Series(name, path(placed), marked, placed[-1][1], f"{points[-1][1]:.3g}"))
    along = nice_step(last - first or 1.0, 5 if width > 400 else 3)
    starts = along * math.ceil(first / along)
    ticks = (starts + n * along for n in range(int((last - starts) / along) + 1))
    return CurvesChart(
        frame,
        up=grid(floor, ceiling, step, frame),
        across=tuple(Tick(across(at), f"{at:g}") for at in ticks),
        series=_apart(series, frame.bottom),
    )


def error_bar(interval: Interval | None, low: float, high: float, width: float) -> ErrorBar | None:
    """An estimate on a scale from low to high that is ``width`` wide; cut off at its ends."""
    if interval is None:
        return None

    def place(value: float) -> float:
        return round(width * (min(max(value, low), high) - low) / ((high - low) or 1.0), 1)

    return ErrorBar(
        None if interval.low is None else place(interval.low),
        place(interval.mean),
        None if interval.high is None else place(interval.high),
        place(0.0) if low < 0.0 < high else None,
    )


def scale(intervals: Sequence[Interval]) -> tuple[float, float]:
    """Round ends of a scale on which these means are distinct."""
    means = [interval.mean for interval in intervals]
    if not means:
        return 0.0, 1.0
    # The interval of two objects must not press all others together.
    reach = max(max(means) - min(means), 0.25 * max(means), 0.1)
    lows = [max(interval.low or interval.mean, interval.mean - reach) for interval in intervals]
    highs = [min(interval.high or interval.mean, interval.mean + reach) for interval in intervals]
    step = nice_step(max(highs) - min(lows), 3)
    return max(0.0, step * math.floor(min(lows) / step)), step * math.ceil(max(highs) / step)


def reach_of(differences: Iterable[Interval | None], least: float = 0.2) -> float:
    """Where a scale around zero ends on which these differences are drawn.

    A very wide interval is cut off, so that it does not press all others together.
    """
    reach = least
    for change in differences:
        if change is not None:
            mean = abs(change.mean)
            ends = max(abs(change.low or 0.0), abs(change.high or 0.0), mean)
            reach = max(reach, min(ends, max(3 * mean, 1.0)))
    return reach


def nice_step(reach: float, about: int) -> float:
    """Distance of about ``about`` grid lines over ``reach``: 1, 2 or 5 times a power of ten."""
    rough = max(reach, 1e-6) / about
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)


def path(points: Sequence[Point]) -> str:
    """An SVG path through these points."""
    return "M" + "L".join(f"{x} {y}" for x, y in points)


def grid(floor: float, ceiling: float, step: float, frame: Frame) -> tuple[Tick, ...]:
    """Grid lines over the height of the plot, with their values."""
    count = round((ceiling - floor) / step)
    return tuple(
        Tick(frame.y(n * step / (ceiling - floor)), f"{floor + n * step:.3g}")
        for n in range(count + 1)
    )


def _interactions(number: int, open_bin: int) -> str:
    if number == open_bin:
        return f"{number} interactions or more"
    return f"{number} interaction{'s' * (number != 1)}"


def _apart(series: Sequence[Series], bottom: float) -> tuple[Series, ...]:
    """In their order, their names moved until none covers another."""
    at: dict[str, float] = {}
    lowest = -math.inf
    for curve in sorted(series, key=lambda curve: curve.name_at):
        lowest = at[curve.name] = max(curve.name_at, lowest + 15.0)
    beyond = max(0.0, lowest - bottom)
    return tuple(replace(curve, name_at=round(at[curve.name] - beyond, 1)) for curve in series)
