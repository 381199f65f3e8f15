"""The commands about versions."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from backend.cli.main import app
from backend.errors import VersionError
from backend.registry.versions import Registry
from backend.settings import Settings, get_settings
from backend.worker import celery_app
from tests.backend.databases import connect
from tests.backend.registry.conftest import SIX, MakeCheckpoint

Run = Callable[..., Result]


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """``run("promote", name)``; a PhraseClickError is raised, as ``main`` receives it."""
    monkeypatch.setenv("PHRASECLICK_DATA", str(settings.data))
    monkeypatch.setenv("PHRASECLICK_CHECKPOINT", settings.checkpoint)
    monkeypatch.setenv("COLUMNS", "200")
    get_settings.cache_clear()

    def running(*arguments: str) -> Result:
        done = CliRunner().invoke(app, [*arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    yield running
    get_settings.cache_clear()


@pytest.fixture
def here(settings: Settings) -> Registry:
    """With project 6 connected."""
    registry = Registry.open(settings)
    connect(registry.database, SIX)
    return registry


def listed(run: Run) -> dict[str, object]:
    printed: dict[str, object] = json.loads(run("versions", "--json").stdout)
    return printed


def test_import_promote_and_roll_back(
    run: Run, here: Registry, make_checkpoint: MakeCheckpoint
) -> None:
    first, second = make_checkpoint(1), make_checkpoint(2)
    base = listed(run)["base"]

    names = []
    for path in (first, second):
        said = run("import-version", str(path), "--project", "6").stdout
        names.append(said.split()[0])
        assert f"phraseclick promote {names[-1]}" in said
    assert "was added for project 6, state: candidate" in said

    said = run("promote", names[0][:10], "--why", "better").stdout
    assert f"{names[0]} now serves instead of the default version" in said
    run("promote", names[1])
    assert listed(run)["champions"] == {SIX: names[1]}
    assert f"{names[1]} already serves project 6." in run("promote", names[1]).stdout

    assert (
        f"{names[0]} now serves instead of {names[1]}" in run("rollback", "--project", "6").stdout
    )
    assert listed(run)["champions"] == {SIX: names[0]}
    run("rollback", "--project", "6")
    assert listed(run)["champions"] == {SIX: base}
    with pytest.raises(VersionError, match="to roll back"):
        run("rollback", "--project", "6")
    assert [entry.why for entry in here.history()] == ["better", "by hand", "by hand", "by hand"]
    assert all(entry.who for entry in here.history())


def test_a_promotion_wakes_the_worker(
    run: Run, here: Registry, settings: Settings, make_checkpoint: MakeCheckpoint
) -> None:
    name = here.add(make_checkpoint(1), project=SIX).name

    run("promote", name)

    (message,) = (settings.data / "queue" / "messages").iterdir()
    assert celery_app.ANNOUNCE in message.read_text()


def test_a_rollback_works_without_a_broker(
    run: Run, here: Registry, make_checkpoint: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.promote(here.add(make_checkpoint(1), project=SIX).name, who="ann")
    monkeypatch.setenv("PHRASECLICK_BROKER_URL", "redis://127.0.0.1:1/0")
    get_settings.cache_clear()

    done = run("rollback", "--project", SIX)

    assert done.exit_code == 0
    assert "could not be notified" in done.stderr
    assert here.champions().by_project[SIX].version == ""


def test_the_list_shows_who_serves_and_why(
    run: Run, here: Registry, make_checkpoint: MakeCheckpoint
) -> None:
    name = here.add(make_checkpoint(1), project=SIX, data={"labels": 52}).name
    here.promote(name, who="job 7", why="NoC@85 4.1 → 3.2 [gate]")

    said = run("versions", "--project", "6").stdout

    (row,) = [line for line in said.splitlines() if line.strip().startswith(name)]
    assert row.split()[:3] == [name, "6", "candidate"]
    assert "52" in row
    assert row.split()[-1] == "6"
    assert f"promotion for project 6 to {name} by job 7: NoC@85 4.1 → 3.2 [gate]" in said


def test_compare_shows_every_figure_of_both(
    run: Run, here: Registry, make_checkpoint: MakeCheckpoint
) -> None:
    recipe = {"rate": 0.001}
    one = here.add(make_checkpoint(1, noc={"85": 4.0}, recipe=recipe), data={"labels": 20}).name
    other = here.add(make_checkpoint(2, noc={"85": 3.5}, iou=0.8), data={"labels": 40}).name

    said = run("compare", one, other).stdout

    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.strip()}
    assert rows["noc.85"] == ["4", "3.5", "-0.5"]
    assert rows["iou"] == ["-", "0.8"]
    assert "rate" not in said
    assert rows["data:"] == ["labels", "20", "40"]


def test_compare_measures_both_on_the_general_set(
    run: Run,
    here: Registry,
    make_checkpoint: MakeCheckpoint,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    # given: a general set of two pictures with a disc each
    folder = tmp_path / "general"
    folder.mkdir()
    for number in range(2):
        disc = np.hypot(*np.ogrid[-32:32, -48:48]) < 20 + number
        pixels = np.where(disc[..., None], (200, 40, 40), (30, 90, 60)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")
        Image.fromarray(disc.astype(np.uint8) * 255).save(folder / f"{number}.png")
    monkeypatch.setenv("PHRASECLICK_GATE_SET", str(folder))
    get_settings.cache_clear()
    one, other = (here.add(make_checkpoint(number)).name for number in (1, 2))
    # when
    said = run("compare", one, other, "--measure").stdout
    # then
    assert f"Champion: {one}\nCandidate: {other}" in said
    assert "The general set: 2 objects on 2 pictures" in said
    assert "interactions to 85 %" in said
    assert "Nothing was promoted" in said
    assert here.history() == []


def test_compare_refuses_to_measure_a_version_against_itself(
    run: Run, here: Registry, make_checkpoint: MakeCheckpoint
) -> None:
    name = here.add(make_checkpoint(1)).name

    with pytest.raises(VersionError, match="name two versions"):
        run("compare", name, name, "--measure")


def test_compare_accepts_a_project_only_with_measure(run: Run, here: Registry) -> None:
    assert run("compare", "a", "b", "--project", "6").exit_code == 2


def test_compare_says_when_there_is_nothing_to_compare(
    run: Run, here: Registry, make_checkpoint: MakeCheckpoint
) -> None:
    name = here.add(make_checkpoint(1)).name

    assert "phraseclick evaluate" in run("compare", name, "base").stdout


def test_prune_lists_what_it_deletes_and_dry_run_only_lists(
    run: Run, here: Registry, make_checkpoint: MakeCheckpoint
) -> None:
    name = here.add(make_checkpoint(1), project=SIX).name
    with here.database.write() as connection:
        connection.exec_driver_sql("update versions set created_at = '2026-01-01 00:00:00.000000'")

    assert f"Would prune {name}" in run("versions", "--prune", "--keep=0", "--dry-run").stdout
    assert here.store.has(name)
    assert run("versions", "--prune").stdout.startswith("0 versions")
    said = run("versions", "--prune", "--keep=0").stdout
    assert f"Pruned {name}" in said
    assert "1 version, " in said
    assert not here.store.has(name)


def test_a_checkpoint_of_something_else_is_not_imported(
    run: Run, here: Registry, make_checkpoint: MakeCheckpoint
) -> None:
    from model import checkpoint_files as files
    from model.errors import CheckpointError

    path = make_checkpoint(1)
    (path / files.CONFIG).write_text('{"form": "late", "channels": 16, "word_dim": 8}')
    contents = {file: (path / file).read_bytes() for file in files.FILES}
    (path / files.SUMS).write_text(files.sums_text(contents))

    with pytest.raises(CheckpointError, match="do not fit"):
        run("import-version", str(path))
    assert here.all() == []
