"""The geometry of the report's charts, in SVG units; how they look is the template's business.

Each says in words and shapes what it says in colours: marks carry numbers, bars their counts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backend.reports.records import BeforeAfter, GroupCost, Interval
from backend.reports.wording import counted

WIDTH = 620.0
_HEIGHT = 260.0
_WEEK = timedelta(weeks=1)
# A day written below the axis is about as wide.
_ROOM_FOR_DAY = 46.0
_ROOM_FOR_NUMBER = 14.0


@dataclass(frozen=True)
class Tick:
    """A place on an axis and what is written there; '' for a line alone."""

    at: float
    text: str


@dataclass(frozen=True)
class Point:
    """A mean, its interval, and what it says when pointed at."""

    x: float
    y: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Weeks:
    """Interactions an object, week by week, with the promotions in between."""

    left: float
    right: float
    top: float
    bottom: float
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    points: tuple[Point, ...]
    line: str
    promotions: tuple[Tick, ...]
    said: str


@dataclass(frozen=True)
class Bar:
    """One bar, and what it says when pointed at."""

    left: float
    top: float
    width: float
    height: float
    text: str


@dataclass(frozen=True)
class Histogram:
    """Objects by the number of interactions that they took."""

    left: float
    right: float
    bottom: float
    bars: tuple[Bar, ...]
    across: tuple[Tick, ...]
    labels: tuple[tuple[float, float, str], ...]  # x, y, share of the higher bars
    said: str


@dataclass(frozen=True)
class Whisker:
    """A mean with its interval on a small scale, and where zero lies on it."""

    low: float
    mean: float
    high: float
    zero: float


def weeks(groups: Sequence[GroupCost], promotions: Sequence[BeforeAfter]) -> Weeks | None:
    """None of fewer than two weeks, which make no line. ``groups``: by week, oldest first."""
    told = [(_monday(it.name), it, it.clicks.mean) for it in groups if it.clicks is not None]
    if len(told) < 2:
        return None
    left, right, top, bottom = 34.0, WIDTH - 8.0, 22.0, _HEIGHT
    begins, ends = told[0][0], told[-1][0] + _WEEK
    highest = max(mean.high or mean.mean for _, _, mean in told)
    step = _step(highest)
    most = step * math.ceil(highest / step)

    def across(moment: datetime) -> float:
        return round(left + (right - left) * ((moment - begins) / (ends - begins)), 1)

    def up(value: float) -> float:
        return round(bottom - (bottom - top) * min(max(value, 0.0), most) / most, 1)

    points = []
    for monday, group, mean in told:
        low, high = (it if it is not None else mean.mean for it in (mean.low, mean.high))
        text = (
            f"Week of {group.name}: {mean.mean:.2f} clicks an object, {counted(group.n, 'object')}"
        )
        at = across(monday + _WEEK / 2)
        points.append(Point(at, up(mean.mean), up(low), up(high), text))
    days = [Tick(across(monday), f"{monday:%b} {monday.day}") for monday, _, _ in told]
    first, last = told[0][2].mean, told[-1][2].mean
    return Weeks(
        left,
        right,
        top,
        bottom,
        across=_with_room(days, _ROOM_FOR_DAY),
        up=tuple(
            Tick(up(number * step), f"{number * step:g}")
            for number in range(round(most / step) + 1)
        ),
        points=tuple(points),
        line="M" + "L".join(f"{point.x} {point.y}" for point in points),
        promotions=_with_room(
            [
                Tick(across(it.promotion.at), str(number))
                for number, it in enumerate(promotions, 1)
                if begins <= it.promotion.at <= ends
            ],
            _ROOM_FOR_NUMBER,
        ),
        said=f"Clicks an object by week: {first:.2f} in the first, {last:.2f} in the last of "
        f"{len(told)} weeks.",
    )


def histogram(total: GroupCost) -> Histogram | None:
    """Of the known objects; None where there is none."""
    counts = total.histogram
    if not total.n or not sum(counts):
        return None
    left, right, top, bottom = 2.0, 418.0, 22.0, _HEIGHT
    most = len(counts) - 1
    # Without the empty end; the last bar is open and stands for itself.
    shown = max(number for number, count in enumerate(counts) if count)
    shown = min(max(shown, 8), most)
    first = 0 if counts[0] else 1
    slots = shown - first + 1
    step = (right - left) / slots
    highest = max(counts)
    bars, ticks, labels = [], [], []
    for place, number in enumerate(range(first, shown + 1)):
        count = counts[number]
        x = left + step * place
        height = (bottom - top) * count / highest
        part = 100 * count / sum(counts)
        name = f"{number} or more" if number == most else str(number)
        clicks = "interaction" if name == "1" else "interactions"
        text = f"{counted(count, 'object')} ({part:.1f} %): {name} {clicks}"
        bars.append(Bar(x + step * 0.1, bottom - height, step * 0.8, height, text))
        if slots <= 12 or number in (first, 5, 10, 15, most):
            ticks.append(Tick(x + step / 2, f"{number}+" if number == most else str(number)))
        if part >= 4:
            labels.append((x + step / 2, bottom - height - 6, f"{part:.0f} %"))
    one = 100 * sum(counts[:2]) / sum(counts)
    return Histogram(
        left,
        right,
        bottom,
        tuple(bars),
        tuple(ticks),
        tuple(labels),
        said=f"{one:.0f} % of {counted(sum(counts), 'object')} were done in one interaction.",
    )


def whisker(it: Interval | None, low: float, high: float, width: float) -> Whisker | None:
    """An estimate on a scale from low to high, 0 among them, that is ``width`` wide."""
    if it is None:
        return None

    def place(value: float) -> float:
        return round(width * (min(max(value, low), high) - low) / ((high - low) or 1.0), 1)

    ends = [it.mean if end is None else end for end in (it.low, it.high)]
    return Whisker(
        place(ends[0]),
        place(it.mean),
        place(ends[1]),
        place(0.0),
    )


def scale(groups: Sequence[GroupCost]) -> float:
    """The end of a scale, from 0, that all their clicks are drawn on."""
    found = [it.clicks.mean for it in groups if it.clicks is not None]
    return max((it.mean if it.high is None else it.high for it in found), default=1.0)


def _monday(name: str) -> datetime:
    return datetime.fromisoformat(name).replace(tzinfo=UTC)


def _step(highest: float) -> float:
    """Between two lines of a grid: 1, 2 or 5 of a power of ten, three to six of them."""
    rough = max(highest, 0.1) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)


def _with_room(ticks: Sequence[Tick], room: float) -> tuple[Tick, ...]:
    """What is written closer than that to the one before it is left out, not its line."""
    found: list[Tick] = []
    last = -math.inf
    for tick in ticks:
        fits = tick.at - last >= room
        found.append(tick if fits else Tick(tick.at, ""))
        last = tick.at if fits else last
    return tuple(found)
