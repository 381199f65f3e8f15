"""The scoring job: every remaining task gets one score, in one order, by the serving version; the
job can be stopped, resumes, gives way, and waits."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.db.engine import Database
from backend.errors import CancelledError, JobError, LabelStudioError
from backend.label_studio import client
from backend.learning import score_job, scores
from backend.learning.scores import Scores
from backend.registry.versions import Registry
from backend.settings import Settings
from model.crop import Box
from model.predictor import Embedding, Instance, Predictor
from tests.backend.learning.progress import RecordedProgress
from tests.backend.learning.studio import PROJECT, Ask, Studio
from tests.backend.learning.versions import make_version


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Studio:
    label_studio = Studio()
    monkeypatch.setattr(score_job, "LabelStudioHosts", lambda *_: label_studio)
    monkeypatch.setattr(client, "PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(score_job, "CHUNK", 2)
    return label_studio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    base = make_version(tmp_path, 0)
    return Settings(data=tmp_path / "data", checkpoint=str(base), device="cpu")


@pytest.fixture
def registry(database: Database, settings: Settings) -> Registry:
    return Registry(database, settings)


def run(
    settings: Settings, database: Database, progress: RecordedProgress | None = None, **request: Any
) -> dict[str, Any]:
    return score_job.score(Ask(request=request), settings, database, progress or RecordedProgress())


@pytest.mark.parametrize("method", ["clicks", "saving", "uncertainty", "random"])
def test_every_task_that_is_left_gets_one_score_of_the_version_that_serves(
    method: str, studio: Studio, settings: Settings, database: Database, registry: Registry
) -> None:
    tasks = studio.add(*range(5))
    studio.held[tasks[1]]["is_labeled"] = True
    progress = RecordedProgress()

    summary = run(settings, database, progress, method=method)

    assert summary["version"] == registry.base_name
    assert (summary["left"], summary["scored"], summary["unreadable"]) == (4, 4, 0)
    assert summary["stopped"] == ""
    assert sorted(studio.order(registry.base_name)) == sorted(set(tasks) - {tasks[1]})
    assert len(studio.made) == 4
    assert all(0 < prediction["score"] < 1 for prediction in studio.made.values())
    assert progress.phases == ["listing", "scoring", "ordering"]
    assert progress.done[-1] == 1.0


def test_the_task_of_which_most_is_expected_comes_first(
    studio: Studio, settings: Settings, database: Database, registry: Registry
) -> None:
    studio.add(*range(5))

    run(settings, database)

    rows = Scores(database, PROJECT, registry.base_name, "saving").all()
    served = studio.order(registry.base_name)
    assert rows[served[0]].expected == max(row.expected or 0.0 for row in rows.values())


def test_alike_pictures_do_not_come_in_a_row(
    studio: Studio, settings: Settings, database: Database, registry: Registry
) -> None:
    # given: three scenes, two shots of each
    tasks = studio.add(0, 0, 1, 1, 2, 2)

    run(settings, database)

    scenes = [tasks.index(task) // 2 for task in studio.order(registry.base_name)]
    assert all(one != other for one, other in pairwise(scenes[:5]))


def test_what_is_scored_is_not_scored_again_and_new_tasks_move_nothing_else(
    studio: Studio, settings: Settings, database: Database, registry: Registry
) -> None:
    studio.add(*range(4))
    first = run(settings, database)
    before = {prediction["task"]: prediction["score"] for prediction in studio.made.values()}
    studio.add(7)

    second = run(settings, database)

    assert (first["looked_at"], second["looked_at"]) == (4, 1)
    after = {prediction["task"]: prediction["score"] for prediction in studio.made.values()}
    assert len(after) == 5
    assert sum(before[task] != after[task] for task in before) <= 1
    assert run(settings, database)["written"] == 0


def test_a_stopped_job_resumes(
    studio: Studio, settings: Settings, database: Database, registry: Registry
) -> None:
    studio.add(*range(6))

    def stop(name: str) -> None:
        if len(studio.made) == 2 and name == "tasks_of":
            raise CancelledError("Cancelled.")

    studio.before_call = stop
    with pytest.raises(CancelledError):
        run(settings, database)
    studio.before_call = lambda name: None

    assert run(settings, database)["looked_at"] == 4
    assert len(studio.order(registry.base_name)) == 6
    assert len(studio.made) == 6


def test_a_newer_version_ends_the_job_and_its_own_replaces_the_scores(
    studio: Studio,
    settings: Settings,
    database: Database,
    registry: Registry,
    tmp_path: Path,
) -> None:
    tasks = studio.add(*range(5))
    newer = registry.add(make_version(tmp_path, 1), project=PROJECT).name

    def promote(name: str) -> None:
        if name == "create" and len(studio.made) == 1:
            registry.promote(newer, who="test")

    studio.before_call = promote
    progress = RecordedProgress()
    stopped = run(settings, database, progress)
    studio.before_call = lambda name: None

    assert stopped["version"] == registry.base_name
    assert newer in stopped["stopped"]
    assert stopped["stopped"] in progress.lines
    assert stopped["looked_at"] < 5
    assert len(studio.order(registry.base_name)) < 5

    again = run(settings, database)

    assert (again["version"], again["looked_at"], again["stopped"]) == (newer, 5, "")
    assert sorted(studio.order(newer)) == tasks
    assert {prediction["model_version"] for prediction in studio.made.values()} == {newer}, (
        "the old are gone"
    )
    assert len(studio.made) == 5


def test_a_promotion_elsewhere_stops_nothing(
    studio: Studio,
    settings: Settings,
    database: Database,
    registry: Registry,
    tmp_path: Path,
) -> None:
    studio.add(*range(3))
    other = registry.add(make_version(tmp_path, 1), project="7.1").name

    def promote(name: str) -> None:
        if name == "create" and not registry.last_promotion():
            registry.promote(other, who="test")

    studio.before_call = promote

    assert run(settings, database)["stopped"] == ""
    assert len(studio.made) == 3


def test_pictures_that_cannot_be_read_are_counted_and_come_last(
    studio: Studio, settings: Settings, database: Database, registry: Registry
) -> None:
    tasks = studio.add(*range(4))
    studio.held[tasks[0]]["data"] = {"image": "data:image/png;base64,AAAA"}
    studio.held[tasks[2]]["data"] = {}
    progress = RecordedProgress()

    summary = run(settings, database, progress)

    assert (summary["scored"], summary["unreadable"]) == (2, 2)
    served = studio.order(registry.base_name)
    assert set(served[:2]) == {tasks[1], tasks[3]}
    assert len(served) == 4
    rows = Scores(database, PROJECT, registry.base_name, "saving").all()
    assert rows[tasks[0]].error
    assert any(f"Task {tasks[2]} cannot be scored" in line for line in progress.lines)

    # when one of them can be read in the end
    studio.held[tasks[2]]["data"] = studio.held[tasks[1]]["data"]

    assert run(settings, database)["unreadable"] == 1


def test_a_label_studio_that_is_away_is_waited_for(
    studio: Studio, settings: Settings, database: Database, registry: Registry
) -> None:
    studio.add(*range(3))
    gone = iter([2])

    def leave(name: str) -> None:
        if name == "create":
            studio.away = next(gone, studio.away)

    studio.before_call = leave
    progress = RecordedProgress()

    summary = run(settings, database, progress)

    assert summary["scored"] == 3
    assert len(studio.made) == 3
    assert sum("Waiting for Label Studio" in line for line in progress.lines) == 2


def test_a_label_studio_that_stays_away_ends_the_job_with_a_sentence(
    studio: Studio, settings: Settings, database: Database
) -> None:
    studio.add(0)
    studio.away = 100

    with pytest.raises(LabelStudioError, match="could not be reached"):
        run(settings, database)


def test_waiting_ends_when_the_job_is_cancelled(
    studio: Studio, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PAUSES_S", (600.0,))
    studio.away = 100

    def cancelled() -> None:
        raise CancelledError("Cancelled.")

    with pytest.raises(CancelledError):
        run(settings, database, RecordedProgress(check=cancelled))


def test_tasks_deleted_or_labeled_meanwhile_are_left_alone(
    studio: Studio, settings: Settings, database: Database, registry: Registry
) -> None:
    tasks = studio.add(*range(4))

    def change(name: str) -> None:
        if name == "create" and len(studio.made) == 0:
            studio.held.pop(tasks[1], None)
            studio.held[tasks[3]]["is_labeled"] = True

    studio.before_call = change
    summary = run(settings, database)

    assert {prediction["task"] for prediction in studio.made.values()} == {tasks[0], tasks[2]}
    assert summary["stopped"] == ""


def test_predictions_that_were_deleted_in_label_studio_are_written_again(
    studio: Studio, settings: Settings, database: Database, registry: Registry
) -> None:
    studio.add(*range(3))
    run(settings, database)
    studio.made.clear()

    summary = run(settings, database)

    assert (summary["looked_at"], summary["written"]) == (0, 3)
    assert len(studio.order(registry.base_name)) == 3


def test_masks_and_predictions_of_others_are_kept(
    studio: Studio, settings: Settings, database: Database, registry: Registry
) -> None:
    (task,) = studio.add(0)
    mine, theirs = ({"id": "m"},), ({"id": "t"},)
    name = registry.base_name
    studio.create_prediction(task, {"result": mine, "score": 0.3, "model_version": name})
    studio.create_prediction(task, {"result": [], "score": 0.1, "model_version": name})
    studio.create_prediction(task, {"result": theirs, "score": 0.2, "model_version": "sam"})

    run(settings, database)

    kept = {prediction["model_version"]: prediction for prediction in studio.made.values()}
    assert len(studio.made) == 2
    assert kept[name]["result"] == mine
    assert (kept["sam"]["result"], kept["sam"]["score"]) == (theirs, 0.2)


def test_masks_are_written_where_they_are_asked_for(
    studio: Studio, settings: Settings, database: Database, registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # given a version that finds an object by the first label's name
    def found_objects(_: Any, embedding: Embedding, names: list[str], least: float) -> Any:
        pixels = np.ones((8, 8), np.bool_)
        size = embedding.width, embedding.height
        return [(names[0], Instance(*size, Box(0, 0, 8, 8), pixels, 0.9))], [0.9]

    monkeypatch.setattr(Predictor, "instances_by_name", found_objects)
    studio.add(1, 2)
    run(settings, database)
    assert all(prediction["result"] == [] for prediction in studio.made.values())

    summary = run(settings, database, masks=True)

    assert summary["looked_at"] == 0
    assert len(studio.made) == 2
    for prediction in studio.made.values():
        assert {region["type"] for region in prediction["result"]} == {"brushlabels"}


def test_masks_are_those_of_the_version_that_serves_each_label(
    studio: Studio, settings: Settings, database: Database, registry: Registry,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    # given a champion that has not learned the project's label
    champion = registry.add(make_version(tmp_path, 1, labels={"kwyjibo": 9})).name
    registry.promote(champion, PROJECT, who="test")
    asked = set()

    def found_objects(self: Predictor, *_: Any) -> Any:
        asked.add(self.version)
        return [], [0.0]

    monkeypatch.setattr(Predictor, "instances_by_name", found_objects)
    studio.add(1)
    # when
    summary = run(settings, database, masks=True)
    # then
    assert summary["version"] == champion
    assert asked == {registry.base_name}


@pytest.mark.parametrize(
    ("trigger", "sampling", "scored"),
    [
        ("label_studio", "Sequential sampling", False),
        ("promotion", "Uncertainty sampling", True),
        ("hand", "Sequential sampling", True),
    ],
)
def test_only_projects_that_serve_by_score_are_scored_by_themselves(
    trigger: str, sampling: str, scored: bool, studio: Studio, settings: Settings,
    database: Database,
) -> None:  # fmt: skip
    studio.add(0)
    studio.sampling = sampling

    summary = score_job.score(Ask(trigger=trigger), settings, database, RecordedProgress())

    assert bool(studio.made) is scored
    assert ("--sampling" in summary["stopped"]) is not scored


def test_switched_off_or_unknown(studio: Studio, settings: Settings, database: Database) -> None:
    studio.add(0)
    off = settings.model_copy(update={"acquisition": "off"})

    assert "off" in run(off, database)["stopped"]
    assert studio.calls == []
    assert run(off, database, method="random")["scored"] == 1
    with pytest.raises(JobError, match="by 'luck'"):
        run(settings, database, method="luck")


def test_serving_never_waits_for_it(settings: Settings, studio: Studio, database: Database) -> None:
    """Its model, its cache and its threads are its own."""
    studio.add(0)
    made: list[dict[str, Any]] = []
    real = scores.Predictor

    def noted(*arguments: Any, **options: Any) -> Any:
        made.append(options)
        return real(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "Predictor", noted)
        run(settings, database)

    assert len(made) == 1
    assert made[0]["threads"] == settings.training_threads
    assert "beside" not in made[0]
