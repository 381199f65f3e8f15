"""A real Label Studio serves tasks in the order that the scoring job wished."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from backend.db.engine import Database
from backend.demo.label_studio_server import label_studio
from backend.label_studio.client import LabelStudio
from backend.label_studio.payloads import Project, SetupRequest
from backend.label_studio.projects import Projects
from backend.learning import score_job
from backend.learning.scores import Scores
from backend.registry.versions import Registry
from backend.settings import Settings
from tests.backend.conftest import photograph
from tests.backend.learning.progress import RecordedProgress
from tests.backend.learning.studio import Ask
from tests.backend.learning.versions import make_version

CONFIG = Path(__file__).parents[3] / "plugin_config" / "click_and_phrase.xml"


def served(studio: LabelStudio, project: int, count: int) -> list[int]:
    """The tasks that an annotator is given who submits each."""
    tasks = []
    for _ in range(count):
        task = int(studio.get(f"/api/projects/{project}/next")["id"])
        studio.create_annotation(task, [])
        tasks.append(task)
    return tasks


def wished(scores: Scores) -> list[int]:
    """The order of the scores as they were written."""
    written = {task: row.score for task, row in scores.all().items() if row.score is not None}
    return sorted(written, key=lambda task: written[task])


@pytest.mark.slow
def test_a_real_label_studio_serves_in_the_order_of_the_scores(
    tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_job, "CHUNK", 2)
    database = Database(f"sqlite:///{tmp_path / 'own.db'}")
    (tmp_path / "own.db").write_bytes(migrated.read_bytes())
    with label_studio(tmp_path / "studio") as server:
        # given: a project of nine tasks, one of them with a broken picture
        studio = LabelStudio(server.url, server.token)
        number = int(studio.create_project("scores", CONFIG.read_text())["id"])
        for seed in range(8):
            studio.upload(number, f"{seed}.png", photograph((160, 120), seed % 6))
        missing = [{"data": {"image": "/data/upload/none.png"}}]
        path = f"/api/projects/{number}/import"
        (broken,) = studio.post(path, missing, return_task_ids="true")["task_ids"]
        project = Project.read(studio.project(number))
        Projects(database).remember(SetupRequest(project, CONFIG.read_text(), "", ""))
        settings = Settings(
            data=tmp_path / "data",
            checkpoint=str(make_version(tmp_path, 0)),
            device="cpu",
            label_studio_url=server.url,
            label_studio_token=SecretStr(server.token),
        )
        registry = Registry(database, settings)
        base = registry.base_name

        def run(
            progress: RecordedProgress | None = None, trigger: str = "promotion"
        ) -> dict[str, object]:
            job = Ask(project.key, trigger)
            return score_job.score(job, settings, database, progress or RecordedProgress())

        # A project that serves its tasks one after another costs no scoring.
        assert "--sampling" in str(run()["stopped"])
        studio.patch_project(number, sampling=score_job.BY_SCORE)

        # when
        summary = run()

        # then it serves what the scores say, the broken picture last
        assert (summary["scored"], summary["unreadable"]) == (8, 1)
        studio.patch_project(number, model_version=base)
        order = wished(Scores(database, project.key, base, "saving"))
        assert order[-1] == broken
        assert served(studio, number, 3) == order[:3]

        # when a version is promoted, and another one while its scores are on their way
        first, second = (
            registry.add(make_version(tmp_path, version_seed), project=project.key).name
            for version_seed in (1, 2)
        )
        registry.promote(first, who="test")

        def promote() -> None:
            if wished(Scores(database, project.key, first, "saving")):
                registry.promote(second, who="test")

        stopped = run(RecordedProgress(check=promote))
        assert second in str(stopped["stopped"])
        assert 0 < len(wished(Scores(database, project.key, first, "saving"))) < 6

        again = run()
        assert (again["version"], again["left"], again["looked_at"]) == (second, 6, 6)
        studio.patch_project(number, model_version=second)
        rescored = wished(Scores(database, project.key, second, "saving"))
        assert sorted(rescored) == sorted(order[3:])
        assert served(studio, number, 6) == rescored

        # and no prediction of a version that served before is left where tasks were
        left = {
            prediction["model_version"]
            for task in rescored
            for prediction in studio.predictions(task)
        }
        assert left == {second}
        assert all(len(studio.predictions(task)) == 1 for task in rescored)
    database.close()
