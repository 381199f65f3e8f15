"""The evaluation report as one self-contained HTML page: curves, tables, pictures of cases."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from training.evaluation.gallery import AFTER, Exhibit
from training.evaluation.output import MEASURES, remarks
from training.evaluation.protocol import MOST

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours of runs, of text, of grid lines and of failures. In the page they become the variables of
# these names, which differ in the dark and in print.
COLOURS = {
    "#1f5fd0": "--s0",
    "#cf5b1b": "--s1",
    "#13806a": "--s2",
    "#8546b0": "--s3",
    "#85700d": "--s4",
    "#a83258": "--s5",
    "#6b675f": "--soft",
    "#e3dfd6": "--rule",
    "#b3312a": "--bad",
}
*RUNS, SOFT, RULE, BAD = COLOURS


@dataclass(frozen=True)
class Whisker:
    """A mean with its interval on a small scale; zero and aim are None if they are not shown."""

    low: float
    mean: float
    high: float
    zero: float | None
    aim: float | None


def curves(runs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Mean IoU by interactions with 95 % bands, as SVG; "" if all runs have one interaction."""
    most = max(len(run["curve"]) for run in runs)
    if most < 2:
        return ""
    figure = _figure(6.4, 3.9)
    axes = figure.subplots()
    for number, (run, name) in enumerate(zip(runs, names, strict=True)):
        colour = RUNS[number % len(RUNS)]
        counts = range(1, len(run["curve"]) + 1)
        low, high = zip(*(point["interval"] for point in run["curve"]), strict=True)
        axes.fill_between(counts, low, high, color=colour, alpha=0.14, linewidth=0)
        means = [point["mean"] for point in run["curve"]]
        axes.plot(counts, means, "o-", color=colour, label=name, markersize=4)
    axes.set_ylim(top=1.0)
    axes.set_xticks(range(1, most + 1))
    axes.grid(axis="y", color=RULE)
    if len(runs) > 1:
        axes.legend(frameon=False, labelcolor="linecolor", loc="lower right")
    return _svg(figure)


def histograms(runs: Sequence[tuple[int, Mapping[str, Any], str]]) -> str:
    """Interactions to an IoU of .90 as SVG, a chart for each run; "" without runs.

    runs: number, which gives the colour, figures and name. The last bar has the failures.
    """
    if not runs:
        return ""
    figure = _figure(5.0, max(1.3 * len(runs), 3.9))
    charts = figure.subplots(len(runs), 1, squeeze=False)[:, 0]
    for axes, (number, run, name) in zip(charts, runs, strict=True):
        # The bar of failures is set apart.
        places = [*range(1, MOST + 1), MOST + 1.5]
        colours = [RUNS[number % len(RUNS)]] * MOST + [BAD]
        counts = interactions_needed(run)
        bars = axes.bar(places, counts, color=colours)
        axes.bar_label(bars, [str(n or "") for n in counts], color=SOFT, fontsize=8, padding=2)
        axes.set_xticks([1, 5, 10, 15, places[-1]], ["1", "5", "10", "15", "never"])
        axes.set_yticks([])
        axes.margins(y=0.15)
        if len(runs) > 1:
            axes.set_title(name, color=RUNS[number % len(RUNS)], fontsize=9, loc="right")
    return _svg(figure)


def interactions_needed(run: Mapping[str, Any]) -> list[int]:
    """MOST + 1 numbers of cases: those that reached .90 after 1 to MOST interactions, or never."""
    counts = [0] * (MOST + 1)
    for case in run["per_case"]:
        reached = case["noc90"] < MOST or max(case["ious"]) >= 0.90
        counts[case["noc90"] - 1 if reached else MOST] += 1
    return counts


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # takes a second to load

    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Figure) -> str:
    """The figure as an SVG element in the page's colours."""
    from matplotlib import rc_context

    for axes in figure.axes:
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelcolor=SOFT, labelsize=9)
    # Clipping would need url(…), which a page that loads nothing does not have.
    for artist in figure.findobj():
        artist.set_clip_on(False)
    file = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    # Text stays text, and the same figures give the same bytes.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "evaluation"}):
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    text = file.getvalue()
    # Two figures in one page would have the same ids of groups.
    text = re.sub(r'<g id="\w+">', "<g>", text[text.index("<svg") :])
    for colour, variable in COLOURS.items():
        text = text.replace(colour, f"var({variable})")
    return text


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


GROUPS = {
    "by_source": "Source",
    "by_size": "Size in the picture",
    "by_seen": "Category in training",
    "by_category": "Category",
}
# Measures of which less is better.
FEWER_IS_BETTER = ("noc85", "noc90")
WHISKER_WIDTH = 150.0


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
        curves=Markup(curves(runs, names)),
        histograms=Markup(histograms(clicked)),
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
