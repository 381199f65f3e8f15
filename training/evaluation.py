"""How good a checkpoint is: interactions needed and IoU reached, as served, with intervals.

Every answer goes through `model.predictor`, close look and all, so what is measured is what an
annotator gets. `main` is what ``phraseclick evaluate`` calls.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.predictor import Click, Embedding, Predictor
from training.datasets import PackDataset
from training.datasets.sample import Dataset, Sample, SampleObject
from training.errors import DataError
from training.protocol import MODES, Answer, Course, Mask, Mode, Spot, Target, follow
from training.vocabulary import concept_of, words_for

THRESHOLDS = (0.80, 0.85, 0.90)
COUNTS = (1, 2, 3, 5, 10)
RESAMPLES = 2000
# Specks of fewer pixels are left out: one pixel off at their border decides their IoU.
FEWEST_PIXELS = 50


@dataclass(frozen=True)
class Case:
    """One object of a data set."""

    index: int
    about: SampleObject
    source: str


@dataclass(frozen=True)
class Result:
    """One case, followed through the protocol."""

    case: Case
    key: str
    area: float
    phrase: str
    course: Course


def cases_of(
    dataset: Dataset,
    *,
    sources: Sequence[str] = (),
    limit: int = 0,
    named: bool = False,
    seed: int = 0,
) -> list[Case]:
    """Objects that are one thing (no semantic regions), at most ``limit`` of each source.

    named: only those with a category or a phrase. A limited choice is the same for a seed.
    """
    by_source: dict[str, list[Case]] = {}
    for index, source in enumerate(dataset.sources):
        if sources and source not in sources:
            continue
        for about in dataset.objects(index):
            if not about.semantic and (about.category or about.phrases or not named):
                by_source.setdefault(source, []).append(Case(index, about, source))
    rng = np.random.default_rng(seed)
    chosen: list[Case] = []
    for source in sorted(by_source):
        cases = by_source[source]
        if limit and len(cases) > limit:
            cases = [cases[i] for i in sorted(rng.permutation(len(cases))[:limit])]
        chosen.extend(cases)
    return sorted(chosen, key=lambda case: case.index)


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    cases: Sequence[Case],
    mode: Mode,
    *,
    jitter: float = 0.0,
    at_least: int = 5,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Result]:
    """Follow every case; specks are passed over.

    Mode "phrase" asks for all that the phrase denotes: every object of the category.
    """
    sample: Sample | None = None
    embedding: Embedding | None = None
    for number, case in enumerate(cases):
        if sample is None or embedding is None or cases[number - 1].index != case.index:
            sample = dataset[case.index]
            embedding = predictor.encode(sample.image, f"{case.source}:{sample.key}")
        target = target_of(sample, case.about, whole_category=mode == "phrase")
        area = int(target.mask.sum())
        if area >= FEWEST_PIXELS:
            course = follow(
                answers(predictor, embedding),
                target,
                mode,
                at_least=at_least,
                jitter=jitter,
                rng=np.random.default_rng([case.index, case.about.id]),
            )
            share = area / target.mask.size
            yield Result(case, sample.key, share, target.phrase, course)
        if progress:
            progress(number + 1, len(cases))


def answers(predictor: Predictor, embedding: Embedding) -> Answer:
    """The predictor on one picture, as the protocol asks."""

    def answer(clicks: Sequence[Spot], phrase: str, before: Mask | None) -> Mask:
        spots = [Click(*spot) for spot in clicks]
        return predictor.predict(embedding, spots, phrase, before).mask()

    return answer


def target_of(sample: Sample, about: SampleObject, *, whole_category: bool = False) -> Target:
    """The mask of an object, or of all objects of its category, and its phrase."""
    ids = [about.id]
    phrase = about.phrases[0] if about.phrases else ""
    if about.category is not None and not phrase:
        concept = concept_of(about.category)
        phrase = words_for(concept)[0]
        if whole_category:
            named = [each for each in sample.objects if each.category is not None]
            ids = [o.id for o in named if concept_of(o.category or "") == concept]
    return Target(sample.mask(*ids), sample.void, phrase)


def summary(results: Sequence[Result], mode: Mode) -> dict[str, Any]:
    """The figures of some results, each mean with its bootstrap 95 % interval."""
    if not results:
        raise DataError("No object was left to evaluate: check the sources and the data.")
    courses = [result.course for result in results]
    counts = [k for k in COUNTS if k == 1 or mode != "phrase"]
    noc = {_percent(t): [c.needed(t) for c in courses] for t in THRESHOLDS}
    iou = {str(k): [c.iou(k) for c in courses] for k in counts}
    return {
        "mode": mode,
        "cases": len(results),
        "noc": {name: float(np.mean(values)) for name, values in noc.items()},
        "noc_interval": {name: interval(values) for name, values in noc.items()},
        "iou": {name: float(np.mean(values)) for name, values in iou.items()},
        "iou_interval": {name: interval(values) for name, values in iou.items()},
        "failures": {_percent(t): sum(c.failed(t) for c in courses) for t in THRESHOLDS},
        "ms_per_click": float(np.median([ms for c in courses for ms in c.milliseconds])),
    }


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Bootstrap 95 % interval of the mean. For paired figures give the differences."""
    array = np.asarray(values, float)
    rng = np.random.default_rng(seed)
    means = [array[rng.integers(len(array), size=len(array))].mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def report(results: Sequence[Result], mode: Mode) -> dict[str, Any]:
    """The summary of all, by source and by category, and every case."""
    groups: dict[str, dict[str, list[Result]]] = {"by_source": {}, "by_category": {}}
    for result in results:
        groups["by_source"].setdefault(result.case.source, []).append(result)
        category = result.case.about.category or "(none)"
        groups["by_category"].setdefault(category, []).append(result)
    return {
        **summary(results, mode),
        **{
            name: {key: summary(part, mode) for key, part in sorted(parts.items())}
            for name, parts in groups.items()
        },
        "per_case": [_row(result) for result in results],
    }


def main(
    checkpoint: Path | str,
    *,
    data: Sequence[Path | str],
    mode: str = "clicks",
    sources: Sequence[str] = (),
    limit: int = 0,
    jitter: float = 0.0,
    at_least: int = 5,
    json_file: Path | None = None,
    csv_file: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Evaluate a checkpoint ("shipped" or a directory) on shards, and return the report.

    sources: only these; limit: at most so many objects of each; at_least: interactions that every
    object gets even when it is found sooner. The files are written where they are asked for.
    """
    if mode not in MODES:
        raise DataError(f"Mode '{mode}' is none of {', '.join(MODES)}.")
    chosen: Mode = next(each for each in MODES if each == mode)
    predictor = Predictor(checkpoint)
    dataset = PackDataset(list(data))
    cases = cases_of(dataset, sources=sources, limit=limit, named=mode != "clicks")
    results = list(
        evaluate(
            predictor,
            dataset,
            cases,
            chosen,
            jitter=jitter,
            at_least=at_least,
            progress=progress,
        )
    )
    figures = {"version": predictor.version, **report(results, chosen)}
    if json_file:
        json_file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if csv_file:
        with csv_file.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(figures["per_case"][0]))
            writer.writeheader()
            writer.writerows(figures["per_case"])
    return figures


def table(figures: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows for people: a head, all, and each source."""
    counts = list(figures["iou"])
    head = ("source", "objects", "NoC@85", "NoC@90", *(f"IoU@{k}" for k in counts), "failed@90")
    rows = [head]
    for name, part in {**figures["by_source"], "all": figures}.items():
        rows.append(
            (
                name,
                str(part["cases"]),
                f"{part['noc']['85']:.2f}",
                f"{part['noc']['90']:.2f}",
                *(f"{part['iou'][k]:.3f}" for k in counts),
                str(part["failures"]["90"]),
            )
        )
    return rows


def _percent(threshold: float) -> str:
    return str(round(100 * threshold))


def _row(result: Result) -> dict[str, Any]:
    course = result.course
    ious: NDArray[np.float64] = np.round(course.ious, 4)
    return {
        "key": result.key,
        "object": result.case.about.id,
        "source": result.case.source,
        "category": result.case.about.category,
        "area": round(result.area, 5),
        "phrase": result.phrase,
        **{f"noc{_percent(t)}": course.needed(t) for t in THRESHOLDS},
        "ious": ious.tolist(),
    }
