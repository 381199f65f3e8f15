"""The gate from end to end: by methods whose truth is known, and by the shipped network."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from scipy import ndimage

from model import checkpoint
from tests.training.conftest import draw, members, write_shard
from training.data import PackDataset, Sample, Without
from training.evaluation.cases import cases_of
from training.evaluation.measurement import Region
from training.evaluation.protocol import Answer, ClickPoint, Mask
from training.finetune.labels import LEAST_OBJECTS
from training.gate import gate
from training.gate.gate import GENERAL_SET, judge, open_general_set
from training.gate.report import tables
from training.gate.rules import GateRules


class Painter:
    """Instead of a checkpoint: finds what is clicked, too large by ``beyond`` pixels.

    Each interaction brings it two pixels nearer to the truth. A phrase alone finds nothing. It has
    learned the labels that come after the number: "good-6-dog".
    """

    categories = None

    def __init__(self, where: Path, *, device: str) -> None:
        self.name, beyond, *labels = where.name.split("-")
        self.beyond = int(beyond)
        self.labels = dict.fromkeys(labels, LEAST_OBJECTS) or None

    def look_at(self, sample: Sample, key: str, label: str = "") -> Answer:
        def answer(clicks: Sequence[ClickPoint], phrase: str, before: Mask | None) -> Mask:
            mask = np.zeros(sample.instances.shape, bool)
            if not clicks:
                return mask
            x, y, _ = clicks[0]
            mask = sample.mask(int(sample.instances[int(y), int(x)]))
            more = max(0, self.beyond - 2 * len(clicks))
            return ndimage.binary_dilation(mask, iterations=more) if more else mask

        return answer

    def suggest(self, sample: Sample, key: str, labels: Sequence[str]) -> list[Region]:
        """Every object, as large as it would be after three clicks."""
        grown = max(0, self.beyond - 6)
        return [
            Region(
                ndimage.binary_dilation(sample.mask(about.id), iterations=grown)
                if grown
                else sample.mask(about.id),
                about.category or "",
                0.9,
            )
            for about in sample.objects
        ]


@pytest.fixture
def painters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints are named by how far they paint beyond: good-2, poor-12."""
    monkeypatch.setattr(gate, "Checkpoint", Painter)


@pytest.fixture
def dataset(shard: Path) -> PackDataset:
    """Six pictures with three objects each."""
    return PackDataset([shard])


GOOD, POOR = Path("good-6"), Path("poor-14")


@pytest.mark.usefixtures("painters")
def test_the_better_one_passes_and_the_worse_one_is_rejected(
    dataset: PackDataset, tmp_path: Path
) -> None:
    # when
    passed = judge(GOOD, POOR, dataset, dataset)
    rejected = judge(POOR, GOOD, dataset, dataset)
    # then
    assert passed.passed
    assert passed.reason.startswith("Better on the project's held-out labels")
    assert not rejected.passed
    assert rejected.reason.startswith("Much worse on the project's held-out labels")
    assert rejected.reason.endswith("good stays.")


@pytest.mark.usefixtures("painters")
def test_what_a_version_has_not_learned_is_answered_by_the_base(dataset: PackDataset) -> None:
    # given a candidate that is better at both kinds, but has learned dogs only
    candidate, base = Path("tuned-2-dog"), Path("base-14")
    # when
    verdict = judge(candidate, base, dataset, dataset, base=base)
    # then for cats it answers as the base model does
    labels = verdict.report["labels"]
    gains = {label: measures[0]["difference"] for label, measures in labels.items()}
    assert gains["cat"] == 0
    assert gains["dog"] < 0


@pytest.mark.usefixtures("painters")
def test_only_what_a_phrase_means_alone_is_asked_for_by_the_phrase_first(
    dataset: PackDataset,
) -> None:
    # when
    questions = gate._questions(dataset, 60, 0)
    # then every object is clicked
    assert len(questions["clicks+phrase"]) == 18
    # and of those without a written phrase, one that shares its name is not asked for by it
    assert 0 < len(questions["phrase+clicks"]) < 18
    for case in questions["phrase+clicks"]:
        objects = dataset.objects(case.index)
        written = {phrase for about in objects if about.id in case.ids for phrase in about.phrases}
        named = [about for about in objects if about.category == case.category]
        assert case.phrase in written or len(named) == 1


@pytest.mark.usefixtures("painters")
def test_the_report_is_json_holds_all_figures_and_is_the_same_every_time(
    dataset: PackDataset, tmp_path: Path
) -> None:
    verdict = judge(GOOD, POOR, dataset, dataset, pictures=tmp_path)
    # it is JSON, and the same every time
    written = json.dumps(verdict.report, allow_nan=False)
    assert written == json.dumps(judge(GOOD, POOR, dataset, dataset, pictures=tmp_path).report)
    report = json.loads(written)
    # it has every measure of each mode on each set
    assert set(report["sets"]) == {"own", "general"}
    for part in report["sets"].values():
        assert (part["objects"], part["pictures"]) == (18, 6)
        for mode in gate.MODES:
            of_mode = [row for row in part["comparisons"] if row["mode"] == mode]
            assert [row["measure"] for row in of_mode] == ["noc85", "iou1", "iou2", "iou3"]
            for row in of_mode:
                assert row["low"] <= row["difference"] <= row["high"]
                assert row["difference"] == pytest.approx(row["candidate"] - row["champion"])
        asked = {row["mode"]: row["n"] for row in part["comparisons"]}
        assert asked["clicks+phrase"] == 18
    # it has the cost of the next picture, with images of the suggestions of both
    suggestions = report["suggestions"]
    assert suggestions["candidate"]["interactions"]["mean"] == 0
    assert suggestions["candidate"]["zero_share"]["mean"] == 1
    assert suggestions["champion"]["interactions"]["mean"] > 1
    assert suggestions["difference"]["high"] < 0
    assert (suggestions["candidate"]["objects"], suggestions["candidate"]["pictures"]) == (18, 6)
    assert len(suggestions["examples"]) == 3
    for example in suggestions["examples"]:
        with Image.open(tmp_path / example["picture"]) as picture:
            assert picture.width > 2 * 300
    assert report["rules"]["least_objects"] == GateRules().least_objects
    # what was won is there as pictures, side by side
    won = [example for example in report["examples"] if example["set"] == "own"]
    assert [example["kind"] for example in won] == ["won"] * 3
    assert won[0]["gain"] >= won[1]["gain"] > 0
    for example in won:
        with Image.open(tmp_path / example["picture"]) as picture:
            assert picture.width > 2 * 300
        assert example["candidate"]["ious"][0] > example["champion"]["ious"][0]


@pytest.mark.usefixtures("painters")
def test_the_table_says_what_the_report_says(dataset: PackDataset) -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    verdict = judge(POOR, GOOD, dataset, dataset)
    for part in tables(json.loads(json.dumps(verdict.report))):
        console.print(part)
    text = " ".join(console.export_text().split())
    assert "The project's held-out labels: 18 objects on 6 pictures" in text
    assert "The general set: 18 objects on 6 pictures" in text
    assert "much worse" in text
    assert f"Rejected. {verdict.reason}" in text


@pytest.mark.usefixtures("painters")
def test_pictures_that_cannot_be_used_are_counted_and_said(
    tmp_path: Path,
    dataset: PackDataset,
) -> None:
    # given one whole picture, a broken one, an empty one and one with a speck alone
    whole = members(*draw([(1, (20, 20, 80, 80), (200, 20, 20))], 120, 100), [(1, "dog", False)])
    speck = members(*draw([(1, (20, 20, 23, 23), (200, 20, 20))], 120, 100), [(1, "dog", False)])
    empty = members(*draw([], 120, 100), [])
    broken = {**whole, "webp": whole["webp"][:40]}
    own = PackDataset(
        [
            write_shard(
                tmp_path / "made.tar",
                [("whole", whole), ("broken", broken), ("empty", empty), ("speck", speck)],
            )
        ]
    )
    # when
    verdict = judge(GOOD, POOR, own, dataset)
    # then
    part = verdict.report["sets"]["own"]
    assert (part["objects"], part["pictures"]) == (1, 1)
    assert (part["specks"], part["empty"], len(part["unreadable"])) == (1, 1, 1)
    assert "broken" in part["unreadable"][0]
    assert not verdict.passed
    assert verdict.reason.startswith("Too few held-out labels to tell better from luck: 1 on 1")


@pytest.mark.usefixtures("painters")
def test_nothing_held_out_keeps_the_champion(dataset: PackDataset) -> None:
    nothing = Without(dataset, range(len(dataset)))
    verdict = judge(GOOD, POOR, nothing, dataset)
    assert not verdict.passed
    assert "0 on 0 pictures" in verdict.reason
    json.dumps(verdict.report, allow_nan=False)


@pytest.mark.usefixtures("painters")
def test_it_tells_how_far_it_is_and_ends_when_told_to(dataset: PackDataset) -> None:
    seen: list[tuple[float, Mapping[str, float]]] = []
    judge(GOOD, POOR, dataset, dataset, tick=lambda done, figures: seen.append((done, figures)))
    shares = [done for done, _ in seen]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    # given somebody who cancels at the tenth question
    asked = 0

    def cancel() -> None:
        nonlocal asked
        asked += 1
        if asked == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(GOOD, POOR, dataset, dataset, check=cancel)
    assert asked == 10


@pytest.mark.usefixtures("painters")
def test_no_more_is_asked_than_the_rules_allow(dataset: PackDataset) -> None:
    rules = GateRules(most_own=11, most_general=12, most_interactions=4)
    verdict = judge(POOR, GOOD, dataset, dataset, rules=rules)
    assert verdict.report["sets"]["own"]["objects"] == 11
    assert verdict.report["sets"]["general"]["objects"] == 12
    for example in verdict.report["examples"]:
        assert len(example["candidate"]["ious"]) <= 4


def test_the_general_set_is_frozen_and_whole() -> None:
    digest = hashlib.sha256(GENERAL_SET.read_bytes()).hexdigest()
    assert digest == "be2a228de641eb24db0b42fee8065eee3f7fa888d1e872e1fe609d644e52e32d"
    general = open_general_set()
    assert (len(general), general.skipped) == (52, 0)
    assert len(cases_of(general, "clicks")) == len(cases_of(general, "phrase+clicks")) == 140


def noisy(folder: Path, share: float) -> Path:
    """The shipped checkpoint with noise in its weights: a share of each tensor's spread."""
    shipped = checkpoint.load()
    network = shipped.network()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in network.parameters():
            if tensor.numel() > 1:
                noise = torch.randn(tensor.shape, generator=generator)
                tensor.add_(noise * tensor.std() * share)
    checkpoint.save(folder, network, shipped.words, shipped.vectors)
    return folder


@pytest.mark.slow
def test_real_networks_with_noise_are_rejected_and_without_it_pass(tmp_path: Path) -> None:
    # given a champion that is the shipped network with noise, and scenes as a project's labels
    worse = noisy(tmp_path / "noisy", 0.02)
    general = open_general_set()
    own = Without(general, [n for n, source in enumerate(general.sources) if source != "composed"])
    rules = GateRules(most_own=16, most_general=16, most_interactions=4, general="veto")
    shipped = checkpoint.load().path
    # when
    better = judge(shipped, worse, own, general, rules=rules)
    noise = judge(worse, shipped, own, general, rules=rules)
    # then
    assert better.passed, better.reason
    assert not noise.passed
    assert "worse on the general set" in noise.reason.lower()
    # what one gains is what the other loses
    for which in ("own", "general"):
        pairs = zip(
            better.report["sets"][which]["comparisons"],
            noise.report["sets"][which]["comparisons"],
            strict=True,
        )
        assert all(a["difference"] == pytest.approx(-b["difference"]) for a, b in pairs)
