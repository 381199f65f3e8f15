"""The rules of the gate, tried on outcomes whose truth is known."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from training.evaluation.protocol import Mode
from training.evaluation.statistics import Estimate, chance, estimate
from training.gate.rules import CHANCE, SETS, STANDARD, GateRules, Outcome, Ruling, Which, rule

Values = tuple[float, float, float, float]
GOOD: Values = (3.0, 0.6, 0.75, 0.85)


def same(pictures: int = 12, values: Values = GOOD) -> list[Outcome]:
    """Two objects a picture, in both modes, on which both do alike."""
    modes: tuple[Mode, ...] = ("clicks+phrase", "phrase+clicks")
    return [
        Outcome(mode, picture, values, values)
        for picture in range(pictures)
        for _ in range(2)
        for mode in modes
    ]


def changed(outcomes: Sequence[Outcome], change: Callable[[int, Outcome], Values]) -> list[Outcome]:
    """The same champion, another candidate."""
    return [
        Outcome(outcome.mode, outcome.picture, change(number, outcome), outcome.champion)
        for number, outcome in enumerate(outcomes)
    ]


def plus(clicks: float, iou: float) -> Callable[[int, Outcome], Values]:
    """Better or worse by so much, a little more here and less there."""

    def change(number: int, outcome: Outcome) -> Values:
        part = 0.8 + 0.4 * (number % 7) / 6
        needed, first, second, third = outcome.champion
        more = iou * part
        return needed + clicks * part, first + more, second + more, third + more

    return change


def ruled(
    own: Sequence[Outcome], general: Sequence[Outcome], rules: GateRules = STANDARD
) -> Ruling:
    return rule({"own": own, "general": general}, rules, "champion-1")


VETO = GateRules(general="veto")


def test_just_as_good_is_not_better() -> None:
    ruling = ruled(same(), same())
    assert not ruling.passed
    assert ruling.reason.startswith("Not surely better on the project's held-out labels")
    assert ruling.reason.endswith("champion-1 stays.")
    assert {row.says for rows in ruling.comparisons.values() for row in rows} == {"same"}


def test_better_on_the_projects_own_and_the_same_elsewhere_passes() -> None:
    ruling = ruled(changed(same(), plus(-1.0, 0.05)), same())
    assert ruling.passed
    assert ruling.reason.startswith("Better on the project's held-out labels: interactions to 85 %")
    assert "Not worse on the general set." in ruling.reason


def test_better_elsewhere_only_does_not_pass() -> None:
    assert not ruled(same(), changed(same(), plus(-1.0, 0.05))).passed


def test_worse_beyond_the_noise_in_one_way_of_asking_is_rejected() -> None:
    # given a candidate that is better by clicks and worse by a phrase
    slightly = plus(0.3, -0.02)
    own = [
        Outcome(o.mode, o.picture, slightly(n, o), o.champion) if o.mode != "clicks+phrase" else o
        for n, o in enumerate(changed(same(), plus(-1.0, 0.05)))
    ]
    # when
    ruling = ruled(own, same())
    # then
    assert not ruling.passed
    assert ruling.reason.startswith("Worse on the project's held-out labels: ")


def test_worse_on_the_general_set_is_a_warning_and_by_setting_a_veto() -> None:
    # given
    better, worse = changed(same(), plus(-1.0, 0.05)), changed(same(), plus(0.3, -0.02))
    # when
    warned, vetoed = ruled(better, worse), ruled(better, worse, VETO)
    # then
    assert warned.passed
    assert "Warning: Worse on the general set: " in warned.reason
    assert warned.warnings[0] in warned.reason
    assert not vetoed.passed
    assert vetoed.reason.startswith("Worse on the general set: ")
    assert vetoed.warnings == ()


def test_losses_on_both_sets_are_reported() -> None:
    worse = changed(same(), plus(1.0, -0.1))
    ruling = ruled(worse, worse, VETO)
    assert f"Much worse on {SETS['own']}" in ruling.reason
    assert f"Much worse on {SETS['general']}" in ruling.reason


def test_few_cases_do_not_hide_harm() -> None:
    # given a set on which one picture of ten went wrong altogether: by no means proven
    def one_lost(number: int, outcome: Outcome) -> Values:
        return (8.0, 0.0, 0.0, 0.0) if outcome.picture == 0 else outcome.champion

    general = changed(same(10), one_lost)
    clicked = [o for o in general if o.mode == "clicks+phrase"]
    lost = [o.candidate[1] - o.champion[1] for o in clicked]
    assert estimate(lost, [o.picture for o in clicked], few=True).high >= 0
    # when
    ruling = ruled(changed(same(), plus(-1.0, 0.05)), general, VETO)
    # then
    assert not ruling.passed
    assert ruling.reason.startswith("Much worse on the general set")


def test_suggestions_that_cost_more_keep_the_champion() -> None:
    # given better by clicks, shown on many pictures or on few
    many, few = changed(same(14), plus(-1.0, 0.1)), changed(same(8), plus(-1.0, 0.1))

    def with_suggestions(own: Sequence[Outcome], *difference: float) -> Ruling:
        return rule(
            {"own": own, "general": same()}, STANDARD, "champion-1", Estimate(*difference, n=8)
        )

    # when / then
    assert with_suggestions(many, 0.3, -0.2, 0.8).passed
    assert with_suggestions(few, -0.3, -0.8, 0.2).passed
    for own, difference in (
        (many, (0.3, 0.15, 0.5)),  # beyond noise
        (many, (0.6, -0.2, 1.5)),  # much
        (few, (0.3, -0.2, 0.8)),  # on few pictures, at all
    ):
        ruling = with_suggestions(own, *difference)
        assert not ruling.passed
        assert "from the suggested regions" in ruling.reason


def test_a_way_of_asking_with_few_questions_is_judged_with_the_others() -> None:
    # given much better by clicks on twelve pictures, and worse by the phrases of a few of them
    def mostly(phrases: int) -> list[Outcome]:
        def change(number: int, outcome: Outcome) -> Values:
            good = outcome.mode == "clicks+phrase"
            return (2.0, 0.8, 0.85, 0.9) if good else (4.0, 0.45, 0.6, 0.7)

        asked = [o for o in same() if o.mode == "clicks+phrase" or o.picture < phrases]
        return changed(asked, change)

    # when / then
    assert ruled(mostly(3), same()).passed
    rejected = ruled(mostly(6), same())
    assert not rejected.passed
    assert "by a phrase, then clicks" in rejected.reason


def labeled(outcomes: Sequence[Outcome], label: str) -> list[Outcome]:
    return [dataclasses.replace(outcome, label=label) for outcome in outcomes]


def test_a_label_that_gets_worse_keeps_the_champion_and_is_named() -> None:
    # given a candidate that gains much on one label and loses a little on another
    cats = labeled(changed(same(30), plus(-1.5, 0.1)), "cat")
    dogs = labeled(changed(same(8), plus(0.3, -0.02)), "dog")
    assert ruled([*cats, *labeled(same(8), "dog")], same()).passed
    # when
    ruling = ruled([*cats, *dogs], same())
    # then
    assert not ruling.passed
    assert ruling.reason.startswith('Worse for the label "dog": interactions to 85 %')


def test_a_label_with_few_objects_is_judged_with_the_others() -> None:
    # given
    cats = labeled(changed(same(30), plus(-1.5, 0.1)), "cat")
    dogs = labeled(changed(same(5), plus(0.3, -0.02)), "dog")
    # when
    ruling = ruled([*cats, *dogs], same())
    # then
    assert ruling.passed
    assert set(ruling.labels) == {"cat"}


def test_a_difference_that_nobody_notices_neither_passes_nor_rejects() -> None:
    better, tiny = changed(same(), plus(-1.0, 0.05)), plus(-0.01, 0.001)
    assert not ruled(changed(same(), tiny), same()).passed
    assert ruled(better, changed(same(), plus(0.01, -0.001)), VETO).passed


@pytest.mark.parametrize("pictures", [0, 3, 5])
def test_too_few_held_out_labels_keep_the_champion_and_are_counted(pictures: int) -> None:
    ruling = ruled(changed(same(pictures), plus(-2.0, 0.2)), same())
    assert not ruling.passed
    assert ruling.reason.startswith("Too few held-out labels")
    assert f"{2 * pictures} on {pictures} pictures" in ruling.reason
    assert "where 6 on 6 are needed" in ruling.reason


def test_a_veto_needs_objects_in_the_general_set() -> None:
    better = changed(same(), plus(-1.0, 0.05))
    ruling = ruled(better, [], VETO)
    assert not ruling.passed
    assert "objects in the general set" in ruling.reason
    assert ruled(better, []).passed


def test_six_pictures_can_prove_something_and_five_never() -> None:
    six = [1.0] * 6
    assert chance(six, range(6)) <= CHANCE
    assert chance(six[:5], range(5)) > CHANCE


def test_chance_counts_pictures_not_objects() -> None:
    # given forty objects better, all of three pictures
    assert chance([1.0] * 40, [n % 3 for n in range(40)]) > 0.1
    assert chance([1.0] * 40, range(40)) < 0.01


def test_chance_is_not_taken_in_by_a_few_gains_among_many_ties() -> None:
    # given twenty pictures of which four got better, at which a plain interval leaves out zero
    values = [1.0] * 4 + [0.0] * 16
    assert estimate(values).low > 0
    # then one in sixteen would be as lucky
    assert chance(values) == pytest.approx(1 / 16, abs=0.02)


def test_intervals_for_few_pictures_are_wider_and_hold_the_truth_more_often() -> None:
    rng = np.random.default_rng(5)
    held = dict.fromkeys((True, False), 0)
    for _ in range(200):
        values = rng.normal(0, 1, 8)
        for few in held:
            estimated = estimate(values, few=few)
            held[few] += estimated.low <= 0 <= estimated.high
    assert held[True] > held[False]
    assert held[True] >= 0.90 * 200


# Simulated outcomes of two versions whose true difference is known.
MOST = 8


def simulated(
    rng: np.random.Generator,
    pictures: int,
    a_picture: int,
    gain: float = 0.0,
    modes: tuple[Mode, ...] = ("clicks+phrase", "phrase+clicks"),
) -> list[Outcome]:
    """Objects as hard for both as they are, and both as lucky with each as they happen to be.

    gain: of the candidate, as a share of what is wrong that it gets right at once.
    """
    drawn = []
    for picture in range(pictures):
        hard = rng.uniform(0.1, 0.6)
        luck = rng.normal(0, 0.15, 2)
        for _ in range(a_picture):
            own = np.clip(hard + rng.normal(0, 0.15), 0.03, 0.95)
            for mode in modes:
                late = 0.0 if mode == "clicks+phrase" else 0.15
                candidate, champion = (
                    _simulated_values(rng, own * (1 - better) + late, luck[side])
                    for side, better in enumerate((gain, 0.0))
                )
                drawn.append(Outcome(mode, picture, candidate, champion))
    return drawn


def passes(rng: np.random.Generator, pictures: int, a_picture: int, gain: float = 0.0) -> bool:
    """Whether the gate lets a candidate pass that is just as good in general."""
    asked: dict[Which, list[Outcome]] = {
        "own": simulated(rng, pictures, a_picture, gain),
        "general": simulated(rng, 10, 1, modes=("clicks+phrase",)),
    }
    return rule(asked, GateRules(general="veto"), "champion").passed


def _simulated_values(rng: np.random.Generator, wrong: float, luck: float) -> Values:
    """Each interaction leaves some two thirds of what was wrong."""
    ious = []
    left = wrong * np.exp(luck + rng.normal(0, 0.25))
    for _ in range(MOST):
        ious.append(float(np.clip(1 - left, 0.0, 1.0)))
        left *= rng.uniform(0.45, 0.9)
    reached = [count for count, iou in enumerate(ious, 1) if iou >= 0.85]
    return float(reached[0] if reached else MOST), ious[0], ious[1], ious[2]


def test_a_candidate_that_is_just_as_good_passes_in_at_most_5_of_100_cases() -> None:
    rng = np.random.default_rng(1)
    passed = sum(passes(rng, 12, 2) for _ in range(100))
    assert passed <= 5


def test_a_candidate_that_errs_a_third_less_passes_mostly() -> None:
    rng = np.random.default_rng(2)
    passed = sum(passes(rng, 20, 2, gain=0.35) for _ in range(20))
    assert passed >= 12


def test_on_few_pictures_a_gain_that_hardly_comes_by_chance_is_enough() -> None:
    # given six pictures, of which three became much better and none worse: chance does that in one
    # of eight cases
    def better(number: int, outcome: Outcome) -> Values:
        return (2.0, 0.8, 0.85, 0.9) if outcome.picture < 3 else outcome.champion

    assert ruled(changed(same(6), better), same()).passed
    # and given as many of those, one of which says little
    assert not ruled(changed(same(6), lambda n, o: better(n, o) if o.picture else GOOD), []).passed


def test_on_few_pictures_a_candidate_that_is_just_as_good_passes_now_and_then() -> None:
    rng = np.random.default_rng(1)
    passed = sum(passes(rng, 8, 2) for _ in range(100))
    assert passed <= 40
