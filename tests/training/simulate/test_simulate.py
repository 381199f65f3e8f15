"""A team labels and a version learns: what each row holds, and how a simulation resumes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
import typer
from typer.testing import CliRunner

from training import commands
from training.data import PackDataset
from training.data.sample import side
from training.errors import RecipeError
from training.evaluation.statistics import Estimate
from training.finetune.fine_tune import fine_tune
from training.finetune.recipe import FineTuneRecipe
from training.gate.gate import Verdict
from training.simulate import simulate as module
from training.simulate import team as module_team
from training.simulate.simulate import (
    Plan,
    Row,
    Simulation,
    as_json,
    draw,
    sentences,
    simulate,
    table,
)
from training.simulate.team import Measured, ObjectResult, digest, split

SMALL = Plan(
    labels=(3, 5),
    recipe=FineTuneRecipe(
        steps=1, looks=1, minutes=60.0, crop=64, first_crop=0, pictures=1, distillation=0.0
    ),
)


@pytest.fixture(autouse=True)
def _few_questions(monkeypatch: pytest.MonkeyPatch, team: Path) -> None:
    """One thread, a few tested objects and clicks; the team's pictures are the general set."""
    torch.set_num_threads(1)
    monkeypatch.setattr(module_team, "LEAST_TESTED", 3)
    monkeypatch.setattr(module_team, "TESTED", 3)
    monkeypatch.setattr(module_team, "TESTED_PICTURES", 2)
    monkeypatch.setattr(module_team, "CLICKED", 1)
    monkeypatch.setattr(module_team, "MOST_CLICKS", 2)
    monkeypatch.setattr(module, "open_general_set", lambda: PackDataset([team]))


def verdicts(monkeypatch: pytest.MonkeyPatch, *passed: bool) -> list[tuple[Path, Path, int, int]]:
    """The gate decides like this, and notes what it was asked."""
    asked: list[tuple[Path, Path, int, int]] = []

    def judge(candidate: Path, champion: Path, own: Any, general: Any, **_: Any) -> Verdict:
        asked.append((candidate, champion, len(own), len(general)))
        return Verdict(passed[len(asked) - 1], "Because.", {})

    monkeypatch.setattr(module, "judge", judge)
    return asked


def test_rows_show_the_version_that_serves(
    unlearned: Path, team: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a gate that refuses the first candidate
    asked = verdicts(monkeypatch, False, True)
    shares: list[float] = []
    # when
    simulated = simulate(
        team, tmp_path / "out", SMALL, start=unlearned, tell=lambda done, what: shares.append(done)
    )
    # then
    assert simulated.team == "rings"
    first, second, third = simulated.rows
    assert [(row.labels, row.pictures, row.objects) for row in simulated.rows] == [
        (0, 0, 0), (3, 3, 9), (5, 5, 15),
    ]  # fmt: skip
    assert [row.passed for row in simulated.rows] == [None, False, True]
    # and the refused candidate is not what is measured, and nothing learns from it
    assert second.version == first.version != third.version
    assert second.measured == first.measured
    assert {champion for _, champion, _, _ in asked} == {asked[0][1]}
    # and all rows are about the same objects, which were never labeled
    objects = [
        [(result.picture, result.id) for result in row.measured.objects] for row in simulated.rows
    ]
    assert objects[0] == objects[1] == objects[2]
    assert len(objects[0]) == 4
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_simulation_resumes(
    unlearned: Path, team: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given one that is interrupted in its second training
    verdicts(monkeypatch, True, True)
    trained: list[Path] = []

    def interrupted(champion: Path, *rest: Any, **more: Any) -> Any:
        trained.append(champion)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return fine_tune(champion, *rest, **more)

    monkeypatch.setattr(module, "fine_tune", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate(team, tmp_path / "out", SMALL, start=unlearned)
    # when
    simulated = simulate(team, tmp_path / "out", SMALL, start=unlearned)
    # then only the rest was done, from the version of the first training
    assert len(trained) == 3
    assert trained[1] == trained[2] != trained[0]
    assert [row.pictures for row in simulated.rows] == [0, 3, 5]
    # and another simulation is refused
    with pytest.raises(RecipeError, match="another simulation"):
        simulate(team, tmp_path / "out", Plan(labels=(3,)), start=unlearned)
    # and so is a row that cannot be read
    (tmp_path / "out" / "row-1.json").write_text('{"row": {}}')
    with pytest.raises(RecipeError, match=r"row-1.json .* delete it"):
        simulate(team, tmp_path / "out", SMALL, start=unlearned)


def test_a_single_picture_that_is_held_out_trains_nothing(
    unlearned: Path, team: Path, tmp_path: Path
) -> None:
    # given a seed of which the first picture to be labeled is held out
    dataset = PackDataset([team])
    firsts = ((seed, split(dataset, seed).pool[0]) for seed in range(100))
    seed = next(seed for seed, i in firsts if side(digest(dataset[i].key)) == "validation")
    plan = replace(SMALL, labels=(1,), seed=seed)
    # when
    (start, row) = simulate(team, tmp_path / "out", plan, start=unlearned).rows
    # then
    assert (row.labels, row.pictures, row.objects, row.passed) == (1, 1, 3, None)
    assert (row.version, row.measured) == (start.version, start.measured)


def test_more_labels_than_half_of_the_pictures_are_not_given(
    unlearned: Path, team: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts(monkeypatch, False)
    plan = Plan(labels=(99,), strategy="saving", recipe=SMALL.recipe)
    (_, row) = simulate(team, tmp_path / "out", plan, start=unlearned).rows
    assert (row.labels, row.pictures) == (99, 15)


@pytest.mark.parametrize("labels", [(), (0,), (20, 20), (50, 20)])
def test_numbers_of_labels_ascend(labels: tuple[int, ...]) -> None:
    with pytest.raises(RecipeError, match="ascending"):
        Plan(labels=labels)


def result(picture: str, noc: int, interactions: int, share: float = 0.5) -> ObjectResult:
    return ObjectResult(picture, 1, (noc, noc, 20), (0.5, 0.75, 0.9), interactions, share)


@pytest.fixture
def simulation() -> Simulation:
    """Four clicks before; a click and a half with three labeled pictures."""
    alone = (("a", 0.25), ("b", 0.5))
    before = Measured((result("a", 4, 4), result("b", 4, 4)), alone)
    after = Measured((result("a", 2, 0, 0.0), result("b", 1, 3, 0.0)), alone)
    return Simulation(
        "rings",
        Plan(labels=(3,)),
        (
            Row(0, 0, 0, 0.0, None, "", "start", before),
            Row(3, 3, 9, 61.25, False, "Worse on the general set.", "start", after),
        ),
    )


def test_the_json_has_one_row_for_each_number_of_labels(simulation: Simulation) -> None:
    assert json.loads(json.dumps(as_json(simulation))) == {
        "team": "rings",
        "rows": [
            {
                "labels": 0, "pictures": 0, "objects": 0, "seconds": 0.0, "tested": 2,
                "iou": {"1": 0.5, "3": 0.75, "10": 0.9},
                "noc": {"80": 4.0, "85": 4.0, "90": 20.0},
                "iou_label_alone": 0.375,
                "interactions_per_object": 4.5, "zero_interaction_share": 0.0,
            },
            {
                "labels": 3, "pictures": 3, "objects": 9, "seconds": 61.2, "tested": 2,
                "iou": {"1": 0.5, "3": 0.75, "10": 0.9},
                "noc": {"80": 1.5, "85": 1.5, "90": 20.0},
                "iou_label_alone": 0.375,
                "interactions_per_object": 1.5, "zero_interaction_share": 0.5,
            },
        ],
    }  # fmt: skip


def test_figures_have_intervals_by_picture(simulation: Simulation) -> None:
    assert simulation.rows[1].measured.figures()["interactions"] == Estimate(1.5, 0.0, 3.0, 2)
    # and the table and the sentences show them
    names, _, after = ([str(cell) for cell in column.cells] for column in table(simulation).columns)
    shown = dict(zip(names, after, strict=True))
    assert (shown["gate"], shown["interactions per object"]) == ("rejected", "1.5 ± 1.5")
    assert (shown["NoC@85"], shown["objects without any"]) == ("1.5 ± 0.5", "50%")
    said = sentences(simulation)
    assert said[0].startswith("4.0 clicks per object before; with 3 labeled pictures 1.5 clicks")
    assert said[1] == "3 labels: the gate kept start. Worse on the general set."


def test_objects_without_labels_have_no_figure_for_the_name_alone(
    simulation: Simulation, tmp_path: Path
) -> None:
    # given
    rows = tuple(replace(row, measured=replace(row.measured, labels=())) for row in simulation.rows)
    unnamed = replace(simulation, rows=rows)
    # when / then
    assert [row["iou_label_alone"] for row in as_json(unnamed)["rows"]] == [None, None]
    names, *columns = (list(column.cells) for column in table(unnamed).columns)
    place = names.index("IoU of the label alone")
    assert [column[place] for column in columns] == ["–", "–"]
    draw(unnamed, tmp_path / "curve.svg")


def test_the_curve_is_drawn(simulation: Simulation, tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.svg"):
        draw(simulation, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert "<svg" in (tmp_path / "c.svg").read_text()


app = typer.Typer()
app.command()(commands.simulate)


def test_impossible_options_are_errors() -> None:
    result = CliRunner().invoke(app, ["--team", "nowhere.tar", "--labels", "50,20"])
    assert isinstance(result.exception, RecipeError)
    assert "ascending and above 0" in str(result.exception)


def test_that_results_can_be_written_is_seen_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given what takes long
    monkeypatch.setattr(module, "simulate", Mock(side_effect=RecipeError("it has begun")))
    (tmp_path / "file").touch()
    # when / then
    for option, place in (
        ("--json", tmp_path),
        ("--json", tmp_path / "file" / "figures.json"),
        ("--picture", tmp_path / "curve.txt"),
    ):
        result = CliRunner().invoke(app, ["--team", "nowhere.tar", option, str(place)])
        assert result.exit_code == 2
    # and a missing folder is made
    result = CliRunner().invoke(
        app, ["--team", "nowhere.tar", "--json", str(tmp_path / "new" / "figures.json")]
    )
    assert "it has begun" in str(result.exception)
    assert (tmp_path / "new").is_dir()


def test_numbers_of_labels_are_separated_by_commas() -> None:
    assert commands._numbers("20, 50") == (20, 50)
    with pytest.raises(typer.BadParameter, match=r"as in 20,50"):
        commands._numbers("20;50")
