"""What people see of a comparison: tables, the largest gains and losses, and what the next picture
costs.

The gate decides by clicks and phrases (`training.gate.rules`). Beside that, a simulated annotator
finishes the regions that both versions suggest (`training.evaluation.interactions`). Images show
the champion on the left, the candidate on the right: the target as a white line, the answer in
blue, positive clicks green and negative ones red, after the same number of interactions. Tables are
made from a report, so that a stored one can be shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from scipy import ndimage

from training.data import Dataset, Tolerant
from training.evaluation.cases import key_of, target_of
from training.evaluation.interactions import PictureCost, annotatable, annotate, labels_in, summary
from training.evaluation.measurement import Measurement, Result, Run, Served
from training.evaluation.overlay import WHITE, View, around, crop, overlay_view
from training.evaluation.protocol import CLICKS_FIRST, ClickPoint, Mask
from training.evaluation.statistics import paired_difference
from training.gate.rules import ALL, CHANCE, MEASURES, WAYS, Which

# Gains of each set, and losses; also pictures with suggestions.
EACH = 3
AFTER = 3
# Pixels: one half of an image, the gap between both, and a click's dot.
WIDTH = 360
GAP = 8
RADIUS = 7
QUALITY = 80
# Pictures with suggestions that are measured, and objects of each. More would cost more time than
# the clicks. *choice*
_PICTURES = 12
_OBJECTS = 3

Check = Callable[[], None]
"""Called before a question is asked; an exception ends the comparison."""
Side = tuple[Mask, Sequence[ClickPoint]]
"""A version's answer: the H,W mask, and the clicks that it answers."""


@dataclass(frozen=True)
class Images:
    """Where examples are drawn; without a folder none is."""

    folder: Path | None = None
    check: Check | None = None

    def save(self, name: str, draw: Callable[[Path], None]) -> str:
        """Draw an image into the folder; its name there, or ""."""
        if self.folder is None:
            return ""
        if self.check:
            self.check()
        draw(self.folder / name)
        return name


class _PairedResult(NamedTuple):
    """One question, as both answered it."""

    candidate: tuple[Run, Result]
    champion: tuple[Run, Result]

    @property
    def gain(self) -> float:
        mine, theirs = (
            sum(result.trajectory.iou(count) for count in range(1, AFTER + 1)) / AFTER
            for _, result in (self.candidate, self.champion)
        )
        return mine - theirs


def examples(which: Which, measurement: Measurement, images: Images) -> list[dict[str, Any]]:
    """The questions with the largest gains and losses of mean IoU after 1 to 3 interactions.

    A picture is shown once for each.
    """
    pairs = sorted(_paired_results(measurement), key=lambda pair: -pair.gain)
    kinds = {
        "won": [pair for pair in pairs if pair.gain > 0],
        "lost": [pair for pair in reversed(pairs) if pair.gain < 0],
    }
    shown = []
    for kind, chosen in kinds.items():
        once: dict[int, _PairedResult] = {}
        for pair in chosen:
            once.setdefault(pair.candidate[1].case.index, pair)
        for number, pair in enumerate(list(once.values())[:EACH], 1):
            draw = partial(_draw_example, measurement, pair)
            name = images.save(f"{which}-{kind}-{number}.jpg", draw)
            shown.append({"set": which, "kind": kind, **_described(pair), "picture": name})
    return shown


def _paired_results(measurement: Measurement) -> Iterator[_PairedResult]:
    """Runs come in pairs of one mode, the candidate's first."""
    for mine, theirs in zip(measurement.runs[::2], measurement.runs[1::2], strict=True):
        results = measurement.results[mine], measurement.results[theirs]
        for one, other in zip(*results, strict=True):
            yield _PairedResult((mine, one), (theirs, other))


def _described(pair: _PairedResult) -> dict[str, Any]:
    run, result = pair.candidate
    case = result.case
    return {
        "gain": round(pair.gain, 4),
        "key": result.key,
        "objects": list(case.ids),
        "category": case.category,
        "mode": run.mode,
        "phrase": "" if run.mode == "clicks" else case.phrase,
        "candidate": _curve_json(result),
        "champion": _curve_json(pair.champion[1]),
    }


def _curve_json(result: Result) -> dict[str, Any]:
    """IoU after each interaction, and the clicks."""
    return {
        "ious": [round(value, 4) for value in result.trajectory.ious],
        "clicks": [[x, y, int(positive)] for x, y, positive in result.trajectory.clicks],
    }


def _draw_example(measurement: Measurement, pair: _PairedResult, path: Path) -> None:
    sides: list[Side] = []
    for run, result in (pair.champion, pair.candidate):
        sample, masks = measurement.again(run, result)
        shown = min(AFTER, len(masks))
        clicks = shown if run.mode in CLICKS_FIRST else shown - 1
        sides.append((masks[shown - 1], result.trajectory.clicks[:clicks]))
    wanted = target_of(sample, pair.candidate[1].case).mask
    spots = [spot for _, clicks in sides for spot in clicks]
    view = around([wanted, *(mask for mask, _ in sides)], spots)
    _save_side_by_side(path, sample.image, wanted, sides, view)


def compare_suggestions(
    candidate: Served,
    champion: Served,
    dataset: Dataset,
    *,
    most_clicks: int,
    seed: int,
    images: Images,
) -> dict[str, Any] | None:
    """Annotate some pictures with both: the figures of ``candidate`` and ``champion``, their paired
    ``difference``, and ``examples``, the pictures with the largest gains. None without an object.
    """
    labels = labels_in(dataset)
    samples = Tolerant(dataset)
    pairs: list[tuple[PictureCost, PictureCost]] = []
    for index in (int(i) for i in np.random.default_rng(seed).permutation(len(dataset))):
        if len(pairs) == _PICTURES:
            break
        if images.check:
            images.check()
        sample = samples.get(index)
        ids = [] if sample is None else [about.id for about in annotatable(sample)]
        if sample is None or not ids:
            continue
        drawn = np.random.default_rng([seed, index]).permutation(ids)[:_OBJECTS].tolist()
        mine, theirs = (
            annotate(model, sample, index, labels, ids=drawn, most_clicks=most_clicks)
            for model in (candidate, champion)
        )
        pairs.append((mine, theirs))
    if not pairs:
        return None
    mine_all, theirs_all = [a for a, _ in pairs], [b for _, b in pairs]
    difference = paired_difference(
        [value for cost in mine_all for value in cost.per_object],
        [value for cost in theirs_all for value in cost.per_object],
        [cost.index for cost in mine_all for _ in cost.objects],
    )
    shown = []
    for number, (mine, theirs) in enumerate(sorted(pairs, key=lambda p: -_saved(*p))[:EACH], 1):
        draw = partial(_draw_suggestions, dataset, mine.index, (champion, candidate), labels)
        shown.append(
            {
                "gain": round(_saved(mine, theirs), 4),
                "key": mine.key,
                "objects": mine.present,
                "candidate": _cost_json(mine),
                "champion": _cost_json(theirs),
                "picture": images.save(f"suggested-{number}.jpg", draw),
            }
        )
    return {
        "candidate": summary(mine_all),
        "champion": summary(theirs_all),
        "difference": asdict(difference),
        "examples": shown,
    }


def _saved(mine: PictureCost, theirs: PictureCost) -> float:
    return float(np.mean(theirs.per_object) - np.mean(mine.per_object))


def _cost_json(cost: PictureCost) -> dict[str, Any]:
    return {
        "interactions": round(float(np.mean(cost.per_object)), 4),
        "regions": cost.regions,
        "deletions": cost.deletions,
    }


def _draw_suggestions(
    dataset: Dataset, index: int, models: Sequence[Served], labels: Sequence[str], path: Path
) -> None:
    sample = dataset[index]
    key = key_of(sample, index)
    sides: list[Side] = []
    for model in models:
        # Without its outermost pixels, so that regions that touch can be told apart.
        inner = [ndimage.binary_erosion(r.mask) for r in model.suggest(sample, key, labels)]
        sides.append((np.logical_or.reduce([np.zeros(sample.instances.shape, bool), *inner]), ()))
    wanted = sample.mask(*(about.id for about in annotatable(sample)))
    height, width = sample.instances.shape
    _save_side_by_side(path, sample.image, wanted, sides, (0, 0, width, height))


def _save_side_by_side(
    path: Path, image: NDArray[np.uint8], wanted: Mask, sides: Sequence[Side], view: View
) -> None:
    """Draw both answers in the part of the picture that ``view`` is, the champion's on the left."""
    pixels = crop(image, view, WIDTH)
    both = Image.new("RGB", (2 * WIDTH + GAP, pixels.shape[0]), WHITE)
    for place, (mask, clicks) in enumerate(sides):
        half = overlay_view(pixels, view, mask, clicks, target=wanted, radius=RADIUS)
        both.paste(half, (place * (WIDTH + GAP), 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    both.save(path, quality=QUALITY, optimize=True)


ASKED_BY = {ALL: "either", **{mode: way.removeprefix("by ") for mode, way in WAYS.items()}}
STYLES = {"better": "green", "same": "", "worse": "red", "much worse": "bold red"}


def tables(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Each set with its comparisons, the labels, the cost of the next picture, the verdict."""
    for part in report["sets"].values():
        yield from set_tables(part)
    for label, comparisons in report.get("labels", {}).items():
        yield Text(f"Label {label}", style="bold")
        yield _comparisons(comparisons)
    for warning in report.get("warnings", ()):
        yield Text(f"Warning: {warning}", style="yellow")
    if report.get("suggestions"):
        yield Text(cost_of_next(report["suggestions"]))
    passed = report["passed"]
    yield Text.assemble(
        ("Passed. " if passed else "Rejected. ", "bold green" if passed else "bold red"),
        report["reason"],
    )


def cost_of_next(suggestions: Mapping[str, Any]) -> str:
    """What the next picture costs before and after, in a sentence; from a report's suggestions."""
    before, after, difference = (
        suggestions["champion"],
        suggestions["candidate"],
        suggestions["difference"],
    )
    return (
        "Interactions per object, starting from the suggested regions: "
        f"{before['interactions']['mean']:.2f} with the champion, "
        f"{after['interactions']['mean']:.2f} with the candidate (difference "
        f"{difference['mean']:+.2f}, {difference['low']:+.2f} to {difference['high']:+.2f}; "
        f"{after['objects']} objects on {after['pictures']} pictures). Without any interaction: "
        f"{before['zero_share']['mean']:.0%} and {after['zero_share']['mean']:.0%}."
    )


def set_tables(part: Mapping[str, Any]) -> Iterator[RenderableType]:
    """One set: how much was asked, its comparisons, and what could not be asked."""
    called = part["called"][0].upper() + part["called"][1:]
    yield Text(f"{called}: {part['objects']} objects on {part['pictures']} pictures", style="bold")
    if part["comparisons"]:
        yield _comparisons(part["comparisons"])
    if part["empty"]:
        yield Text(f"{part['empty']} pictures without any object.", style="yellow")
    if part["specks"]:
        yield Text(f"{part['specks']} objects under 50 pixels were left out.", style="yellow")
    if part["unreadable"]:
        count, first = len(part["unreadable"]), part["unreadable"][0]
        yield Text(f"{count} pictures could not be read, the first: {first}", style="yellow")


def _comparisons(comparisons: list[Mapping[str, Any]]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("asked by")
    table.add_column("")
    for name in ("champion", "candidate", "difference (95 %)"):
        table.add_column(name, justify="right")
    table.add_column("")
    mode = ""
    for comparison in comparisons:
        if mode and comparison["mode"] != mode:
            table.add_section()
        first = comparison["mode"] != mode
        mode = comparison["mode"]
        digits = 2 if comparison["measure"] == "noc85" else 3
        table.add_row(
            ASKED_BY.get(mode, mode) if first else "",
            MEASURES[comparison["measure"]],
            f"{comparison['champion']:.{digits}f}",
            f"{comparison['candidate']:.{digits}f}",
            f"{comparison['difference']:+.{digits}f} "
            f"({comparison['low']:+.{digits}f} to {comparison['high']:+.{digits}f})",
            Text(_says(comparison), style=STYLES[comparison["says"]]),
        )
    return table


def _says(comparison: Mapping[str, Any]) -> str:
    """The finding, or that the difference may be luck."""
    luck = comparison["chance"]
    beyond = comparison["low"] > 0 or comparison["high"] < 0
    if comparison["says"] == "same" and luck is not None and luck > CHANCE and beyond:
        return f"may be luck ({luck:.0%})"
    return str(comparison["says"])
