"""The evaluation report as one self-contained HTML page: curves, tables, pictures of cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from training.evaluation.gallery import AFTER, Exhibit
from training.evaluation.output import MEASURES, remarks
from training.evaluation.protocol import MOST

# Least distance of the names of lines in SVG units.
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
    """A position on an axis and its label."""

    at: float
    text: str


@dataclass(frozen=True)
class Curve:
    """A line with its band, and the position of its name."""

    name: str
    line: str
    band: str
    points: tuple[tuple[float, float], ...]
    name_at: float


@dataclass(frozen=True)
class Curves:
    """Mean IoU by interactions, one curve per run."""

    frame: Frame
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Bar:
    """One bar and its tooltip."""

    left: float
    top: float
    width: float
    height: float
    text: str
    failed: bool


@dataclass(frozen=True)
class Histogram:
    """Interactions needed by the cases of a run; the last bar holds those that never got there."""

    name: str
    frame: Frame
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Whisker:
    """A mean with its interval on a small scale; zero and aim are None if they are not shown."""

    low: float
    mean: float
    high: float
    zero: float | None
    aim: float | None


def curves(runs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Curves | None:
    """The curves of these runs; None if every run has a single interaction."""
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
        points = [place(k, point["mean"]) for k, point in numbered]
        above = [place(k, point["interval"][1]) for k, point in numbered]
        below = [place(k, point["interval"][0]) for k, point in numbered]
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
    """Cases by the interactions they needed; ``height`` in SVG units without the axis."""
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
        # The bar of failures is set apart.
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
    estimate: Mapping[str, Any], low: float, high: float, width: float, *, aim: float | None = None
) -> Whisker:
    """An estimate on a scale from low to high, ``width`` wide and cut off at its ends."""

    def place(value: float) -> float:
        return round(width * (min(max(value, low), high) - low) / (high - low), 1)

    start, end = estimate["interval"]
    return Whisker(
        place(start),
        place(estimate["mean"]),
        place(end),
        place(0.0) if low < 0.0 < high else None,
        None if aim is None else place(aim),
    )


def path(points: Sequence[tuple[float, float]]) -> str:
    """An SVG path through these points."""
    return "M" + "L".join(f"{x} {y}" for x, y in points)


def _apart(drawn: Sequence[Curve], frame: Frame) -> list[Curve]:
    """The curves in their order, with names moved until none covers another."""
    order = sorted(range(len(drawn)), key=lambda i: drawn[i].name_at)
    at: dict[int, float] = {}
    lowest = -math.inf
    for i in order:
        lowest = max(drawn[i].name_at, lowest + LINE_HEIGHT)
        at[i] = lowest
    beyond = max(0.0, lowest - frame.bottom)
    return [
        Curve(curve.name, curve.line, curve.band, curve.points, round(at[i] - beyond, 1))
        for i, curve in enumerate(drawn)
    ]


GROUPS = {
    "by_source": "Source",
    "by_size": "Size in the picture",
    "by_seen": "Category in training",
    "by_category": "Category",
}
# Measures of which less is better.
FEWER_IS_BETTER = ("noc85", "noc90")
WHISKER_WIDTH = 150.0
# Height of all histograms together, equal to that of the curves next to them.
CHART_HEIGHT = 330.0
# Width of a letter in the names next to the curves.
LETTER = 6.8


def render(figures: Mapping[str, Any], gallery: Mapping[str, Sequence[Exhibit]]) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"fixed": _fixed, "signed": _signed, "thousands": _thousands}
    runs = [figures, *figures["further"]]
    names = _names(runs)
    several = len(runs) > 1
    numbered = list(enumerate(zip(runs, names, strict=True)))
    clicked = [(number, *both) for number, both in numbered if both[0]["mode"] != "phrase"]
    return environment.get_template("page.html").render(
        figures=figures,
        runs=list(zip(runs, names, strict=True)),
        counts=_counts([figures["mode"]]),
        all_counts=_counts([run["mode"] for run in runs]),
        curves=curves(runs, names),
        histograms=[
            (number, histogram(run, name, max(48.0, CHART_HEIGHT / len(clicked) - 50.0)))
            for number, run, name in clicked
        ],
        room_for_names=16 + LETTER * max(len(name) for name in names) if several else 20,
        groups=_groups(figures),
        comparisons=_comparisons(figures) if several else [],
        measures=MEASURES,
        probes=_probes(figures),
        whisker_width=WHISKER_WIDTH,
        gallery=gallery,
        names=dict(zip([run["label"] for run in runs], names, strict=True)),
        after=AFTER,
        places=[Path(place).name for place in figures["settings"]["data"]],
        remarks=list(remarks(figures)),
    )


def _names(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Short names that distinguish the runs: version, mode, or both."""
    versions = [run["version"] for run in runs]
    in_modes = {version for version in versions if versions.count(version) > 1}
    names = []
    for run in runs:
        if len(runs) == 1 or run["version"] not in in_modes:
            names.append(run["version"])
        else:
            names.append(run["way"] if len(in_modes) == 1 else run["label"])
    return names


def _counts(modes: Sequence[str]) -> list[str]:
    """The numbers of interactions with IoU in the tables; a phrase alone is one."""
    return ["1"] if set(modes) == {"phrase"} else ["1", "2", "3", "5", "10"]


def _groups(figures: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """Tables of the first run: a title, and the parts by name."""
    groups = []
    for key, title in GROUPS.items():
        parts = list(figures.get(key, {}).items())
        if key == "by_category":
            parts.sort(key=lambda part: -part[1]["cases"])
        if len(parts) > 1 or (parts and key == "by_source"):
            groups.append((title, parts))
    return groups


def _comparisons(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each pair of runs: rows by source, cells by measure with a verdict beyond the noise."""
    pairs: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for difference in figures["comparisons"]:
        low, high = difference["interval"]
        sign = -1 if difference["measure"] in FEWER_IS_BETTER else 1
        verdict = "better" if sign * low > 0 < sign * high else ""
        verdict = "worse" if sign * low < 0 > sign * high else verdict
        rows = pairs.setdefault((difference["of"], difference["against"]), {})
        rows.setdefault(difference["source"], {})[difference["measure"]] = {
            **difference,
            "verdict": verdict,
        }
    return [
        {
            "of": of,
            "against": against,
            "rows": rows,
            "measures": [name for name in MEASURES if name in next(iter(rows.values()))],
        }
        for (of, against), rows in pairs.items()
    ]


def _probes(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each question with its sources, every estimate with its whisker."""
    probes = []
    for name, by_source in figures["probes"].items():
        # Gains may be negative; shares may not.
        gain = "against" in name or "gains" in name
        low, high = (-0.5, 0.5) if gain else (0.0, 1.0)
        rows = [
            {
                "source": source,
                **entry,
                "whisker": whisker(entry, low, high, WHISKER_WIDTH, aim=entry.get("aim")),
            }
            for source, entry in by_source.items()
        ]
        probes.append({"name": name, "gain": gain, "rows": rows})
    return probes


def _fixed(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}"


def _signed(value: float, digits: int = 2) -> str:
    """With its sign, a real minus, and no sign for zero."""
    text = f"{value:+.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")


def _thousands(value: int) -> str:
    return f"{value:,}"
