"""The rules by which a candidate replaces the champion, and the decision from what was measured.

Nothing is measured here, so the rules can be tried in simulations. The question is whether the
project's next picture becomes cheaper. Every rule keeps the champion in doubt:

1. **Enough cases.** At least ``least_objects`` held-out objects on ``least_pictures`` pictures of
   the project. On fewer than six pictures not even six wins of six differ from chance.
2. **Worse beyond noise is rejected.** On the project's objects, for each way of asking and for all
   together, by interactions to 85 % and IoU: a 95 % interval that lies wholly beyond a noticeable
   loss (``noticed_…``). *Few questions*: a way of asking with fewer than the first rule wants is
   judged only together with the others.
3. **Much worse is rejected, proven or not** (``much_…``): with few cases, noise must not hide harm.
4. **No label becomes worse beyond noise**: the second rule for each label, by interactions and mean
   IoU over both ways of asking. *Few labels*: a label with fewer held-out objects than the first
   rule wants is judged only together with the others.
5. **Better must be shown on the project's objects**: interactions to 85 %, or mean IoU after 1 to
   3, over all questions. The gain is noticeable, its 95 % interval excludes zero, and chance alone
   (`statistics.chance`) gives as much in at most 2.5 of 100 cases. *Few pictures*: on fewer than
   ``few_pictures`` hardly any gain can be proven, and a team that has labeled twenty pictures would
   wait for nothing. There a noticeable gain is enough that chance gives in at most 15 of 100 cases.
6. **Suggested regions must not cost more.** Interactions per object that start from them, deletions
   included: more beyond noise, or much more, is rejected as by rules 2 and 3. On few pictures,
   where rule 5 asks for little proof, a noticeable rise leaves the gain unproven.
7. **The general set warns.** Rules 1 to 3 are applied to it, too. A project's champion serves only
   that project, and labels that it did not learn are served by the base model, so what is lost
   there becomes a warning. With ``general="veto"`` it is a rejection: always so for a version that
   serves all projects.

**Multiple comparisons.** Rules 2 to 4 can only keep the champion, so nothing is corrected there.
Rule 5 has two measures, each at 2.5 % on one side: a candidate that is equally good passes in at
most 5 of 100 cases, on few pictures in some 25. That holds for one candidate; a project that
trains daily has many. One that passes by luck is as good as its champion, and rules 2 to 4 hold for
it, too.

Everything is paired (the same questions to both) and resampled by picture, and intervals are
widened for few pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from training.evaluation.protocol import Mode
from training.evaluation.statistics import Estimate, chance, estimates

Which = Literal["own", "general"]
SETS: dict[Which, str] = {"own": "the project's held-out labels", "general": "the general set"}
"""The sets of cases, and their names in messages."""

ALL = "all"
"""Both ways of asking together: this proves a gain."""

WAYS = {"clicks+phrase": "by clicks", "phrase+clicks": "by a phrase, then clicks"}
"""The ways of asking in messages."""

MEASURES = {
    "noc85": "interactions to 85 %",
    "iou1": "IoU after 1 interaction",
    "iou2": "IoU after 2 interactions",
    "iou3": "IoU after 3 interactions",
    "iou1to3": "mean IoU after 1 to 3 interactions",
}
"""The measures, and their names in messages."""
GUARDED = ("noc85", "iou1", "iou2", "iou3")
DECISIVE = ("noc85", "iou1to3")

# One-sided, for each of the two decisive measures.
CHANCE = 0.025
FEW_CHANCE = 0.15


General = Literal["warn", "veto"]


@dataclass(frozen=True)
class GateRules:
    """The numbers in the rules, and how much is asked."""

    least_objects: int = 6
    least_pictures: int = 6
    # Held out of some sixty labeled pictures.
    few_pictures: int = 12
    # What a loss on the general set does.
    general: General = "warn"
    # Nobody notices differences below these.
    noticed_interactions: float = 0.1
    noticed_iou: float = 0.005
    # One click more for every second object, or a twentieth of its area wrong. With less, on the
    # 20 to 40 phrases of a set, one equally good version in six would fail.
    much_interactions: float = 0.5
    much_iou: float = 0.05
    # More objects prove smaller differences, and take longer.
    most_own: int = 60
    most_general: int = 50
    # After eight interactions an annotator would rather draw by hand. A failure counts as eight.
    most_interactions: int = 8
    seed: int = 0

    def enough(self, objects: int, pictures: int) -> bool:
        """Whether so many objects on so many pictures tell better from luck."""
        return objects >= self.least_objects and pictures >= self.least_pictures

    def too_few(self, what: str, objects: int, pictures: int) -> str:
        """Why so many objects on so many pictures decide nothing; "" if they are enough."""
        if self.enough(objects, pictures):
            return ""
        return (
            f"Too few {what} to tell better from luck: {objects} on {pictures} pictures, where "
            f"{self.least_objects} on {self.least_pictures} are needed."
        )


STANDARD = GateRules()


@dataclass(frozen=True)
class Outcome:
    """One question to both. picture: any id of it; the values in the order of ``GUARDED``."""

    mode: Mode
    picture: int
    candidate: tuple[float, float, float, float]
    champion: tuple[float, float, float, float]
    label: str = ""


@dataclass(frozen=True)
class Comparison:
    """One measure on one set. difference: candidate - champion, with its 95 % interval.

    n: questions. says: "better", "same", "worse", or "much worse". chance: for decisive measures,
    how often chance gives as much. beyond_noise: the interval lies wholly beyond a noticeable loss.
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
    beyond_noise: bool = False

    @property
    def sentence(self) -> str:
        """For people: the measure, both values, and the difference with its interval."""
        digits = 2 if self.measure == "noc85" else 3
        way = "" if self.mode == ALL else f", {WAYS.get(self.mode, self.mode)}"
        return (
            f"{MEASURES[self.measure]}{way}: {self.candidate:.{digits}f} instead of "
            f"{self.champion:.{digits}f} (difference {self.difference:+.{digits}f}, "
            f"95 % interval {self.low:+.{digits}f} to {self.high:+.{digits}f})"
        )


@dataclass(frozen=True)
class Ruling:
    """The decision: one sentence, all reasons, warnings, and the comparisons on each set.

    labels: comparisons of each label of the project that has enough cases.
    """

    passed: bool
    reason: str
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    comparisons: dict[Which, tuple[Comparison, ...]]
    labels: dict[str, tuple[Comparison, ...]]


def rule(
    outcomes: Mapping[Which, Sequence[Outcome]],
    rules: GateRules,
    champion: str,
    suggestions: Estimate | None = None,
) -> Ruling:
    """Decide by the outcomes on both sets.

    champion: its name, for the sentence. suggestions: interactions per object that start from the
    suggested regions, the candidate's less the champion's.
    """
    own, general = outcomes["own"], outcomes["general"]
    comparisons: dict[Which, tuple[Comparison, ...]] = {
        which: tuple(_comparisons(outcomes[which], rules)) for which in SETS
    }
    labels = {
        label: tuple(_compared(ALL, of_label, DECISIVE, rules))
        for label, of_label in _by_label(own).items()
        if not _too_few("own", of_label, rules)
    }
    harm = {which: _harm(which, outcomes[which], comparisons[which], rules) for which in SETS}
    costlier = _costlier(suggestions, rules)
    losses = [*harm["own"], *_harm_of_labels(labels), *costlier]
    elsewhere = harm["general"]
    short = [_too_few("own", own, rules)]
    if rules.general == "veto":
        short.append(_too_few("general", general, rules))
    short = [sentence for sentence in short if sentence]
    vetoes = elsewhere if rules.general == "veto" else []
    warnings = () if rules.general == "veto" else tuple(elsewhere)

    def ruling(passed: bool, reason: str, reasons: Sequence[str]) -> Ruling:
        warned = f" Warning: {warnings[0]}" if warnings else ""
        sentence = reason + warned if passed else f"{reason} {champion} stays."
        return Ruling(passed, sentence, tuple(reasons), warnings, comparisons, labels)

    if short or losses or vetoes:
        # The worst of each set; the report has all of them.
        worst = short or [*losses[:1], *vetoes[:1]]
        return ruling(False, " ".join(worst), [*short, *losses, *vetoes])
    decisive = [comparison for comparison in comparisons["own"] if comparison.mode == ALL]
    gains = [
        f"Better on {SETS['own']}: {comparison.sentence}."
        for comparison in decisive
        if comparison.says == "better"
    ]
    if not gains:
        figures = "; ".join(comparison.sentence for comparison in decisive)
        reason = f"Not surely better on {SETS['own']}: {figures}."
        return ruling(False, reason, [reason])
    few = len({outcome.picture for outcome in own}) < rules.few_pictures
    if few and suggestions is not None and suggestions.mean >= rules.noticed_interactions:
        reason = f"{gains[0]} But that is no sure proof, and {_cost_of(suggestions)}."
        return ruling(False, reason, [reason])
    unharmed = "" if warnings or not general else f" Not worse on {SETS['general']}."
    return ruling(True, gains[0] + unharmed, gains)


def _by_label(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """The outcomes of each label, if there are several."""
    labels = sorted({outcome.label for outcome in outcomes})
    if len(labels) < 2:
        return {}
    return {label: [o for o in outcomes if o.label == label] for label in labels if label}


def _harm(
    which: Which, outcomes: Sequence[Outcome], comparisons: Sequence[Comparison], rules: GateRules
) -> list[str]:
    """What got worse on a set, in sentences, the clearest first."""
    judged = {ALL}
    for mode in {outcome.mode for outcome in outcomes}:
        pictures = [outcome.picture for outcome in outcomes if outcome.mode == mode]
        if rules.enough(len(pictures), len(set(pictures))):
            judged.add(mode)
    worse = [c for c in comparisons if c.mode in judged and c.says in ("worse", "much worse")]
    worse.sort(key=lambda c: c.says != "much worse")
    return [f"{c.says.capitalize()} on {SETS[which]}: {c.sentence}." for c in worse]


def _harm_of_labels(labels: Mapping[str, Sequence[Comparison]]) -> list[str]:
    """The labels that got worse beyond noise, in sentences."""
    return [
        f'Worse for the label "{label}": {comparison.sentence}.'
        for label, comparisons in labels.items()
        for comparison in comparisons
        if comparison.beyond_noise
    ]


def _costlier(suggestions: Estimate | None, rules: GateRules) -> list[str]:
    """That suggested regions cost more, in a sentence, if they do."""
    if suggestions is None:
        return []
    much = suggestions.mean > rules.much_interactions
    if not much and suggestions.low <= rules.noticed_interactions:
        return []
    worse = "Much worse" if much else "Worse"
    return [f"{worse} on {SETS['own']}: {_cost_of(suggestions)}."]


def _cost_of(suggestions: Estimate) -> str:
    return (
        "an object that starts from the suggested regions takes "
        f"{suggestions.mean:+.2f} interactions (95 % interval {suggestions.low:+.2f} to "
        f"{suggestions.high:+.2f})"
    )


def _too_few(which: Which, outcomes: Sequence[Outcome], rules: GateRules) -> str:
    """Why this set decides nothing; "" if it has enough cases."""
    # Every object is asked for once by clicks.
    objects = sum(outcome.mode == "clicks+phrase" for outcome in outcomes)
    pictures = len({outcome.picture for outcome in outcomes})
    what = "held-out labels" if which == "own" else "objects in the general set"
    return rules.too_few(what, objects, pictures)


def _comparisons(outcomes: Sequence[Outcome], rules: GateRules) -> list[Comparison]:
    comparisons: list[Comparison] = []
    for mode in dict.fromkeys(outcome.mode for outcome in outcomes):
        comparisons += _compared(mode, [o for o in outcomes if o.mode == mode], GUARDED, rules)
    if outcomes:
        comparisons += _compared(ALL, outcomes, DECISIVE, rules)
    return comparisons


def _compared(
    mode: str, outcomes: Sequence[Outcome], measures: Sequence[str], rules: GateRules
) -> list[Comparison]:
    columns = [list(MEASURES).index(name) for name in measures]
    mine, theirs = (
        # All measures, in the order of ``MEASURES``.
        np.array([[*values, sum(values[1:]) / 3] for values in side])[:, columns]
        for side in ([o.candidate for o in outcomes], [o.champion for o in outcomes])
    )
    pictures = [outcome.picture for outcome in outcomes]
    compared = []
    few = len(set(pictures)) < rules.few_pictures
    differences = estimates(mine - theirs, pictures, rules.seed, few=True)
    for column, (measure, difference) in enumerate(zip(measures, differences, strict=True)):
        fewer = measure == "noc85"
        noticed = rules.noticed_interactions if fewer else rules.noticed_iou
        much = rules.much_interactions if fewer else rules.much_iou
        sign = -1.0 if fewer else 1.0
        worst, gain, best = sorted(
            (sign * difference.low, sign * difference.mean, sign * difference.high)
        )
        gains = sign * (mine - theirs)[:, column]
        luck = chance(gains, pictures, rules.seed) if mode == ALL else None
        if gain < -much:
            says = "much worse"
        elif best < -noticed:
            says = "worse"
        elif gain >= noticed and _is_shown(worst, luck, few=few):
            says = "better"
        else:
            says = "same"
        compared.append(
            Comparison(
                mode,
                measure,
                float(mine[:, column].mean()),
                float(theirs[:, column].mean()),
                difference.mean,
                difference.low,
                difference.high,
                difference.n,
                says,
                luck,
                best < -noticed,
            )
        )
    return compared


def _is_shown(worst: float, luck: float | None, *, few: bool) -> bool:
    """Whether a gain is no luck. worst: the end of its interval that says less."""
    if luck is not None and few:
        return luck <= FEW_CHANCE
    return worst > 0 and (luck is None or luck <= CHANCE)
