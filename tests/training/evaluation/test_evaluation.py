"""The whole evaluation through the served predictor, on a checkpoint that learned nothing."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model import checkpoint
from training.errors import DataError
from training.evaluation.evaluation import main, write_csv, write_json
from training.evaluation.measurement import Checkpoint
from training.evaluation.protocol import MODES, Mode

ROOT = Path(__file__).parents[3]


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_writes_its_figures(
    unlearned: Path, shard: Path, tmp_path: Path, mode: Mode
) -> None:
    # given / when
    seen: list[tuple[int, int]] = []
    figures = main(
        unlearned,
        data=[shard],
        modes=[mode],
        limit=2,
        progress=lambda done, total: seen.append((done, total)),
    )
    write_json(tmp_path / "figures.json", figures)
    write_csv(tmp_path / "cases.csv", figures)
    # then it is what other programs read
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["mode"] == mode
    assert written["cases"] == 2
    assert is_number(written["ms_per_click"])
    for name, keys in (
        ("noc", {"80", "85", "90"}),
        ("iou", {"1", "2", "3", "5", "10"}),
        ("failures", {"80", "85", "90"}),
    ):
        assert set(written[name]) == keys
        assert all(is_number(value) for value in written[name].values())
    assert written["version"].startswith("unlearned-")
    assert written["complete"] is True
    assert written["self_check"] == {"cases": 2, "noc": 1.0}
    with (tmp_path / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(written["per_case"]) == 2
    assert seen[-1] == (2, 2)
    interactions = [len(case["ious"]) for case in written["per_case"]]
    assert interactions == [1, 1] if mode == "phrase" else min(interactions) >= 10


def test_modes_and_checkpoints_are_compared(unlearned: Path, shard: Path) -> None:
    # given / when a checkpoint is compared with itself
    figures = main(
        unlearned,
        data=[shard],
        modes=["clicks", "phrase+clicks"],
        compare=[unlearned],
        limit=2,
        at_least=2,
    )
    # then
    runs = [figures, *figures["further"]]
    names = [(run["version"].removeprefix(figures["version"]), run["mode"]) for run in runs]
    assert names == [
        ("", "clicks"),
        ("", "phrase+clicks"),
        (" (2)", "clicks"),
        (" (2)", "phrase+clicks"),
    ]
    same = [
        row
        for row in figures["comparisons"]
        if row["of"].endswith("(2), clicks") and row["against"] == figures["label"]
    ]
    assert len(same) == 2 * 7
    assert {row["mean"] for row in same} == {0.0}
    assert {row["interval"] for row in same} == {(0.0, 0.0)}


def test_clicks_that_miss_stand_beside_exact_ones(unlearned: Path, shard: Path) -> None:
    figures = main(
        unlearned, data=[shard], modes=["clicks", "phrase"], jitters=[0, 0.5], limit=3, at_least=1
    )
    runs = [figures, *figures["further"]]
    assert [run["way"] for run in runs] == ["clicks", "clicks, jitter 0.5", "phrase"]
    against = {(row["of"], row["against"]) for row in figures["comparisons"]}
    assert (runs[1]["label"], runs[0]["label"]) in against


def test_probes_join_the_report(unlearned: Path, shard: Path) -> None:
    seen: list[tuple[int, int]] = []
    figures = main(
        unlearned,
        data=[shard],
        probes=True,
        limit=3,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (6, 6)
    tests = figures["probes"]
    assert tests["phrase alone"]["voc"]["aim"] == 0.72
    assert tests["phrase alone"]["voc"]["reached"] is False
    assert "one more click, the least of the gains from 1 to 10" in tests


def test_an_interrupt_reports_what_was_asked_till_then(unlearned: Path, shard: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    figures = main(unlearned, data=[shard], at_least=1, progress=interrupt)
    assert figures["cases"] == 4
    assert figures["complete"] is False
    assert figures["asked"] == 18


@pytest.mark.parametrize(
    ("options", "words"), [({"at_least": 0}, "1 to 20"), ({"sources": ["coco"]}, "no object")]
)
def test_what_cannot_be_measured_is_refused(
    unlearned: Path, shard: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        main(unlearned, data=[shard], **options)


def test_trained_categories_are_known_by_their_common_names(
    unlearned: Path, tmp_path: Path
) -> None:
    loaded = checkpoint.load(unlearned)
    metrics = {"categories": ["tvmonitor", "cat"]}
    checkpoint.save(tmp_path / "tv", loaded.network(), loaded.words, loaded.vectors, metrics)
    assert Checkpoint(tmp_path / "tv", device="cpu").categories == {"tv", "cat"}


def test_the_shipped_checkpoint_finds_plain_shapes(shard: Path) -> None:
    figures = main("shipped", data=[shard], limit=2, at_least=1)
    assert figures["noc"]["85"] <= 5


@pytest.mark.slow
def test_the_command_prints_its_tables(unlearned: Path, shard: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [*command(unlearned, shard, tmp_path / "f.json"), "--limit", "2", "--probes"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "160"},
    )
    assert done.returncode == 0, done.stderr
    assert "NoC@85" in done.stdout
    assert "Behaviour tests" in done.stdout
    assert json.loads((tmp_path / "f.json").read_text())["cases"] == 2


@pytest.mark.slow
def test_ctrl_c_writes_what_was_measured(
    unlearned: Path, make_members: Callable[..., Any], make_shard: Any, drawn: Any, tmp_path: Path
) -> None:
    # given more than can be measured in the time
    picture, instances = drawn([(1, (10, 10, 90, 70), (200, 30, 30))], 120, 100)
    one = make_members(picture, instances, [(1, "dog", False)])
    many = make_shard([(f"picture-{n}", one) for n in range(3000)])
    process = subprocess.Popen(
        [*command(unlearned, many, tmp_path / "f.json"), "--csv", str(tmp_path / "started.csv")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "FORCE_COLOR": "1", "COLUMNS": "120"},
    )
    # when it counts, and Ctrl-C is pressed
    assert process.stdout is not None
    shown = ""
    while not re.search(r"[1-9]\d*/3000", shown):
        shown += process.stdout.read(64)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    # then
    assert process.wait() == 130, rest
    written = json.loads((tmp_path / "f.json").read_text())
    assert written["complete"] is False
    assert 0 < written["cases"] < 3000
    assert "Stopped before the end" in rest


def command(checkpoint: Path, data: Path, json_file: Path) -> list[str]:
    options = ["--data", str(data), "--json", str(json_file)]
    return [sys.executable, "-m", "backend.cli", "evaluate", str(checkpoint), *options]
