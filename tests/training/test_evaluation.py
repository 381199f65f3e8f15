"""Evaluation through the served predictor, on a checkpoint that learned nothing."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from model import checkpoint
from model.config import ModelConfig
from model.network import PhraseClick
from model.predictor import Predictor
from training.datasets import PackDataset, Sample, SampleObject
from training.errors import DataError
from training.evaluation import (
    Case,
    Result,
    cases_of,
    interval,
    main,
    report,
    summary,
    table,
    target_of,
)
from training.probes import probe, tally
from training.protocol import Course
from training.word_vectors import train_word_vectors


@pytest.fixture(scope="module")
def unlearned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    words, vectors = train_word_vectors(["left red dog", "the cat"], ["dog", "cat"], dim=8)
    config = ModelConfig(input_size=64, channels=16, word_dim=8, phrase_dim=4, attributes=("dog",))
    path = tmp_path_factory.mktemp("checkpoint") / "unlearned"
    checkpoint.save(path, PhraseClick(config).eval(), words, vectors)
    return path


def result(ious: tuple[float, ...], category: str = "dog", source: str = "voc") -> Result:
    case = Case(0, SampleObject(1, category), source)
    return Result(case, "key", 0.1, category, Course(ious, tuple(5.0 for _ in ious), ()))


def test_figures_of_known_courses() -> None:
    # given one object found at once, one at the third click, one never
    results = [
        result((0.92,)),
        result((0.5, 0.86, 0.91), "cat"),
        result(tuple([0.4] * 20), "cat", "coco"),
    ]
    # when
    figures = report(results, "clicks")
    # then
    assert figures["cases"] == 3
    assert figures["noc"]["85"] == pytest.approx((1 + 2 + 20) / 3)
    assert figures["noc"]["90"] == pytest.approx((1 + 3 + 20) / 3)
    assert figures["failures"] == {"80": 1, "85": 1, "90": 1}
    assert figures["iou"]["1"] == pytest.approx((0.92 + 0.5 + 0.4) / 3)
    assert figures["iou"]["10"] == pytest.approx((0.92 + 0.91 + 0.4) / 3)
    assert figures["ms_per_click"] == 5.0
    assert set(figures["by_source"]) == {"coco", "voc"}
    assert figures["by_category"]["dog"]["noc"]["90"] == 1
    assert figures["per_case"][1]["noc90"] == 3
    low, high = figures["noc_interval"]["90"]
    assert low <= figures["noc"]["90"] <= high


def test_an_interval_narrows_with_more_objects_and_holds_the_mean() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.random(20), rng.random(2000)
    wide, narrow = interval(list(few)), interval(list(many))
    assert wide[0] < few.mean() < wide[1]
    assert narrow[0] < many.mean() < narrow[1]
    # a mean of n uniform numbers strays by about 0.29 / sqrt(n)
    assert narrow[1] - narrow[0] == pytest.approx(4 * 0.2887 / 2000**0.5, rel=0.15)
    assert wide[1] - wide[0] > 5 * (narrow[1] - narrow[0])


def test_nothing_to_evaluate_is_said() -> None:
    with pytest.raises(DataError, match="No object"):
        summary([], "clicks")


def test_regions_are_no_cases_and_a_limit_is_the_same_each_time(shard: Path) -> None:
    dataset = PackDataset([shard])
    assert len(cases_of(dataset)) == 18
    limited = cases_of(dataset, limit=5)
    assert limited == cases_of(dataset, limit=5)
    assert len(limited) == 5
    assert cases_of(dataset, sources=["coco"]) == []


def test_a_phrase_alone_denotes_the_whole_category() -> None:
    instances = np.zeros((10, 10), np.int16)
    instances[:3], instances[5:7], instances[8:] = 1, 2, 3
    objects = (SampleObject(1, "sofa"), SampleObject(2, "couch"), SampleObject(3, "cat"))
    sample = Sample("a", "coco", np.zeros((10, 10, 3), np.uint8), instances, objects)
    one = target_of(sample, objects[0])
    every = target_of(sample, objects[0], whole_category=True)
    assert one.phrase == every.phrase == "sofa"
    assert one.mask.sum() == 30
    assert every.mask.sum() == 50
    spoken = SampleObject(3, "cat", phrases=("the fat one",))
    assert target_of(sample, spoken).phrase == "the fat one"


@pytest.mark.parametrize("mode", ["clicks", "phrase", "phrase+clicks"])
def test_every_mode_writes_its_figures(
    unlearned: Path, shard: Path, tmp_path: Path, mode: str
) -> None:
    # given / when
    seen: list[tuple[int, int]] = []
    figures = main(
        unlearned,
        data=[shard],
        mode=mode,
        limit=2,
        json_file=tmp_path / "figures.json",
        csv_file=tmp_path / "cases.csv",
        progress=lambda done, total: seen.append((done, total)),
    )
    # then
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["mode"] == mode
    assert written["cases"] == 2
    assert {"noc", "iou", "failures", "ms_per_click", "per_case", "version"} <= set(written)
    assert written["version"].startswith("unlearned-")
    with (tmp_path / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(written["per_case"]) == 2
    assert seen[-1] == (2, 2)
    head, *lines = table(figures)
    assert [line[0] for line in lines] == ["voc", "all"]
    assert all(len(line) == len(head) for line in lines)
    interactions = [len(case["ious"]) for case in written["per_case"]]
    assert interactions == [1, 1] if mode == "phrase" else min(interactions) >= 5


def test_an_unknown_mode_is_refused(unlearned: Path, shard: Path) -> None:
    with pytest.raises(DataError, match="guess"):
        main(unlearned, data=[shard], mode="guess")


def test_probes_ask_every_pair_of_questions(unlearned: Path, shard: Path) -> None:
    # given pictures with two dogs of different colours, and a cat
    dataset = PackDataset([shard])
    predictor = Predictor(unlearned, device="cpu")
    cases = cases_of(dataset, limit=4)
    # when
    found = tally(list(probe(predictor, dataset, cases)))
    # then
    assert {
        "phrase alone",
        "gain of phrase + 1 click over 1 click",
        "right word - wrong word, with 1 click",
        "of two of a kind, the named one by place",
    } <= set(found)
    assert found["phrase alone"]["voc"]["n"] == 4
    assert 0.0 <= found["phrase alone"]["voc"]["mean"] <= 1.0


def test_a_garment_and_its_wearer_are_told_apart(
    unlearned: Path,
    drawn: Callable[..., tuple[np.ndarray, np.ndarray]],
    make_members: Callable[..., dict[str, bytes]],
    make_shard: Callable[..., Path],
) -> None:
    shapes = [(1, (40, 5, 80, 45), (200, 150, 120)), (2, (30, 46, 90, 110), (20, 30, 200))]
    picture, instances = drawn(shapes, 120, 120)
    objects = [(1, "skin", False), (2, "dress", False)]
    path = make_shard([("a", make_members(picture, instances, objects, "ccp"))])
    dataset = PackDataset([path])
    found = tally(list(probe(Predictor(unlearned, device="cpu"), dataset, cases_of(dataset))))
    assert found["same click, garment or person"]["ccp"]["n"] >= 1


@pytest.mark.slow
def test_the_command_prints_a_table(unlearned: Path, shard: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "backend.cli", "evaluate", str(unlearned)]
    options = ["--data", str(shard), "--limit", "2", "--json", str(tmp_path / "f.json")]
    done = subprocess.run(
        [*command, *options],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "160"},
    )
    assert done.returncode == 0, done.stderr
    assert "NoC@85" in done.stdout
    assert json.loads((tmp_path / "f.json").read_text())["cases"] == 2
