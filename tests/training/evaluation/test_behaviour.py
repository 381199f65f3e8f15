"""Behaviour tests of listeners that do, or do not, react to words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.conftest import draw, members, write_shard
from tests.training.evaluation.conftest import result
from training.data import PackDataset, Sample
from training.evaluation.behaviour import (
    EVERYWHERE,
    GOALS,
    BehaviourTests,
    Finding,
    Probe,
    Tally,
    judged,
    least_step,
    tally,
)
from training.evaluation.cases import cases_of
from training.evaluation.protocol import Answer, ClickPoint, Mask
from training.prompts.vocabulary import COLOURS


class Listener:
    """A method that reacts to words if ``hears``; a click alone means one of its kind."""

    categories: frozenset[str] | None = None

    def __init__(self, *, hears: bool = True, obeys: bool = True) -> None:
        self.name = "listener"
        self.hears = hears
        self.obeys = obeys
        self.asked: list[tuple[tuple[ClickPoint, ...], str]] = []

    def look_at(self, sample: Sample, key: str, label: str = "") -> Answer:
        def answer(clicks: Sequence[ClickPoint], phrase: str, before: Mask | None) -> Mask:
            self.asked.append((tuple(clicks), phrase))
            words = phrase.split() if self.hears else []
            named = [o.id for o in sample.objects if o.category in words]
            if words and words[-1] == "person":
                named = [o.id for o in sample.objects]
            elif len(words) > 1:
                named = [_singled_out(sample, named, words[0])]
            if not clicks:
                return sample.mask(*named)
            at = [(int(sample.instances[int(y), int(x)]), on) for x, y, on in clicks]
            wanted = {number for number, on in at if on}
            if self.obeys:
                wanted -= {number for number, on in at if not on}
            if words:
                wanted = set(named) if wanted & set(named) else set()
                return sample.mask(*wanted)
            mask = sample.mask(*wanted)
            # Without a word the click is taken for the upper half.
            mask[np.flatnonzero(mask.any(1))[mask.any(1).sum() // 2 :]] &= len(clicks) > 1
            return mask if self.obeys or before is None else mask | before

        return answer


def _singled_out(sample: Sample, ids: list[int], word: str) -> int:
    """Of these objects the one that the word tells apart."""
    columns = {i: float(np.nonzero(sample.mask(i))[1].mean()) for i in ids}
    if word in ("left", "right"):
        return (min if word == "left" else max)(ids, key=columns.__getitem__)
    redness = {i: float(sample.image[sample.mask(i)].astype(float)[:, 0].mean()) for i in ids}
    return (max if word == "red" else min)(ids, key=redness.__getitem__)


def tallied(listener: Listener, dataset: Any) -> Tally:
    asked = BehaviourTests(listener, dataset, cases_of(dataset))
    asked.ask_all()
    return tally(asked.findings)


def mean(table: Tally, name: Probe, source: str = "voc") -> float:
    return float(table[name][source]["mean"])


@pytest.fixture
def dogs(shard: Any) -> PackDataset:
    """Six pictures of a red dog left of a blue one, and a green cat."""
    return PackDataset([shard])


@pytest.fixture
def dressed(tmp_path: Path) -> PackDataset:
    """A person in a blue dress, taken apart, with a bag."""
    shapes = [
        (1, (40, 5, 80, 45), (200, 150, 120)),
        (2, (34, 46, 86, 96), (20, 30, 200)),
        (3, (44, 97, 76, 118), (200, 150, 120)),
        (4, (88, 60, 108, 80), (30, 160, 30)),
    ]
    picture, instances = draw(shapes, 120, 120)
    objects = [(1, "hair", False), (2, "dress", False), (3, "skin", False), (4, "bag", False)]
    return PackDataset(
        [write_shard(tmp_path / "made.tar", [("a", members(picture, instances, objects, "ccp"))])]
    )


def test_a_method_that_uses_words_gains_by_them(dogs: PackDataset) -> None:
    table = tallied(Listener(), dogs)
    assert mean(table, Probe.ALONE) == 1.0
    # the cats whole, of two dogs half: this listener lets the word call in the other one
    assert mean(table, Probe.RIGHT_WORD) == pytest.approx(2 / 3, abs=0.03)
    assert mean(table, Probe.RIGHT_WORD_ALONE) == 1.0
    assert mean(table, Probe.SIDE_OR_COLOUR) == 1.0
    assert mean(table, Probe.BY_SIDE) == 1.0
    assert mean(table, Probe.BY_COLOUR) == 1.0


def test_a_method_without_words_does_not(dogs: PackDataset) -> None:
    table = tallied(Listener(hears=False), dogs)
    assert mean(table, Probe.ALONE) == 0.0
    assert mean(table, Probe.GAIN) == 0.0
    assert mean(table, Probe.RIGHT_WORD) == 0.0
    assert mean(table, Probe.SIDE_OR_COLOUR) == 0.0


def test_who_answers_with_all_of_the_kind_loses_among_several(dogs: PackDataset) -> None:
    # given a word beside a click that calls in the other dog
    table = tallied(Listener(), dogs)
    # then the cats gain half of themselves, the dogs gain no more than the sibling costs
    assert table[Probe.GAIN]["voc"]["n"] == 18
    assert table[Probe.GAIN_SEVERAL]["voc"]["n"] == 12
    assert mean(table, Probe.GAIN_SEVERAL) < mean(table, Probe.GAIN)


def test_a_question_is_put_once(dogs: PackDataset) -> None:
    # given two dogs a picture, whose bare name is one question
    table = tallied(listener := Listener(), dogs)
    assert table[Probe.ALONE]["voc"]["n"] == 12
    # and two dogs that two sides and two colours tell apart
    assert table[Probe.BY_SIDE]["voc"]["n"] == 12
    assert table[Probe.BY_COLOUR]["voc"]["n"] == 12
    words = {phrase for clicks, phrase in listener.asked if not clicks}
    assert words <= {"dog", "cat", "left dog", "right dog", *(f"{c} dog" for c in COLOURS)}


def test_only_words_distinguish_a_garment_from_its_wearer(dressed: PackDataset) -> None:
    hearing, deaf = tallied(Listener(), dressed), tallied(Listener(hears=False), dressed)
    # the bag is carried, hair and skin are no garments: the dress is asked about, twice
    assert hearing[Probe.ONE_OF_TWO_WORDS]["ccp"]["n"] == 2
    assert mean(hearing, Probe.ONE_OF_TWO_WORDS, "ccp") == 1.0
    assert mean(hearing, Probe.BOTH_WORDS, "ccp") == 1.0
    assert mean(deaf, Probe.ONE_OF_TWO_WORDS, "ccp") == 0.5
    assert mean(deaf, Probe.BOTH_WORDS, "ccp") == 0.0
    assert hearing[Probe.ALONE_GARMENTS]["ccp"]["n"] == 2, "dress and bag"
    assert hearing[Probe.GAIN_GARMENTS]["ccp"]["n"] == 2


def test_negative_clicks_remove_or_do_not(dogs: PackDataset) -> None:
    obeying, stubborn = tallied(Listener(), dogs), tallied(Listener(obeys=False), dogs)
    assert mean(obeying, Probe.REMOVED) == 1.0
    assert mean(obeying, Probe.KEPT) == 1.0
    assert mean(stubborn, Probe.REMOVED) == 0.0


def test_an_interrupt_keeps_what_was_found(dogs: PackDataset) -> None:
    asked = BehaviourTests(Listener(), dogs, cases_of(dogs))

    def stop(done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asked.ask_all(stop)
    assert {finding.picture for finding in asked.findings} == {0, 1, 2}


def test_the_least_gain_of_ten_clicks_is_found() -> None:
    rising = tuple(0.5 + 0.04 * k for k in range(10))
    falling_once = (*rising[:5], rising[4] - 0.02, *rising[6:])
    found_all = least_step([result(rising), result(falling_once, source="coco", index=1)])
    assert found_all["voc"]["mean"] == pytest.approx(0.04)
    assert found_all["coco"]["mean"] == pytest.approx(-0.02)
    assert found_all[EVERYWHERE]["mean"] == pytest.approx(0.01)


def test_aims_are_held_against_mean_or_interval() -> None:
    table = tally([Finding(Probe.GAIN, "voc", value, n) for n, value in enumerate([0.1, -0.05])])
    alone = [Finding(Probe.ALONE, "voc", 0.75, n) for n in range(5)]
    table |= tally([*alone, *(Finding(Probe.ALONE, "coco", 0.1, n) for n in range(5))])
    goals = judged(table)
    gain = goals[Probe.GAIN]["voc"]
    assert gain["mean"] > 0
    assert gain["certain"]
    assert not gain["reached"], "its interval holds zero"
    assert goals[Probe.ALONE]["voc"]["reached"]
    assert "aim" not in goals[Probe.ALONE]["coco"]


def test_every_aim_is_of_a_probe_that_is_put(dogs: PackDataset, dressed: PackDataset) -> None:
    names = {*tallied(Listener(), dogs), *tallied(Listener(), dressed)}
    assert {goal.probe for goal in GOALS[:-1]} <= names
