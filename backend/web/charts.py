"""The geometry of the dashboard's charts, in SVG units; how they look is the templates' business.

Whatever a colour says is said by a shape or a word as well: each series has its own mark and dash,
promotions carry numbers, bars their counts. A chart whose text must be readable on a phone is laid
out twice, for a wide and for a narrow screen, and the style sheet shows one of them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backend.reports.records import Interval, Mark, Week

WIDE, NARROW = 1100.0, 344.0

_WEEK = timedelta(weeks=1)
# Flags of promotions that stand closer than this share one.
_FLAG = 20.0
# A date below the axis is about as wide.
_DATE = 58.0


@dataclass(frozen=True)
class Tick:
    """A place on an axis and what is written there."""

    at: float
    text: str


@dataclass(frozen=True)
class Spot:
    """A mean with the ends of its interval, and what it says when pointed at."""

    x: float
    y: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True)
class Flag:
    """One or more promotions at one place: their numbers, as in the list below the chart."""

    x: float
    text: str


@dataclass(frozen=True)
class Pillar:
    """How many objects a week had: a small bar below the axis."""

    x: float
    top: float
    width: float
    height: float
    text: str


@dataclass(frozen=True)
class WeeksChart:
    """Interactions an object, week by week."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    floor: float
    up: tuple[Tick, ...]
    across: tuple[Tick, ...]
    line: str
    bands: tuple[str, ...]
    spots: tuple[Spot, ...]
    flags: tuple[Flag, ...]
    pillars: tuple[Pillar, ...]


@dataclass(frozen=True)
class Series:
    """A curve, its marks, and where its name stands."""

    name: str
    line: str
    marks: tuple[tuple[float, float], ...]
    name_at: float
    last: str


@dataclass(frozen=True)
class CurvesChart:
    """Figures of a training over its steps."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    up: tuple[Tick, ...]
    across: tuple[Tick, ...]
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Bar:
    """One bar with its count."""

    x: float
    top: float
    width: float
    height: float
    text: str
    share: str


@dataclass(frozen=True)
class BarsChart:
    """Shares of objects by interactions; each series has bars of its own."""

    width: float
    height: float
    left: float
    right: float
    bottom: float
    ticks: tuple[Tick, ...]
    series: tuple[tuple[str, tuple[Bar, ...]], ...]


@dataclass(frozen=True)
class Whisker:
    """A mean with its interval on a small scale; ``zero`` is None where it does not show."""

    low: float | None
    mean: float
    high: float | None
    zero: float | None


@dataclass(frozen=True)
class Sparkline:
    """A line without an axis: its last value is written beside it."""

    width: float
    height: float
    line: str
    end: tuple[float, float]
    flags: tuple[float, ...]


def weeks(found: Sequence[Week], marks: Sequence[Mark], width: float) -> WeeksChart | None:
    """None of nothing. ``marks`` are numbered from 1 in their order."""
    if not found:
        return None
    height, left, right, top, bottom, floor = 272.0, 30.0, width - 10.0, 30.0, 206.0, 268.0
    begins, ends = found[0].begins, max(found[-1].begins + _WEEK, found[0].begins + 4 * _WEEK)
    highest = max(it.clicks.mean for it in found)
    highest = max([highest, *(min(it.clicks.high or 0.0, 2 * highest) for it in found)])
    step = nice_step(highest, 4)
    most = step * math.ceil(highest / step)
    per_week = (right - left) * (_WEEK / (ends - begins))

    def across(moment: datetime) -> float:
        return round(left + (right - left) * ((moment - begins) / (ends - begins)), 1)

    def up(value: float) -> float:
        return round(bottom - (bottom - top) * min(max(value, 0.0), most) / most, 1)

    spots = tuple(
        Spot(
            across(it.begins + _WEEK / 2),
            up(it.clicks.mean),
            None if it.clicks.low is None else up(it.clicks.low),
            None if it.clicks.high is None else up(it.clicks.high),
            f"Week of {it.begins:%-d %b %Y}: {_mean(it.clicks)} from {it.n:,} objects",
        )
        for it in found
    )
    runs = _runs(found)
    deepest = max(it.n for it in found)
    pillar = max(1.0, min(per_week * 0.6, 26.0))
    return WeeksChart(
        width,
        height,
        left,
        right,
        top,
        bottom,
        floor,
        up=tuple(
            Tick(up(number * step), f"{number * step:g}")
            for number in range(round(most / step) + 1)
        ),
        across=_dates(begins, ends, across, right),
        line=" ".join(path([(spots[i].x, spots[i].y) for i in run]) for run in runs),
        bands=tuple(band for run in runs if (band := _band([spots[i] for i in run]))),
        spots=spots,
        flags=_flags(
            [(across(it.at), n) for n, it in enumerate(marks, 1) if begins <= it.at <= ends]
        ),
        pillars=tuple(
            Pillar(
                round(spot.x - pillar / 2, 1),
                round(floor - max(1.0, 30.0 * it.n / deepest), 1),
                round(pillar, 1),
                round(max(1.0, 30.0 * it.n / deepest), 1),
                f"{it.n:,} objects",
            )
            for spot, it in zip(spots, found, strict=True)
        ),
    )


def sparkline(found: Sequence[Week], marks: Sequence[Mark]) -> Sparkline | None:
    """None of fewer than two weeks, which make no line."""
    if len(found) < 2:
        return None
    width, height, pad = 240.0, 48.0, 5.0
    begins, ends = found[0].begins, found[-1].begins
    most = max(it.clicks.mean for it in found) or 1.0

    def across(moment: datetime) -> float:
        return round(pad + (width - 2 * pad) * ((moment - begins) / (ends - begins)), 1)

    points = [
        (across(it.begins), round(height - pad - (height - 2 * pad) * it.clicks.mean / most, 1))
        for it in found
    ]
    middle = _WEEK / 2
    flags = [across(it.at - middle) for it in marks if begins <= it.at - middle <= ends]
    return Sparkline(width, height, path(points), points[-1], tuple(flags))


def bars(groups: Sequence[tuple[str, Sequence[int]]], width: float) -> BarsChart | None:
    """Histograms side by side, each as shares of its own objects; None of nothing.

    groups: a name, and how many objects took 0, 1, … interactions; the last bin is open.
    """
    groups = [(name, counts) for name, counts in groups if sum(counts)]
    if not groups:
        return None
    height, left, right, top, bottom = 212.0, 6.0, width - 6.0, 22.0, 184.0
    open_bin = len(groups[0][1]) - 1
    last = max(max(n for n, count in enumerate(counts) if count) for _, counts in groups)
    first = 0 if any(counts[0] for _, counts in groups) else 1
    last = min(max(last, first + 7), open_bin)
    slot = (right - left) / (last - first + 1)
    highest = max(count / sum(counts) for _, counts in groups for count in counts)
    each = slot * 0.78 / len(groups)
    series = []
    for place, (name, counts) in enumerate(groups):
        drawn = []
        for number in range(first, last + 1):
            share = counts[number] / sum(counts)
            tall = round((bottom - top) * share / highest, 1)
            x = round(left + slot * (number - first) + slot * 0.11 + each * place, 1)
            what = _interactions(number, open_bin)
            text = f"{counts[number]:,} objects ({100 * share:.1f} %) took {what}"
            written = f"{100 * share:.0f}" if share >= 0.02 and each >= 15 else ""
            drawn.append(Bar(x, round(bottom - tall, 1), round(each - 1, 1), tall, text, written))
        series.append((name, tuple(drawn)))
    every = 1 if slot >= 18 else 2 if slot >= 9 else 5
    ticks = [
        Tick(
            round(left + slot * (number - first + 0.5), 1),
            f"{number}+" if number == open_bin else str(number),
        )
        for number in range(first, last + 1)
        if number % every == (1 % every) or number == open_bin
    ]
    return BarsChart(width, height, left, right, bottom, tuple(ticks), tuple(series))


def curves(
    found: Mapping[str, Sequence[tuple[float, float]]], width: float, *, share: bool = False
) -> CurvesChart | None:
    """Named curves of (step, value); None of fewer than two points. share: values are 0 to 1."""
    found = {name: points for name, points in found.items() if len(points) > 1}
    if not found:
        return None
    named = max(len(name) for name in found) * 6.6 + 14 if len(found) > 1 else 44.0
    height, left, right, top, bottom = 220.0, 40.0, width - min(named, width / 3), 14.0, 186.0
    everything = [point for points in found.values() for point in points]
    first, last = min(x for x, _ in everything), max(x for x, _ in everything)
    least, most = min(y for _, y in everything), max(y for _, y in everything)
    step = nice_step(max(most - least, 1e-3), 4)
    floor, ceiling = step * math.floor(least / step), step * math.ceil(most / step)
    if share:
        ceiling = min(ceiling, 1.0)
    ceiling = max(ceiling, floor + step)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = left + (right - left) * (point[0] - first) / ((last - first) or 1.0)
        y = bottom - (bottom - top) * (point[1] - floor) / (ceiling - floor)
        return round(x, 1), round(y, 1)

    series = []
    for name, points in found.items():
        placed = [place(point) for point in points]
        marked = tuple(placed[:: max(1, len(placed) // 8)])
        series.append(Series(name, path(placed), marked, placed[-1][1], f"{points[-1][1]:.3g}"))
    along = nice_step(last - first or 1.0, 5 if width > 400 else 3)
    starts = along * math.ceil(first / along)
    count = int((last - starts) / along) + 1
    return CurvesChart(
        width,
        height,
        left,
        right,
        top,
        bottom,
        up=tuple(
            Tick(place((first, floor + n * step))[1], f"{floor + n * step:.3g}")
            for n in range(round((ceiling - floor) / step) + 1)
        ),
        across=tuple(
            Tick(place((starts + n * along, floor))[0], f"{starts + n * along:g}")
            for n in range(count)
        ),
        series=_apart(series, bottom),
    )


def whisker(it: Interval | None, low: float, high: float, width: float) -> Whisker | None:
    """An estimate on a scale from low to high that is ``width`` wide; cut off at its ends."""
    if it is None:
        return None

    def place(value: float) -> float:
        return round(width * (min(max(value, low), high) - low) / ((high - low) or 1.0), 1)

    return Whisker(
        None if it.low is None else place(it.low),
        place(it.mean),
        None if it.high is None else place(it.high),
        place(0.0) if low < 0.0 < high else None,
    )


def scale(found: Sequence[Interval]) -> tuple[float, float]:
    """Round ends of a scale on which all these means are told apart."""
    means = [it.mean for it in found]
    if not means:
        return 0.0, 1.0
    # An interval of two objects must not press all others together.
    reach = max(max(means) - min(means), 0.25 * max(means), 0.1)
    lows = [max(it.low or it.mean, it.mean - reach) for it in found]
    highs = [min(it.high or it.mean, it.mean + reach) for it in found]
    step = nice_step(max(highs) - min(lows), 3)
    return max(0.0, step * math.floor(min(lows) / step)), step * math.ceil(max(highs) / step)


def nice_step(reach: float, about: int) -> float:
    """Between two lines of a grid: 1, 2 or 5 of a power of ten, about so many of them."""
    rough = max(reach, 1e-6) / about
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)


def path(points: Sequence[tuple[float, float]]) -> str:
    """An SVG path through these points."""
    return "M" + "L".join(f"{x} {y}" for x, y in points)


def _mean(it: Interval) -> str:
    said = f"{it.mean:.2f}"
    return said if it.low is None or it.high is None else f"{said} ({it.low:.2f} to {it.high:.2f})"


def _interactions(number: int, open_bin: int) -> str:
    if number == open_bin:
        return f"{number} interactions or more"
    return f"{number} interaction{'s' * (number != 1)}"


def _runs(found: Sequence[Week]) -> list[list[int]]:
    """Weeks that follow each other: a line over a gap would say what nobody knows."""
    runs: list[list[int]] = []
    for number, it in enumerate(found):
        if runs and it.begins - found[runs[-1][-1]].begins <= _WEEK:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _band(spots: Sequence[Spot]) -> str:
    known = [(spot.x, spot.low, spot.high) for spot in spots]
    above = [(x, high) for x, _, high in known if high is not None]
    below = [(x, low) for x, low, _ in known if low is not None]
    if len(above) < 2 or len(above) != len(below):
        return ""
    return path([*above, *reversed(below)]) + "Z"


def _dates(
    begins: datetime, ends: datetime, across: Callable[[datetime], float], right: float
) -> tuple[Tick, ...]:
    """Mondays with room between them."""
    count = max(1, round((ends - begins) / _WEEK))
    room = across(begins + _WEEK) - across(begins)
    every = max(1, math.ceil(_DATE / room))
    ticks: list[Tick] = []
    for number in range(0, count, every):
        monday = begins + number * _WEEK
        at = across(monday)
        if at + _DATE / 2 > right + 12:
            break
        # The first one, with its year, is written from its place on and not around it.
        if ticks and len(ticks) == 1 and at - ticks[0].at < 1.7 * _DATE:
            continue
        year = f" {monday:%y}" if number == 0 or monday.year != begins.year else ""
        ticks.append(Tick(at, f"{monday:%-d %b}{year and f' ’{year.strip()}'}"))
    return tuple(ticks)


def _flags(marks: Sequence[tuple[float, int]]) -> tuple[Flag, ...]:
    found: list[tuple[float, int, int]] = []
    for x, number in marks:
        if found and x - found[-1][0] < _FLAG:
            found[-1] = (found[-1][0], found[-1][1], number)
        else:
            found.append((x, number, number))
    return tuple(
        Flag(x, str(first) if first == last else f"{first}–{last}") for x, first, last in found
    )


def _apart(series: Sequence[Series], bottom: float) -> tuple[Series, ...]:
    """In their order, their names moved until none covers another."""
    order = sorted(range(len(series)), key=lambda i: series[i].name_at)
    at: dict[int, float] = {}
    lowest = -math.inf
    for i in order:
        lowest = max(series[i].name_at, lowest + 15.0)
        at[i] = lowest
    beyond = max(0.0, lowest - bottom)
    return tuple(
        Series(it.name, it.line, it.marks, round(at[i] - beyond, 1), it.last)
        for i, it in enumerate(series)
    )
