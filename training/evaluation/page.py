"""The report as one HTML page that needs nothing but itself: curves, tables, cases as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from training.evaluation import charts
from training.evaluation.gallery import AFTER, Exhibit
from training.evaluation.wording import MEASURES, remarks

GROUPS = {
    "by_source": "Source",
    "by_size": "Size in the picture",
    "by_seen": "Category in training",
    "by_category": "Category",
}
# Interactions are better saved, IoU is better gained.
FEWER_IS_BETTER = ("noc85", "noc90")
WHISKER_WIDTH = 150.0
# What the histograms share, so that they end where the curves beside them do.
CHART_HEIGHT = 330.0
# The width of one in the names beside the curves.
LETTER = 6.8


def render(figures: Mapping[str, Any], gallery: Mapping[str, Sequence[Exhibit]]) -> str:
    """The whole page."""
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
        curves=charts.curves(runs, names),
        histograms=[
            (number, charts.histogram(run, name, max(48.0, CHART_HEIGHT / len(clicked) - 50.0)))
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
    """What tells the runs apart, and no more: version, mode, or both."""
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
    """After how many interactions IoU is shown: a phrase alone is one."""
    return ["1"] if set(modes) == {"phrase"} else ["1", "2", "3", "5", "10"]


def _groups(figures: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """Tables of the first run: a title, and each part under its name."""
    found = []
    for key, title in GROUPS.items():
        parts = list(figures.get(key, {}).items())
        if key == "by_category":
            parts.sort(key=lambda part: -part[1]["cases"])
        if len(parts) > 1 or (parts and key == "by_source"):
            found.append((title, parts))
    return found


def _comparisons(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each pair of runs: rows by source, cells by measure with a verdict beyond the noise."""
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for each in figures["comparisons"]:
        low, high = each["interval"]
        sign = -1 if each["measure"] in FEWER_IS_BETTER else 1
        verdict = "better" if sign * low > 0 < sign * high else ""
        verdict = "worse" if sign * low < 0 > sign * high else verdict
        rows = found.setdefault((each["of"], each["against"]), {})
        rows.setdefault(each["source"], {})[each["measure"]] = {**each, "verdict": verdict}
    return [
        {
            "of": of,
            "against": against,
            "rows": rows,
            "measures": [name for name in MEASURES if name in next(iter(rows.values()))],
        }
        for (of, against), rows in found.items()
    ]


def _probes(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each question with its sources, every estimate with its whisker."""
    found = []
    for name, by_source in figures["probes"].items():
        # Gains may be losses; shares may not.
        gain = "against" in name or "gains" in name
        low, high = (-0.5, 0.5) if gain else (0.0, 1.0)
        rows = [
            {
                "source": source,
                **entry,
                "whisker": charts.whisker(entry, low, high, WHISKER_WIDTH, aim=entry.get("aim")),
            }
            for source, entry in by_source.items()
        ]
        found.append({"name": name, "gain": gain, "rows": rows})
    return found


def _fixed(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}"


def _signed(value: float, digits: int = 2) -> str:
    """With its sign, a true minus, and no sign before nothing."""
    text = f"{value:+.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")


def _thousands(value: int) -> str:
    return f"{value:,}"
