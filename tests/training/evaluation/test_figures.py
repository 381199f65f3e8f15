"""Figures of courses that are known beforehand."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.evaluation.conftest import result
from training.evaluation.cases import cases_of
from training.evaluation.evaluation import write_csv, write_json
from training.evaluation.figures import comparisons, report
from training.evaluation.measurement import Measurement, Run


def test_figures_of_known_courses() -> None:
    # given one object found at once, one at the third click, one never
    results = [
        result((0.92,)),
        result((0.5, 0.86, 0.91), "cat", index=1),
        result(tuple([0.4] * 20), "cat", "coco", area=0.001, index=2),
    ]
    # when
    figures = report(results, "clicks", trained_on=frozenset({"dog"}))
    # then
    assert figures["mode"] == "clicks"
    assert figures["cases"] == 3
    assert figures["noc"]["85"] == pytest.approx((1 + 2 + 20) / 3)
    assert figures["noc"]["90"] == pytest.approx((1 + 3 + 20) / 3)
    assert figures["failures"] == {"80": 1, "85": 1, "90": 1}
    assert figures["iou"]["1"] == pytest.approx((0.92 + 0.5 + 0.4) / 3)
    assert figures["iou"]["10"] == pytest.approx((0.92 + 0.91 + 0.4) / 3)
    assert figures["ms_per_click"] == 5.0
    low, high = figures["noc_interval"]["90"]
    assert low <= figures["noc"]["90"] <= high
    # and in parts
    assert {name: part["cases"] for name, part in figures["by_source"].items()} == {
        "coco": 1,
        "voc": 2,
    }
    assert figures["by_category"]["dog"]["noc"]["90"] == 1
    assert {name: part["cases"] for name, part in figures["by_size"].items()} == {
        "large": 2,
        "small": 1,
    }
    assert {name: part["cases"] for name, part in figures["by_seen"].items()} == {
        "seen": 1,
        "unseen": 2,
    }
    assert figures["per_case"][1]["noc90"] == 3
    assert figures["per_case"][1]["ious"] == [0.5, 0.86, 0.91]


def test_each_interaction_has_its_mean() -> None:
    results = [result((0.5, 0.7, 0.9)), result((0.3, 0.3, 0.5), index=1)]
    figures = report(results, "clicks", at_least=3)
    assert [point["mean"] for point in figures["curve"]] == pytest.approx([0.4, 0.5, 0.7])
    assert len(report(results, "phrase")["curve"]) == 1


def test_things_without_a_name_are_a_group_of_their_own() -> None:
    figures = report([result((0.9,), None)], "clicks", trained_on=frozenset())
    assert list(figures["by_seen"]) == ["unnamed"]
    assert list(figures["by_category"]) == ["(unnamed)"]


def test_runs_are_compared_on_the_same_targets(two_pictures: Any, oracle: Any, slow: Any) -> None:
    # given one that finds all at once, one that needs two clicks, and words alone
    runs = [Run(slow, "clicks"), Run(slow, "phrase"), Run(oracle, "clicks")]
    cases = {mode: cases_of(two_pictures, mode) for mode in ("clicks", "phrase")}
    measurement = Measurement(two_pictures, runs, cases, 3)
    measurement.ask_all()
    # when
    rows = comparisons(measurement)
    # then
    differences = {(row["of"], row["measure"], row["source"]): row for row in rows}
    oracle_saves = differences["oracle, clicks", "noc90", "all"]
    assert oracle_saves["against"] == "slow, clicks"
    assert oracle_saves["mean"] == -1.0
    assert oracle_saves["interval"] == (-1.0, -1.0)
    assert oracle_saves["n"] == 6
    assert differences["oracle, clicks", "iou1", "voc"]["mean"] == pytest.approx(0.25, abs=0.03)
    # a bare "dog" asks for both dogs: only the cats are one question for clicks and words
    assert differences["slow, phrase", "iou1", "all"]["n"] == 2
    assert ("slow, phrase", "noc90", "all") not in differences


def test_files_hold_every_case_of_every_run(tmp_path: Path) -> None:
    first = {
        "version": "a",
        "jitter": 0.0,
        **report([result((0.92,)), result((0.4, 0.95))], "clicks"),
    }
    second = {"version": "b", "jitter": 0.0, **report([result((0.7,) * 20)], "phrase+clicks")}
    figures = {**first, "further": [second]}
    write_json(tmp_path / "figures.json", figures)
    write_csv(tmp_path / "cases.csv", figures)
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["per_case"][1]["ious"] == [0.4, 0.95]
    with (tmp_path / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["version"] for row in rows] == ["a", "a", "b"]
    assert rows[1]["iou2"] == "0.95"
    assert rows[1]["iou3"] == ""
    assert rows[2]["noc90"] == "20"
