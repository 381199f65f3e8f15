"""Everybody is asked everything, and what goes wrong with one picture stays with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.conftest import Pictures
from tests.training.evaluation.conftest import Scripted, sample
from training.data import Expression, PackDataset, Sample, SampleObject
from training.errors import DataError
from training.evaluation.cases import cases_of
from training.evaluation.measurement import Checkpoint, Measurement, Region, Run, Served
from training.evaluation.protocol import MODES, Mode


def measured(dataset: Any, *runs: Run, at_least: int = 10) -> Measurement:
    modes = {run.mode for run in runs}
    cases = {mode: cases_of(dataset, mode) for mode in modes}
    measurement = Measurement(dataset, runs, cases, at_least)
    measurement.ask_all()
    return measurement


def test_masks_used_as_answers_need_one_interaction(two_pictures: Any, oracle: Any) -> None:
    # given / when
    runs = [Run(oracle, mode) for mode in MODES]
    measurement = measured(two_pictures, *runs)
    # then
    for run in runs:
        for result in measurement.results[run]:
            assert result.trajectory.iou(3) == 1.0
    clicks, _, alone, _ = runs
    assert {r.trajectory.needed(0.90) for r in measurement.results[clicks]} == {1}
    assert {r.trajectory.needed(0.90) for r in measurement.results[alone]} == {1}
    assert len(measurement.results[clicks]) == 6
    assert len(measurement.results[alone]) == 4
    assert measurement.checked == 6 + 6 + 4 + 6


def test_every_object_gets_its_interactions(two_pictures: Any) -> None:
    # given a method that is wrong in one pixel
    def nearly(picture: Sample, clicks: Any, phrase: str) -> Any:
        x, y, _ = clicks[0]
        mask = picture.mask(int(picture.instances[int(y), int(x)]))
        rows, columns = np.nonzero(mask)
        mask[rows[0], columns[0]] = False
        return mask

    run = Run(Scripted("nearly", nearly), "clicks")
    for at_least in (1, 4):
        measurement = measured(two_pictures, run, at_least=at_least)
        lengths = {len(result.trajectory.ious) for result in measurement.results[run]}
        # the one wrong pixel is clicked, then there is nothing more to click
        assert lengths == {min(at_least, 2)}


def test_a_broken_picture_is_passed_over_and_named(oracle: Any) -> None:
    dataset = Pictures([sample("one"), sample("two")], broken=[0])
    run = Run(oracle, "clicks")
    done: list[tuple[int, int]] = []
    measurement = Measurement(dataset, [run], {"clicks": cases_of(dataset)})
    measurement.ask_all(lambda number, total: done.append((number, total)))
    assert {result.key for result in measurement.results[run]} == {"two"}
    assert measurement.unreadable == {0: "picture 0 cannot be decoded"}
    assert done[-1] == (6, 6)


def test_specks_and_objects_in_void_are_left_out(oracle: Any) -> None:
    picture = sample("one")
    picture.instances[6:26, 5:30] = 0
    picture.instances[6:9, 5:8] = 1
    run = Run(oracle, "clicks")
    measurement = measured(Pictures([picture]), run)
    assert [result.case.ids for result in measurement.results[run]] == [(2,), (3,)]
    assert measurement.specks == 1


def test_a_phrase_for_what_is_not_there_wants_an_empty_mask(oracle: Any) -> None:
    picture = sample("one", [SampleObject(1, None)], expressions=[Expression("zebra", ())])
    run = Run(oracle, "phrase")
    measurement = measured(Pictures([picture]), run)
    assert [result.trajectory.ious for result in measurement.results[run]] == [(1.0,)]


def test_jitter_moves_clicks_alike_for_everybody(two_pictures: Any, oracle: Any, slow: Any) -> None:
    runs = [Run(oracle, "clicks"), Run(oracle, "clicks", 0.6), Run(slow, "clicks", 0.6)]
    measurement = measured(two_pictures, *runs)
    firsts = [[r.trajectory.clicks[0] for r in measurement.results[run]] for run in runs]
    assert firsts[1] == firsts[2]
    assert firsts[0] != firsts[1]
    assert runs[1].label == "oracle, clicks, jitter 0.6"


def test_an_interrupt_leaves_whole_comparisons(two_pictures: Any, oracle: Any) -> None:
    # given a method that is interrupted in the second picture
    def interrupted(picture: Sample, clicks: Any, phrase: str) -> Any:
        if picture.key == "two":
            raise KeyboardInterrupt
        return np.zeros(picture.instances.shape, bool)

    runs = [Run(oracle, "clicks"), Run(Scripted("hasty", interrupted), "clicks")]
    measurement = Measurement(two_pictures, runs, {"clicks": cases_of(two_pictures)})
    # when
    with pytest.raises(KeyboardInterrupt):
        measurement.ask_all()
    # then
    assert [len(measurement.results[run]) for run in runs] == [6, 3]


def test_a_case_followed_again_goes_as_before(two_pictures: Any, slow: Any) -> None:
    run = Run(slow, "clicks")
    measurement = measured(two_pictures, run)
    for result in measurement.results[run]:
        sample, masks = measurement.again(run, result)
        assert sample.key == result.key
        wanted = sample.mask(*result.case.ids)
        assert len(masks) == len(result.trajectory.ious)
        assert np.array_equal(masks[-1], wanted) == (result.trajectory.ious[-1] == 1.0)


@pytest.mark.parametrize("mode", MODES)
def test_masks_that_do_not_hold_still_fail_the_self_check(
    two_pictures: Any, oracle: Any, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a protocol whose overlap is wrong
    monkeypatch.setattr("training.evaluation.protocol.overlap", lambda *_: 0.5)
    with pytest.raises(DataError, match="Self-check failed"):
        measured(two_pictures, Run(oracle, mode))


def test_suggestions_are_those_of_a_batch_prediction(
    unlearned: Path, shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a network that learned nothing, so that any confidence will do
    monkeypatch.setattr("training.evaluation.measurement.LEAST_CONFIDENCE", 0.0)
    model, sample = Checkpoint(unlearned, device="cpu"), PackDataset([shard])[0]
    embedding = model.predictor.encode(sample.image, "picture")
    expected, _ = model.predictor.instances_by_name(embedding, ["dog", "cat"], 0.0)
    # when, with a label that it has no word for
    regions = model.suggest(sample, "picture", ["dog", "kwyjibo", "cat"])
    # then
    assert [(region.label, region.confidence) for region in regions] == [
        (name, instance.confidence) for name, instance in expected
    ]
    for region, (_, instance) in zip(regions, expected, strict=True):
        assert np.array_equal(region.mask, instance.mask())
        assert region.mask.shape == sample.instances.shape


def test_a_label_that_the_champion_has_not_learned_is_answered_by_the_base(
    unlearned: Path, shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion, base = (Checkpoint(unlearned, device="cpu") for _ in range(2))
    champion.labels = {"dog": 9, "cat": 1}
    monkeypatch.setattr(Checkpoint, "look_at", lambda self, *_: self)
    served, sample = Served(champion, base), PackDataset([shard])[0]
    answering = [served.look_at(sample, "picture", label) for label in ("dog", "cat", "")]
    assert answering == [champion, base, champion]


def test_what_the_champion_has_not_learned_is_suggested_by_the_base(
    unlearned: Path, shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a champion that knows dogs, and one object that both find
    champion, base = (Checkpoint(unlearned, device="cpu") for _ in range(2))
    champion.labels = {"dog": 9}
    sample = PackDataset([shard])[0]
    one, other = (np.zeros(sample.instances.shape, bool) for _ in range(2))
    one[:5], other[10:15] = True, True
    found = {champion: [(one, 0.7)], base: [(one, 0.9), (other, 0.6)]}
    monkeypatch.setattr(
        Checkpoint,
        "suggest",
        lambda self, sample, key, labels: [
            Region(mask, ",".join(labels), confidence) for mask, confidence in found[self]
        ],
    )
    # when
    regions = Served(champion, base).suggest(sample, "picture", ["dog", "cat", "cup"])
    # then
    assert [(region.label, region.confidence) for region in regions] == [
        ("cat,cup", 0.9),
        ("cat,cup", 0.6),
    ]
    # and where it has learned all, only the champion is asked
    (region,) = Served(champion, base).suggest(sample, "picture", ["dog"])
    assert (region.label, region.confidence) == ("dog", 0.7)
