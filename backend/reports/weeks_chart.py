"""Charts over time: a project's weeks with its promotions, large and as a sparkline."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backend.reports.charts import Bar, Frame, Point, Tick, grid, nice_step, path
from backend.reports.records import Interval, PromotionMark, Week

_WEEK = timedelta(weeks=1)
# Promotions closer together than this share one flag.
_FLAG = 20.0
# Width of a date below the axis.
_DATE = 58.0


@dataclass(frozen=True)
class ChartPoint:
    """A mean with the ends of its interval, and its tooltip."""

    x: float
    y: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True)
class WeeksChart:
    """Interactions per object, week by week.

    ``pillars``: objects of each week, standing on ``floor`` below the axis. ``flags``: numbers of
    the promotions, as in the list below the chart.
    """

    frame: Frame
    floor: float
    up: tuple[Tick, ...]
    across: tuple[Tick, ...]
    line: str
    bands: tuple[str, ...]
    spots: tuple[ChartPoint, ...]
    flags: tuple[Tick, ...]
    pillars: tuple[Bar, ...]


@dataclass(frozen=True)
class Sparkline:
    """A line without an axis: its last value is written beside it."""

    width: float
    height: float
    line: str
    end: Point
    flags: tuple[float, ...]


def draw(
    weeks: Sequence[Week], marks: Sequence[PromotionMark], width: float, now: datetime
) -> WeeksChart | None:
    """Weeks up to ``now``, where the axis ends; None if there are none.

    ``marks`` are numbered from 1 in their order.
    """
    if not weeks:
        return None
    frame = Frame(width, 272.0, left=30.0, right=width - 10.0, top=30.0, bottom=206.0)
    floor = 268.0
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
        ChartPoint(
            across(_middle(week, ends)),
            frame.y(week.clicks.mean / most),
            up(week.clicks.low),
            up(week.clicks.high),
            f"Week of {week.begins:%-d %b %Y}: {_mean(week.clicks)} from {week.n:,} objects",
        )
        for week in weeks
    )
    runs = _runs(weeks)
    deepest = max(week.n for week in weeks)
    pillar = max(1.0, min((frame.right - frame.left) * (_WEEK / (ends - begins)) * 0.5, 26.0))
    pillars = []
    for spot, week in zip(spots, weeks, strict=True):
        tall = round(max(1.0, 30.0 * week.n / deepest), 1)
        x = round(spot.x - pillar / 2, 1)
        pillars.append(
            Bar(x, round(floor - tall, 1), round(pillar, 1), tall, f"{week.n:,} objects")
        )
    return WeeksChart(
        frame,
        floor,
        up=grid(0.0, most, step, frame),
        across=_dates(begins, ends, across, frame),
        line=" ".join(path([(spots[i].x, spots[i].y) for i in run]) for run in runs),
        bands=tuple(band for run in runs if (band := _band([spots[i] for i in run]))),
        spots=spots,
        flags=_flags(
            [
                (across(mark.at), number)
                for number, mark in enumerate(marks, 1)
                if begins <= mark.at <= ends
            ]
        ),
        pillars=tuple(pillars),
    )


def text(weeks: Sequence[Week]) -> str:
    """What the chart shows, for screen readers."""
    first, last = weeks[0].clicks.mean, weeks[-1].clicks.mean
    return (
        f"Clicks per object by week: {first:.2f} in the first, {last:.2f} in the last "
        f"of {len(weeks)} weeks."
    )


def sparkline(
    weeks: Sequence[Week], marks: Sequence[PromotionMark], now: datetime
) -> Sparkline | None:
    """Weeks up to ``now``; None for fewer than two weeks, which make no line."""
    if len(weeks) < 2:
        return None
    frame = Frame(240.0, 48.0, left=5.0, right=235.0, top=5.0, bottom=43.0)
    begins, ends = weeks[0].begins, max(now, weeks[-1].begins)
    most = max(week.clicks.mean for week in weeks) or 1.0

    def across(moment: datetime) -> float:
        return frame.x((moment - begins) / (ends - begins))

    points = [(across(_middle(week, ends)), frame.y(week.clicks.mean / most)) for week in weeks]
    flags = [across(mark.at) for mark in marks if begins <= mark.at <= ends]
    return Sparkline(frame.width, frame.height, path(points), points[-1], tuple(flags))


def _mean(interval: Interval) -> str:
    said = f"{interval.mean:.2f}"
    if interval.low is None or interval.high is None:
        return said
    return f"{said} ({interval.low:.2f} to {interval.high:.2f})"


def _runs(weeks: Sequence[Week]) -> list[list[int]]:
    """Weeks that follow each other: a line over a gap would show what is not known."""
    runs: list[list[int]] = []
    for number, week in enumerate(weeks):
        if runs and week.begins - weeks[runs[-1][-1]].begins <= _WEEK:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _band(spots: Sequence[ChartPoint]) -> str:
    above = [(spot.x, spot.high) for spot in spots if spot.high is not None]
    below = [(spot.x, spot.low) for spot in spots if spot.low is not None]
    if len(above) < 2 or len(above) != len(below):
        return ""
    return path([*above, *reversed(below)]) + "Z"


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
