"""By what rules a candidate takes the champion's place, and the decision once all was measured.

Pure figures: what was measured comes in, a ruling goes out, so that the rules can be tried on a
thousand simulated evenings. Four rules, each of which keeps the champion where in doubt:

1. **Enough was asked.** On either set at least ``least_objects`` on ``least_pictures`` pictures.
   With fewer than six pictures not even six wins of six could be told from chance.
2. **Worse beyond the noise is rejected.** On either set, asked in either way, of interactions to
   85 % and of IoU after 1, 2 and 3: a 95 % interval that lies wholly on the bad side of what
   anybody would notice (``noticed_…``).
3. **Much worse is rejected, proved or not** (``much_…``): where few were asked, noise must not
   hide harm.
4. **Better must be proved, on the project's own labels**: interactions to 85 %, or the mean of IoU
   after 1 to 3, over all questions. The gain can be noticed, its 95 % interval leaves out zero, and
   chance alone (`statistics.chance`) gives as much in at most 2.5 of 100 cases.

**Many comparisons.** Rules 2 and 3 are asked up to sixteen times a candidate; each time more can
only keep the champion, so nothing is corrected there. Rule 4 is asked twice, each at 2.5 % on its
one side: together a candidate that is just as good passes in at most 5 of 100 cases. That holds a
candidate; a project that trains every day has many. What passes by luck is as good as its
champion, and rules 2 and 3 hold for it too.

Everything is paired (the same questions to both) and drawn by picture, and the intervals are
widened for few pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from training.evaluation.protocol import Mode
from training.evaluation.statistics import chance, estimates

Which = Literal["own", "general"]
SETS: dict[Which, str] = {"own": "the project's held-out labels", "general": "the general set"}
"""What is measured on, and what people call it."""

ALL = "all"
"""Both ways of asking together: by this is better proved."""

MEASURES = {
    "noc85": "interactions to 85 %",
    "iou1": "IoU after 1 interaction",
    "iou2": "IoU after 2 interactions",
    "iou3": "IoU after 3 interactions",
    "iou1to3": "mean IoU after 1 to 3 interactions",
}
"""What is measured, and what people call it."""
GUARDED = ("noc85", "iou1", "iou2", "iou3")
DECISIVE = ("noc85", "iou1to3")

# On one side, for each of the two decisive measures.
CHANCE = 0.025


@dataclass(frozen=True)
class GateRules:
    """The numbers in the rules, and how much is asked."""

    # Below, one lucky object is a tenth of the figure.
    least_objects: int = 10
    least_pictures: int = 6
    # Differences below these are noticed by nobody.
    noticed_interactions: float = 0.1
    noticed_iou: float = 0.005
    # A click more for every second object, or a twentieth of its area wrong. Below, on the some
    # twenty to forty phrases of a set, a version that is just as good would fail one time in six.
    much_interactions: float = 0.5
    much_iou: float = 0.05
    # More objects prove smaller differences, and take longer.
    most_own: int = 60
    most_general: int = 50
    # Whoever needs eight interactions draws by hand instead. A failure counts as eight.
    most_interactions: int = 8
    seed: int = 0


STANDARD = GateRules()


@dataclass(frozen=True)
class Outcome:
    """One question to both. picture: any name of it; the values in the order of ``GUARDED``."""

    mode: Mode
    picture: int
    candidate: tuple[float, float, float, float]
    champion: tuple[float, float, float, float]


@dataclass(frozen=True)
class Comparison:
    """One measure on one set. difference: candidate - champion, with its 95 % interval.

    n: questions. says: "better", "same", "worse", or "much worse". chance: of decisive measures
    alone, how often chance gives as much.
    """

    mode: str
    measure: str
    candidate: float
    champion: float
    difference: float
    low: float
    high: float
    n: int
    says: str
    chance: float | None = None

    @property
    def sentence(self) -> str:
        """For people: what, how much instead of how much, and how sure that is."""
        digits = 2 if self.measure == "noc85" else 3
        way = "" if self.mode == ALL else f", asked by {self.mode.replace('+', ' and ')}"
        return (
            f"{MEASURES[self.measure]}{way}: {self.candidate:.{digits}f} instead of "
            f"{self.champion:.{digits}f} (difference {self.difference:+.{digits}f}, "
            f"95 % interval {self.low:+.{digits}f} to {self.high:+.{digits}f})"
        )


@dataclass(frozen=True)
class Ruling:
    """The decision: one sentence, all its reasons, and the comparisons on each set."""

    passed: bool
    reason: str
    reasons: tuple[str, ...]
    comparisons: dict[Which, tuple[Comparison, ...]]


def rule(outcomes: Mapping[Which, Sequence[Outcome]], rules: GateRules, champion: str) -> Ruling:
    """Decide by what was asked on both sets. champion: its name, for the sentence."""
    found: dict[Which, tuple[Comparison, ...]] = {
        which: tuple(_comparisons(outcomes[which], rules)) for which in SETS
    }
    short = [sentence for which in SETS if (sentence := _too_few(which, outcomes[which], rules))]
    harm = {which: _harm(which, found[which]) for which in SETS}
    decisive = [each for each in found["own"] if each.mode == ALL]
    gains = [
        f"Better on {SETS['own']}: {each.sentence}." for each in decisive if each.says == "better"
    ]
    if short or any(harm.values()):
        # The worst of each set; all of them stand in the report.
        told = short or [each[0] for each in harm.values() if each]
        reasons = (*short, *(each for which in SETS for each in harm[which]))
        return Ruling(False, f"{' '.join(told)} {champion} stays.", reasons, found)
    if not gains:
        said = "; ".join(each.sentence for each in decisive)
        reason = f"Not surely better on {SETS['own']}: {said}."
        return Ruling(False, f"{reason} {champion} stays.", (reason,), found)
    return Ruling(True, f"{gains[0]} Not worse on {SETS['general']}.", tuple(gains), found)


def _harm(which: Which, comparisons: Sequence[Comparison]) -> list[str]:
    """What got worse on a set, in sentences, the plainest first."""
    worse = [it for it in comparisons if it.mode != ALL and it.says in ("worse", "much worse")]
    worse.sort(key=lambda it: it.says != "much worse")
    return [f"{it.says.capitalize()} on {SETS[which]}: {it.sentence}." for it in worse]


def _too_few(which: Which, outcomes: Sequence[Outcome], rules: GateRules) -> str:
    """Why nothing can be said by this set; "" where enough was asked."""
    # By clicks every object is asked for once.
    objects = sum(each.mode == "clicks" for each in outcomes)
    pictures = len({each.picture for each in outcomes})
    if objects >= rules.least_objects and pictures >= rules.least_pictures:
        return ""
    what = "held-out labels" if which == "own" else "objects in the general set"
    return (
        f"Too few {what} to tell better from luck: {objects} on {pictures} pictures, where "
        f"{rules.least_objects} on {rules.least_pictures} are needed."
    )


def _comparisons(outcomes: Sequence[Outcome], rules: GateRules) -> list[Comparison]:
    found: list[Comparison] = []
    for mode in dict.fromkeys(each.mode for each in outcomes):
        found.extend(_compared(mode, [o for o in outcomes if o.mode == mode], GUARDED, rules))
    if outcomes:
        found.extend(_compared(ALL, outcomes, DECISIVE, rules))
    return found


def _compared(
    mode: str, outcomes: Sequence[Outcome], measures: Sequence[str], rules: GateRules
) -> list[Comparison]:
    mine, theirs = (
        np.array([_values(each) for each in side])
        for side in ([o.candidate for o in outcomes], [o.champion for o in outcomes])
    )
    columns = [list(MEASURES).index(name) for name in measures]
    mine, theirs = mine[:, columns], theirs[:, columns]
    pictures = [each.picture for each in outcomes]
    found = []
    differences = estimates(mine - theirs, pictures, rules.seed, few=True)
    for column, (measure, each) in enumerate(zip(measures, differences, strict=True)):
        fewer = measure == "noc85"
        noticed = rules.noticed_interactions if fewer else rules.noticed_iou
        much = rules.much_interactions if fewer else rules.much_iou
        sign = -1.0 if fewer else 1.0
        worst, gain, best = sorted((sign * each.low, sign * each.mean, sign * each.high))
        luck = None
        if mode == ALL:
            luck = chance(sign * (mine - theirs)[:, column], pictures, rules.seed)
        if gain < -much:
            says = "much worse"
        elif best < -noticed:
            says = "worse"
        elif worst > 0 and gain >= noticed and (luck is None or luck <= CHANCE):
            says = "better"
        else:
            says = "same"
        found.append(
            Comparison(
                mode,
                measure,
                float(mine[:, column].mean()),
                float(theirs[:, column].mean()),
                each.mean,
                each.low,
                each.high,
                each.n,
                says,
                luck,
            )
        )
    return found


def _values(guarded: Sequence[float]) -> list[float]:
    """All measures of one answer, in the order of ``MEASURES``."""
    return [*guarded, sum(guarded[1:]) / 3]
