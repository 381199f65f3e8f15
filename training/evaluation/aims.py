"""What is wanted of the probes, and whether it is reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.evaluation import behaviour
from training.evaluation.behaviour import Finding
from training.evaluation.figures import shown
from training.evaluation.run import Result
from training.evaluation.statistics import estimate, estimates

STEPS = 10
LEAST_STEP = f"one more click, the least of the gains from 1 to {STEPS}"
EVERYWHERE = "all"
ORDER = (
    behaviour.GAIN,
    behaviour.GAIN_GARMENTS,
    behaviour.GAIN_SEVERAL,
    behaviour.RIGHT_WORD,
    behaviour.RIGHT_WORD_ALONE,
    behaviour.ALONE,
    behaviour.ALONE_GARMENTS,
    behaviour.ONE_OF_TWO_WORDS,
    behaviour.BOTH_WORDS,
    behaviour.SIDE_OR_COLOUR,
    *(behaviour.NAMED_BY + kind for kind in ("side", "height", "colour", "size")),
    behaviour.NEGATIVE_OUT,
    behaviour.NEGATIVE_BESIDE,
    behaviour.REMOVED,
    behaviour.KEPT,
    behaviour.EVERY_NEGATIVE,
    behaviour.EVERY_POSITIVE,
    LEAST_STEP,
)
"""In which they are told: words first, clicks last."""


@dataclass(frozen=True)
class Aim:
    """What is wanted of a probe. sources: () for every one. certain: of the interval's low end."""

    probe: str
    at_least: float
    sources: tuple[str, ...] = ()
    certain: bool = False

    def reached(self, found: Mapping[str, Any]) -> bool:
        """Whether an estimate with "mean" and "interval" is as good as wanted."""
        if self.certain:
            return bool(found["interval"][0] > self.at_least)
        return bool(found["mean"] >= self.at_least)


AIMS = (
    Aim(behaviour.GAIN, 0.0, ("voc", "coco", "ccp"), certain=True),
    Aim(behaviour.GAIN_GARMENTS, 0.06, ("ccp",)),
    Aim(behaviour.GAIN_SEVERAL, 0.0),
    Aim(behaviour.RIGHT_WORD, 0.12, ("voc",)),
    Aim(behaviour.ONE_OF_TWO_WORDS, 0.95, ("ccp",)),
    Aim(behaviour.SIDE_OR_COLOUR, 0.75),
    Aim(behaviour.ALONE, 0.72, ("voc",)),
    Aim(behaviour.ALONE_GARMENTS, 0.30, ("ccp",)),
    Aim(behaviour.NEGATIVE_OUT, 0.98),
    Aim(behaviour.EVERY_NEGATIVE, 0.98),
    Aim(behaviour.EVERY_POSITIVE, 0.99),
    Aim(LEAST_STEP, 0.0),
)


def least_step(results: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """By source and over all: of the mean gains of a second to a tenth click, the least one.

    Every case must have been given ten clicks (or have been found whole before).
    """
    parts: dict[str, list[Result]] = {}
    for result in results:
        parts.setdefault(result.case.source, []).append(result)
    if len(parts) > 1:
        parts[EVERYWHERE] = list(results)
    least = {}
    for source, part in parts.items():
        ious = np.array([[r.course.iou(k) for k in range(1, STEPS + 1)] for r in part])
        gains = estimates(np.diff(ious), [r.case.index for r in part])
        least[source] = shown(min(gains, key=lambda gain: gain.mean))
    return least


def tally(findings: Sequence[Finding]) -> dict[str, dict[str, dict[str, Any]]]:
    """Mean, number and 95 % interval of each probe by source, and over all where there are two."""
    groups: dict[str, dict[str, list[Finding]]] = {}
    for each in findings:
        by_source = groups.setdefault(each.probe, {})
        by_source.setdefault(each.source, []).append(each)
    for by_source in groups.values():
        if len(by_source) > 1:
            by_source[EVERYWHERE] = [each for part in by_source.values() for each in part]
    return {
        name: {
            source: shown(estimate([e.value for e in part], [e.picture for e in part]))
            for source, part in sorted(by_source.items(), key=_all_last)
        }
        for name, by_source in groups.items()
    }


def judged(
    tallied: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> dict[str, dict[str, dict[str, Any]]]:
    """The tally, with what was wanted where something was: "aim", "certain" and "reached"."""
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for name, by_source in sorted(tallied.items(), key=lambda each: ORDER.index(each[0])):
        for source, found in by_source.items():
            entry = dict(found)
            for aim in AIMS:
                anywhere = not aim.sources and source != EVERYWHERE
                if aim.probe == name and (anywhere or source in aim.sources):
                    entry |= {
                        "aim": aim.at_least,
                        "certain": aim.certain,
                        "reached": aim.reached(found),
                    }
            result.setdefault(name, {})[source] = entry
    return result


def _all_last(part: tuple[str, Any]) -> tuple[bool, str]:
    return part[0] == EVERYWHERE, part[0]
