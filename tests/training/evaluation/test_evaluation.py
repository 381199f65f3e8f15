"""The whole evaluation through the served predictor, on a checkpoint that learned nothing."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from model import checkpoint
from training import commands
from training.errors import DataError
from training.evaluation.evaluation import main
from training.evaluation.measurement import Checkpoint
from training.evaluation.protocol import MODES, Answer, Mode


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_has_its_figures(unlearned: Path, shard: Path, mode: Mode) -> None:
    # given / when
    seen: list[tuple[int, int]] = []
    figures = main(
        unlearned,
        data=[shard],
        modes=[mode],
        limit=2,
        progress=lambda done, total: seen.append((done, total)),
    )
    # then it is what other programs read
    written = json.loads(json.dumps(figures, allow_nan=False))
    assert (written["mode"], written["cases"], written["complete"]) == (mode, 2, True)
    for name, keys in (
        ("noc", {"80", "85", "90"}),
        ("iou", {"1", "2", "3", "5", "10"}),
        ("failures", {"80", "85", "90"}),
    ):
        assert set(written[name]) == keys
        assert all(isinstance(value, int | float) for value in written[name].values())
    assert written["version"].startswith("unlearned-")
    assert written["self_check"] == {"cases": 2, "noc": 1.0}
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
    same = {row["mean"] for row in figures["comparisons"] if row["of"].endswith("(2), clicks")}
    assert same == {0.0}


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


def test_a_source_without_objects_is_refused(unlearned: Path, shard: Path) -> None:
    with pytest.raises(DataError, match="no object"):
        main(unlearned, data=[shard], sources=["coco"])


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


app = typer.Typer()
app.command()(commands.evaluate)


def test_the_command_prints_its_tables(unlearned: Path, shard: Path, tmp_path: Path) -> None:
    options = ["--data", str(shard), "--json", str(tmp_path / "f.json"), "--limit", "2"]
    done = CliRunner().invoke(app, [str(unlearned), *options, "--probes"], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    assert "NoC@85" in done.output
    assert "Behaviour tests" in done.output
    assert json.loads((tmp_path / "f.json").read_text())["cases"] == 2


def test_ctrl_c_writes_what_was_measured(
    unlearned: Path, shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given somebody who presses it at the fifth question
    asked, look_at = itertools.count(1), Checkpoint.look_at

    def interrupted(self: Checkpoint, *rest: Any) -> Answer:
        if next(asked) == 5:
            raise KeyboardInterrupt
        return look_at(self, *rest)

    monkeypatch.setattr(Checkpoint, "look_at", interrupted)
    # when
    options = ["--data", str(shard), "--json", str(tmp_path / "f.json"), "--at-least", "1"]
    done = CliRunner().invoke(app, [str(unlearned), *options, "--csv", str(tmp_path / "f.csv")])
    # then
    assert done.exit_code == 130
    assert "Stopped before the end" in done.output
    written = json.loads((tmp_path / "f.json").read_text())
    assert (written["complete"], written["cases"], written["asked"]) == (False, 4, 18)
    assert len((tmp_path / "f.csv").read_text().splitlines()) == 1 + 4
