"""What is expected beside what it took: ranks, intervals, and the command that tells them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from backend.cli.main import app
from training.acquisition import acquisition_evaluation
from training.acquisition.acquisition_evaluation import Look, ranked
from training.errors import DataError


def look(needed: int, expected: float, uncertainty: float) -> Look:
    return Look("key", "voc", (needed,), expected, uncertainty, 0.1)


def test_a_perfect_rank_is_one_and_a_reversed_one_minus_one() -> None:
    looks = [look(n, n * 2.0, -float(n)) for n in range(1, 12)]

    figures = ranked(looks)

    assert figures["expected"]["correlation"] == 1.0
    assert figures["uncertainty"]["correlation"] == -1.0
    assert figures["difference"]["low"] > 0
    assert figures["mean_needed"] == 6.0


def test_chance_has_an_interval_around_nothing() -> None:
    random = np.random.default_rng(0)
    looks = [look(int(n), float(e), float(u)) for n, e, u in random.integers(1, 20, (60, 3))]

    figures = ranked(looks)

    for name in ("expected", "uncertainty", "difference"):
        assert figures[name]["low"] < 0 < figures[name]["high"]
    assert ranked(looks) == figures


def test_what_is_all_the_same_ranks_nothing() -> None:
    assert ranked([look(3, 1.0, 0.5) for _ in range(5)])["expected"]["correlation"] == 0.0


@pytest.mark.parametrize("named", [True, False])
def test_pictures_are_looked_at_with_and_without_names(
    named: bool, shard: Path, unlearned: Path
) -> None:
    done: list[tuple[int, int]] = []

    figures = acquisition_evaluation.main(
        unlearned, data=[shard], pictures=4, named=named, device="cpu",
        progress=lambda *it: done.append(it),
    )  # fmt: skip

    assert (figures["pictures"], figures["objects"]) == (4, 12)
    assert all(
        1 <= look["truth"] <= 20 and 1 <= look["expected"] <= 20 for look in figures["looks"]
    )
    assert done == [(place, 4) for place in range(4)]


def test_too_few_pictures_are_refused(shard: Path, unlearned: Path) -> None:
    with pytest.raises(DataError, match="too few"):
        acquisition_evaluation.main(unlearned, data=[shard], pictures=2, device="cpu")


def test_the_command_shows_and_writes_the_figures(
    shard: Path, unlearned: Path, tmp_path: Path
) -> None:
    file = tmp_path / "figures.json"
    arguments = [str(unlearned), "--data", str(shard), "--pictures", "3", "--device", "cpu"]

    done = CliRunner().invoke(app, ["acquisition", *arguments, "--json", str(file)])

    assert done.exit_code == 0, done.output
    assert "expected clicks" in done.output
    assert json.loads(file.read_text())["pictures"] == 3
