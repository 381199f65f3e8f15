"""Two versions compared: the gate's rules by project, setting and budget; simulated clicks on the
labeled objects."""

import itertools
from collections import Counter

import numpy as np
import pytest

from backend.errors import CancelledError, JobError
from backend.jobs.queue import Jobs
from backend.jobs.runner import load
from backend.learning.comparison import gate_rules
from backend.registry.champions import EVERYONE
from backend.registry.versions import Registry
from backend.samples.ingest import SampleStore
from backend.settings import Settings
from tests.backend.learning.progress import RecordedProgress
from tests.backend.learning.versions import make_version
from tests.backend.samples.studio import PROJECT, Studio, connected, region, square
from tests.backend.samples.studio_pictures import Team
from training.evaluation.measurement import Checkpoint
from training.finetune.recipe import Budget
from training.gate.rules import STANDARD, General


@pytest.mark.parametrize(
    ("project", "setting", "budget", "general", "questions"),
    [
        ("1.1", "warn", "quick", "warn", STANDARD.most_general // 2),
        ("1.1", "warn", "thorough", "warn", STANDARD.most_general),
        ("1.1", "veto", "quick", "veto", STANDARD.most_general),
        (EVERYONE, "warn", "quick", "veto", STANDARD.most_general),
    ],
)
def test_a_general_set_that_only_warns_gets_fewer_questions_after_a_quick_training(
    settings: Settings,
    project: str,
    setting: General,
    budget: Budget,
    general: General,
    questions: int,
) -> None:
    chosen = settings.model_copy(update={"gate_general": setting})

    rules = gate_rules(chosen, project, budget)

    assert (rules.general, rules.most_general) == (general, questions)


# -- replays


@pytest.fixture
def team(database, picture_host, settings, tmp_path):
    """Two labeled pictures, a base and a champion that took its place."""
    base = make_version(tmp_path, 1)
    settings = settings.model_copy(
        update={"checkpoint": str(base), "allow_private_addresses": True, "training_device": "cpu"}
    )
    connected(database)
    team = Team(Studio(), SampleStore(database), picture_host, settings)
    team.label(1, [region("a", square(4, 4, 16)), region("b", square(30, 20, 12), "Dog")])
    team.label(2, [region("c", square(10, 10, 20))])
    team.look()
    registry = Registry(database, settings)
    registry.add(make_version(tmp_path, 2), project=PROJECT.key)
    registry.promote("v2", who="gate")
    return team


def run(team: Team, progress: RecordedProgress | None = None, **request):
    job = Jobs(team.database).enqueue(PROJECT.key, "replay", trigger="hand", request=request)
    progress = progress or RecordedProgress()
    return load("replay", team.settings)(job, team.settings, team.database, progress)


def test_the_champion_is_compared_with_its_predecessor(team):
    progress = RecordedProgress()
    result = run(team, progress)

    assert result["simulated"] is True
    assert result["before"].startswith("v1")
    assert result["version"].startswith("v2")
    assert {(row["task"], row["region"]) for row in result["rows"]} == {
        (1, "a"),
        (1, "b"),
        (2, "c"),
    }
    assert all(1 <= row[side] <= 20 for row in result["rows"] for side in ("before", "after"))
    assert all(row["took"] is None for row in result["rows"])  # nobody clicked for them
    means = result["all"]
    assert means["n"] == 3
    assert means["difference"]["mean"] == pytest.approx(means["after"] - means["before"])
    assert progress.done[-1] == 1.0


@pytest.mark.parametrize("fallback", ["v1", "v4"])
def test_a_label_that_a_version_has_not_learned_is_replayed_with_what_serves_it(
    team, tmp_path, monkeypatch, fallback
):
    # given a version that has learned cats only, of two cats and a dog; all projects have v4 or the
    # base
    registry = Registry(team.database, team.settings)
    if fallback == "v4":
        registry.add(make_version(tmp_path, 4))
        registry.promote("v4", EVERYONE, who="ann")
    registry.add(make_version(tmp_path, 3, labels={"cat": 9}), project=PROJECT.key)
    asked = Counter()

    def look_at(self, sample, key, label=""):
        asked[self.name.partition("-")[0]] += 1
        return lambda clicks, phrase, before: np.ones(sample.instances.shape, bool)

    monkeypatch.setattr(Checkpoint, "look_at", look_at)
    # when
    run(team, before="base", version="v3")
    # then
    assert asked == Counter({"v1": 3, "v3": 2}) + Counter([fallback])


def test_a_version_compared_with_itself_is_refused(team):
    with pytest.raises(JobError, match="has no predecessor"):
        run(team, version="base", before="base")


def test_the_request_limits_the_number_of_objects(team):
    assert len(run(team, objects=2)["rows"]) == 2


def test_it_can_be_cancelled_between_two_objects(team):
    checks = itertools.count(1)

    def cancelled_at_the_second() -> None:
        if next(checks) == 2:
            raise CancelledError("Job 1 was cancelled by ann.")

    with pytest.raises(CancelledError):
        run(team, RecordedProgress(cancelled_at_the_second))


def test_missing_pictures_are_reported(team):
    team.host.pictures.clear()
    team.empty_cache()
    with pytest.raises(JobError, match="nothing to replay"):
        run(team)
