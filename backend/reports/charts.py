"""The geometry of all charts in SVG units, for the dashboard and for the HTML report.

``templates/charts.html`` draws it. Nothing is shown by colour alone: each series has its own mark
and dash, promotions are numbered, and bars have their shares. A chart
whose text must be readable on a phone is laid out for a wide and for a narrow screen; the style
sheet shows one of them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from backend.reports import wording
from backend.reports.records import PromotionMark, Week

# Of wide and narrow screens.
WIDTHS = WIDE, NARROW = 1100.0, 344.0
# Promotions closer together than this share one flag.
_FLAG = 20.0
# Width of a date below the axis.
_DATE = 58.0
_WEEK = timedelta(weeks=1)

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
class Line:
    """A curve, its marks, and what stands at its end: at which height, and its last value."""

    name: str
    path: str
    marks: tuple[Point, ...] = ()
    name_at: float = 0.0
    last: str = ""


@dataclass(frozen=True)
class Spot:
    """A mean with the ends of its interval, and its tooltip."""

    x: float
    y: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True)
class Chart:
    """What is drawn in a frame. ``flags``: numbers of promotions, as in the list below the chart.
    ``bars``: of each named group."""

    frame: Frame
    across: tuple[Tick, ...] = ()
    up: tuple[Tick, ...] = ()
    bars: tuple[tuple[str, tuple[Bar, ...]], ...] = ()
    lines: tuple[Line, ...] = ()
    bands: tuple[str, ...] = ()
    spots: tuple[Spot, ...] = ()
    flags: tuple[Tick, ...] = ()


def bars(groups: Sequence[tuple[str, Sequence[int]]], width: float) -> Chart | None:
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
    return Chart(frame, tuple(ticks), bars=tuple(series))


def curves(
    named: Mapping[str, Sequence[Point]], width: float, *, share: bool = False
) -> Chart | None:
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

    lines = []
    for name, points in drawn.items():
        placed = [(across(x), frame.y((y - floor) / (ceiling - floor))) for x, y in points]
        marked = tuple(placed[:: max(1, len(placed) // 8)])
        lines.append(Line(name, _path(placed), marked, placed[-1][1], f"{points[-1][1]:.3g}"))
    along = nice_step(last - first or 1.0, 5 if width > 400 else 3)
    starts = along * math.ceil(first / along)
    ticks = (starts + n * along for n in range(int((last - starts) / along) + 1))
    return Chart(
        frame,
        tuple(Tick(across(at), f"{at:g}") for at in ticks),
        _grid(floor, ceiling, step, frame),
        lines=_apart(lines, frame.bottom),
    )


def nice_step(reach: float, about: int) -> float:
    """Distance of about ``about`` grid lines over ``reach``: 1, 2 or 5 times a power of ten."""
    rough = max(reach, 1e-6) / about
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in points)


def _grid(floor: float, ceiling: float, step: float, frame: Frame) -> tuple[Tick, ...]:
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


def _apart(lines: Sequence[Line], bottom: float) -> tuple[Line, ...]:
    """In their order, their names moved until none covers another."""
    at: dict[str, float] = {}
    lowest = -math.inf
    for curve in sorted(lines, key=lambda curve: curve.name_at):
        lowest = at[curve.name] = max(curve.name_at, lowest + 15.0)
    beyond = max(0.0, lowest - bottom)
    return tuple(replace(curve, name_at=round(at[curve.name] - beyond, 1)) for curve in lines)


# -- over time: a project's weeks with its promotions, large and as a sparkline


def weeks_chart(
    weeks: Sequence[Week], marks: Sequence[PromotionMark], width: float, now: datetime
) -> Chart | None:
    """Interactions per object up to ``now``, where the axis ends; None if there are no weeks. Below
    the axis, bars of the objects of each week. ``marks`` are numbered from 1 in their order."""
    if not weeks:
        return None
    frame = Frame(width, 272.0, left=30.0, right=width - 10.0, top=30.0, bottom=206.0)
    begins, ends = _axis(weeks, now)
    highest = max(week.clicks.mean for week in weeks)
    highest = max([highest, *(min(week.clicks.high or 0.0, 2 * highest) for week in weeks)])
    step = nice_step(highest, 4)
    most = step * math.ceil(highest / step)

    def across(moment: datetime) -> float:
        return frame.x((moment - begins) / (ends - begins))

    def up(value: float | None) -> float | None:
        return None if value is None else frame.y(value / most)

    spots = tuple(
        Spot(
            across(_middle(week, ends)),
            frame.y(week.clicks.mean / most),
            up(week.clicks.low),
            up(week.clicks.high),
            f"Week of {week.begins:%-d %b %Y}: {wording.mean(week.clicks)} from {week.n:,} objects",
        )
        for week in weeks
    )
    runs = _runs(weeks, spots)
    deepest = max(week.n for week in weeks)
    pillar = max(1.0, min((frame.right - frame.left) * (_WEEK / (ends - begins)) * 0.5, 26.0))
    pillars = []
    for spot, week in zip(spots, weeks, strict=True):
        tall = round(max(1.0, 30.0 * week.n / deepest), 1)
        x = round(spot.x - pillar / 2, 1)
        top = round(frame.height - 4 - tall, 1)
        pillars.append(Bar(x, top, round(pillar, 1), tall, f"{week.n:,} objects"))
    numbered = [(across(m.at), n) for n, m in enumerate(marks, 1) if begins <= m.at <= ends]
    line = " ".join(_path([(spot.x, spot.y) for spot in run]) for run in runs)
    return Chart(
        frame,
        _dates(begins, ends, across, frame),
        _grid(0.0, most, step, frame),
        (("", tuple(pillars)),),
        (Line("", line),),
        tuple(band for run in runs if (band := _band(run))),
        spots,
        _flags(numbered),
    )


def weeks_text(weeks: Sequence[Week]) -> str:
    """What the chart shows, for screen readers."""
    first, last = weeks[0].clicks.mean, weeks[-1].clicks.mean
    return (
        f"Clicks per object by week: {first:.2f} in the first, {last:.2f} in the last "
        f"of {len(weeks)} weeks."
    )


def sparkline(weeks: Sequence[Week], marks: Sequence[PromotionMark], now: datetime) -> Chart | None:
    """Weeks up to ``now`` as a line without an axis: its last value is written beside it. None for
    fewer than two weeks, which make no line."""
    if len(weeks) < 2:
        return None
    frame = Frame(240.0, 48.0, left=5.0, right=235.0, top=5.0, bottom=43.0)
    begins, ends = weeks[0].begins, max(now, weeks[-1].begins)
    most = max(week.clicks.mean for week in weeks) or 1.0

    def across(moment: datetime) -> float:
        return frame.x((moment - begins) / (ends - begins))

    points = [(across(_middle(week, ends)), frame.y(week.clicks.mean / most)) for week in weeks]
    flags = tuple(Tick(across(mark.at), "") for mark in marks if begins <= mark.at <= ends)
    return Chart(frame, lines=(Line("", _path(points), (points[-1],)),), flags=flags)


def _runs(weeks: Sequence[Week], spots: Sequence[Spot]) -> list[list[Spot]]:
    """Weeks that follow each other: a line over a gap would show what is not known."""
    runs: list[list[Spot]] = []
    for number, spot in enumerate(spots):
        if number and weeks[number].begins - weeks[number - 1].begins <= _WEEK:
            runs[-1].append(spot)
        else:
            runs.append([spot])
    return runs


def _band(spots: Sequence[Spot]) -> str:
    above = [(spot.x, spot.high) for spot in spots if spot.high is not None]
    below = [(spot.x, spot.low) for spot in spots if spot.low is not None]
    if len(above) < 2 or len(above) != len(below):
        return ""
    return _path([*above, *reversed(below)]) + "Z"


def _axis(weeks: Sequence[Week], now: datetime) -> tuple[datetime, datetime]:
    """From the first week to now, at least four weeks."""
    ends = max(now, weeks[-1].begins + timedelta(days=1))
    short = weeks[0].begins + 4 * _WEEK - ends
    return weeks[0].begins - _WEEK * max(0, math.ceil(short / _WEEK)), ends


def _middle(week: Week, ends: datetime) -> datetime:
    """The middle of a week; of the present one, of the part that is over."""
    return week.begins + (min(week.begins + _WEEK, ends) - week.begins) / 2


def _dates(
    begins: datetime, ends: datetime, across: Callable[[datetime], float], frame: Frame
) -> tuple[Tick, ...]:
    """Mondays with room between them, and the end of the axis."""
    count = max(1, math.ceil((ends - begins) / _WEEK))
    every = max(1, math.ceil(_DATE / (across(begins + _WEEK) - across(begins))))
    ticks: list[Tick] = []
    for number in range(0, count, every):
        monday = begins + number * _WEEK
        at = across(monday)
        if at + 1.5 * _DATE > frame.right:
            break
        # The first one has its year and is aligned at its start.
        if len(ticks) == 1 and at - ticks[0].at < 1.7 * _DATE:
            continue
        year = f" ’{monday:%y}" if number == 0 or monday.year != begins.year else ""
        ticks.append(Tick(at, f"{monday:%-d %b}{year}"))
    return (*ticks, Tick(frame.right, f"{ends:%-d %b}"))


def _flags(marks: Sequence[tuple[float, int]]) -> tuple[Tick, ...]:
    flags: list[tuple[float, int, int]] = []
    for x, number in marks:
        if flags and x - flags[-1][0] < _FLAG:
            flags[-1] = (flags[-1][0], flags[-1][1], number)
        else:
            flags.append((x, number, number))
    return tuple(
        Tick(x, str(first) if first == last else f"{first}–{last}") for x, first, last in flags
    )
