"""``phraseclick report``: tables, four kinds of files, errors as sentences."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from backend.cli.main import app
from backend.db.engine import Database
from backend.errors import FilterError, ReportError
from backend.settings import get_settings
from tests.backend.databases import connect
from tests.backend.reports import big

Run = Callable[..., Result]


@pytest.fixture
def run(team: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command on the team's data."""
    monkeypatch.setenv("PHRASECLICK_DATA", str(team.data))
    monkeypatch.delenv("PHRASECLICK_DATABASE_URL", raising=False)
    get_settings.cache_clear()

    def running(*arguments: str, project: str = "6", width: int = 100) -> Result:
        named = ("--project", project) if project else ()
        command = ["report", *named, "--data", str(team.data), *arguments]
        return CliRunner().invoke(app, command, env={"COLUMNS": str(width)})

    return running


def test_the_terminal_shows_what_labeling_costs(run: Run, team: Any) -> None:
    said = run(width=200).stdout

    for wanted in ("Project 6", "team-4", "bob@example.com", "=Bus", "with a phrase", "agree"):
        assert wanted in said
    assert "Before and after each promotion" in said
    assert f"Tasks: the 20 costliest of {team.reports.project(team.key).tasks}" in said


def test_a_narrow_terminal_loses_no_figure(run: Run) -> None:
    lines = run(width=80).stdout.splitlines()

    assert max(len(line) for line in lines) <= 80
    assert not any("…" in line for line in lines)


def test_filters_narrow_it(run: Run) -> None:
    said = run("--label", "=Bus", "--annotator", "bob@example.com", "--phrase", width=200).stdout

    assert "Filters: label =Bus, annotator 2, made with a phrase." in said
    assert "Ampel" not in said


def test_a_filter_that_leaves_nothing_says_so(run: Run) -> None:
    assert "Nothing in this project matches these filters." in run("--since", "2027-01-01").stdout


def test_json(run: Run, team: Any, tmp_path: Path) -> None:
    run("--json", str(tmp_path / "report.json"))

    report = json.loads((tmp_path / "report.json").read_text())
    assert sum(row["interactions"] for row in report["tasks"]) == team.story.interactions[team.key]
    assert json.loads(run("--json", "-").stdout)["tasks"] == report["tasks"]


def test_parquet_has_types(run: Run, team: Any, tmp_path: Path) -> None:
    run("--parquet", str(tmp_path / "regions.parquet"), "--rows", "regions")

    table = pq.read_table(tmp_path / "regions.parquet")
    assert table.num_rows == team.story.regions[team.key]
    assert table.schema.field("interactions").type == pa.int64()
    assert table.schema.field("seconds").type == pa.float64()
    assert table.schema.field("submitted_at").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("ious").type == pa.list_(pa.float64())
    assert table.schema.metadata[b"project"] == team.key.encode()
    # JSON is unchanged: no program reads its text as a formula.
    assert set(table["label"].to_pylist()) == set(big.LABELS)
    unknown = table.filter(pa.compute.invert(table["known"]))
    assert unknown["interactions"].null_count == team.story.by_hand[team.key]


def test_several_files_at_once(run: Run, tmp_path: Path) -> None:
    files = {
        f"--{kind}": tmp_path / f"report.{kind}" for kind in ("json", "html", "csv", "parquet")
    }

    done = run(*(str(part) for pair in files.items() for part in pair))

    assert all(file.stat().st_size > 1000 for file in files.values())
    assert "<h1>Project 6</h1>" in files["--html"].read_text()
    assert done.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        path.name for path in files.values()
    )


@pytest.mark.parametrize("kind", ["json", "html", "csv", "parquet"])
def test_a_file_that_cannot_be_written_says_why_and_leaves_nothing(
    run: Run, tmp_path: Path, kind: str
) -> None:
    for place in (tmp_path / "nowhere" / "file", tmp_path):
        done = run(f"--{kind}", str(place))

        assert isinstance(done.exception, ReportError)
        assert f"{place} cannot be written" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_file_before_stays_as_it_was_where_the_new_one_fails(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tasks.csv"
    file.write_text("before")

    def broken(*_: object) -> str:
        raise RuntimeError("in the middle")

    monkeypatch.setattr("backend.reports.output.cell", broken)

    assert isinstance(run("--csv", str(file)).exception, RuntimeError)
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_an_unknown_project_is_refused(run: Run) -> None:
    done = run(project="99")

    assert isinstance(done.exception, ReportError)
    assert "Project 99 is unknown" in str(done.exception)


def test_which_project_must_be_said_where_there_are_two(run: Run) -> None:
    assert "--project: 6, 7" in str(run(project="").exception)


def test_with_one_project_it_needs_no_name(migrated: Path, tmp_path: Path, run: Run) -> None:
    shutil.copy(migrated, tmp_path / "phraseclick.db")
    database = Database(f"sqlite:///{tmp_path / 'phraseclick.db'}")
    connect(database, big.PROJECT)
    database.close()

    done = CliRunner().invoke(app, ["report", "--data", str(tmp_path)])

    assert "Nobody has clicked, typed or submitted in this project yet." in done.stdout


def test_an_empty_data_folder_says_what_to_do(tmp_path: Path, run: Run) -> None:
    done = CliRunner().invoke(app, ["report", "--data", str(tmp_path)])

    assert isinstance(done.exception, ReportError)
    assert "phraseclick connect" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--since", "soon"), FilterError),
        (("--annotator", "eve"), FilterError),
        (("--rows", "objects"), ReportError),
        (("--json", "-", "--csv", "-"), ReportError),
    ],
)
def test_nonsense_is_refused_with_a_sentence(
    run: Run, arguments: tuple[str, ...], error: type[Exception]
) -> None:
    done = run(*arguments)

    assert isinstance(done.exception, error)
    assert str(done.exception).endswith(".")
