"""The training job from attempt to attempt: each continues where the last one broke off.

Training and evaluation are replaced by fakes that take no time; what is read, written and promoted
is real.
"""

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sqlalchemy import insert

from backend.db.engine import Database
from backend.db.models import EventRow, Job
from backend.errors import GiveWayError, JobError, LostLeaseError, StorageError, VersionError
from backend.learning import comparison, train_job
from backend.registry.pruning import forget_gate_pictures
from backend.settings import Settings
from model import checkpoint
from model.config import ModelConfig
from model.network.phraseclick import PhraseClick
from tests.backend.learning.progress import RecordedProgress
from tests.backend.learning.site import WORDS, Site
from tests.backend.samples.studio import PROJECT
from training.data import Dataset
from training.errors import DataError
from training.finetune.fine_tune import FineTuned
from training.gate.gate import Verdict


class FailingProgress(RecordedProgress):
    """Raises ``error`` in a phase, or in the fenced write of a phase ("fence in writing")."""

    def __init__(self, error: Exception, at: str) -> None:
        super().__init__(check=lambda: self._fail(self.phases[-1] if self.phases else ""))
        self._error, self._at = error, at

    def _fail(self, place: str) -> None:
        if place == self._at:
            raise self._error

    def fenced(self, connection: Any) -> None:
        self._fail(f"fence in {self.phases[-1]}")


class FakeTraining:
    """Replaces training and evaluation, and counts them."""

    def __init__(self) -> None:
        self.learned = self.measured = 0
        self.passes = True
        self.while_measured: Callable[[], None] = lambda: None
        self.network = PhraseClick(
            ModelConfig(input_size=96, channels=32, word_dim=8, phrase_dim=4)
        ).eval()
        self.train: Dataset | None = None

    def fine_tune(self, champion: Path, train: Dataset, *_: Any, **options: Any) -> FineTuned:
        options["check"]()
        self.learned += 1
        self.train = train
        folder = options["out"] / "checkpoint"
        if not folder.exists():
            vectors = np.random.default_rng(self.learned).normal(size=(len(WORDS), 8))
            checkpoint.save(folder, self.network, WORDS, vectors, name=options["name"])
        version = checkpoint.load(folder).version
        options["tick"](1.0, {"loss": 0.5})
        metrics = {"step": 1, "seconds": 0.1, "stopped": "steps", "curve": [{"step": 1}]}
        return FineTuned(folder, version, metrics)

    def judge(self, candidate: Path, champion: Path, *_: Any, **options: Any) -> Verdict:
        options["check"]()
        self.measured += 1
        self.while_measured()
        names = [checkpoint.load(path).version for path in (candidate, champion)]
        options["pictures"].mkdir(exist_ok=True)
        stream = io.BytesIO()
        Image.new("RGB", (8, 8)).save(stream, "JPEG")
        (options["pictures"] / "own-won-1.jpg").write_bytes(stream.getvalue())
        report = {
            "passed": self.passes,
            "reason": "Better.",
            "candidate": names[0],
            "champion": names[1],
            "examples": [{"picture": "own-won-1.jpg"}],
            "sets": {},
        }
        return Verdict(self.passes, "Better.", report)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTraining:
    torch.manual_seed(0)
    fake = FakeTraining()
    monkeypatch.setattr(train_job, "fine_tune", fake.fine_tune)
    monkeypatch.setattr(comparison, "judge", fake.judge)
    return fake


def attempt(site: Site, job: Job, progress: RecordedProgress | None = None) -> dict[str, Any]:
    reporting: Any = progress or RecordedProgress()
    return train_job.train(job, site.settings, site.database, reporting)


def test_a_better_candidate_is_promoted(labeled: Site, fake: FakeTraining) -> None:
    # given
    site, job, progress = labeled, labeled.ask(), RecordedProgress()
    # when
    result = attempt(site, job, progress)
    # then
    (version,) = site.versions_of(job.id)
    assert site.champion() == version.name == result["version"]
    assert version.name.startswith(f"phraseclick-project6-job{job.id}-")
    assert (result["promoted"], result["reason"]) == (True, "Better.")
    assert result["champion"] == site.registry.base_name == version.parent or not version.parent
    assert progress.phases == ["reading", "training", "writing", "evaluating", "promoting"]
    assert set(result["seconds"]) == set(progress.phases)
    assert version.data["labels"] == result["labels"]["labels"] == 18
    assert version.data["train"] == {"pictures": 3, "labels": 6}
    assert version.data["held_out"] == {"pictures": 6, "labels": 12}
    assert version.data["annotations"] == 9
    (promotion,) = site.promotions_of(job.id)
    assert promotion.why == "Better."
    pictures = site.registry.gate_pictures(version.name)
    assert pictures["own-won-1.jpg"].startswith(b"\xff\xd8")
    assert list((site.settings.data / "jobs").iterdir()) == []


def test_a_rejected_candidate_is_kept_but_never_serves(labeled: Site, fake: FakeTraining) -> None:
    # given
    fake.passes = False
    job = labeled.ask()
    # when
    result = attempt(labeled, job)
    # then
    assert (result["promoted"], result["reason"]) == (False, "Better.")
    assert labeled.champion() == labeled.registry.base_name
    assert [version.state for version in labeled.versions_of(job.id)] == ["rejected"]
    # and another attempt does not evaluate it again
    assert attempt(labeled, job) == {**result, "seconds": {}}
    assert fake.measured == 1


def test_too_few_labels_cost_no_training(site: Site, fake: FakeTraining) -> None:
    # given
    site.label(train=3, held_out=2)
    # when
    result = attempt(site, site.ask())
    # then
    assert fake.learned == 0
    assert (result["version"], result["promoted"]) == ("", False)
    assert "6 on 3 pictures, where 6 on 6 are needed" in result["reason"]
    assert site.champion() == result["champion"] == site.registry.base_name


@pytest.mark.parametrize(
    ("dies_at", "learned", "measured"),
    [
        ("reading", 1, 1),
        ("training", 1, 1),
        ("writing", 2, 1),
        ("fence in writing", 2, 1),
        ("evaluating", 1, 1),
        ("fence in evaluating", 1, 2),
        ("promoting", 1, 1),
        ("fence in promoting", 1, 1),
    ],
)
def test_the_next_attempt_resumes(
    labeled: Site, fake: FakeTraining, dies_at: str, learned: int, measured: int
) -> None:
    # given
    job = labeled.ask()
    with pytest.raises(LostLeaseError):
        attempt(labeled, job, FailingProgress(LostLeaseError("Another has it."), dies_at))
    assert labeled.champion() == labeled.registry.base_name
    # when
    result = attempt(labeled, job)
    # then
    assert result["promoted"] is True
    assert labeled.champion() == result["version"]
    assert len(labeled.versions_of(job.id)) == len(labeled.promotions_of(job.id)) == 1
    assert (fake.learned, fake.measured) == (learned, measured)


def test_another_attempt_after_the_end_changes_nothing(labeled: Site, fake: FakeTraining) -> None:
    # given
    job = labeled.ask()
    first = attempt(labeled, job)
    # when
    second = attempt(labeled, job)
    # then
    assert second == {**first, "seconds": {}}
    assert (fake.learned, fake.measured) == (1, 1)
    assert len(labeled.promotions_of(job.id)) == 1


def test_a_candidate_that_was_rolled_back_is_not_promoted_again(
    labeled: Site, fake: FakeTraining
) -> None:
    # given
    job = labeled.ask()
    attempt(labeled, job)
    labeled.registry.rollback(PROJECT.key, who="ann")
    # when / then
    assert attempt(labeled, job)["promoted"] is True
    assert labeled.champion() == labeled.registry.base_name


def test_the_evaluation_is_repeated_against_a_new_champion(
    labeled: Site, fake: FakeTraining, tmp_path: Path
) -> None:
    # given: during the evaluation someone promotes another version
    vectors = np.random.default_rng(77).normal(size=(len(WORDS), 8))
    checkpoint.save(tmp_path / "by-hand", fake.network, WORDS, vectors, name="by-hand")
    other = labeled.registry.add(tmp_path / "by-hand", project=PROJECT.key).name

    def promote() -> None:
        if fake.measured == 1:
            labeled.registry.promote(other, who="ann")

    fake.while_measured = promote
    job = labeled.ask()
    with pytest.raises(VersionError, match="compare again"):
        attempt(labeled, job)
    # when
    result = attempt(labeled, job)
    # then
    assert fake.measured == 2
    assert result["champion"] == other
    assert labeled.champion() == result["version"]


def test_a_candidate_that_was_promoted_by_hand_is_not_promoted_again(
    labeled: Site, fake: FakeTraining
) -> None:
    # given
    job = labeled.ask()

    def promote() -> None:
        (version,) = labeled.versions_of(job.id)
        labeled.registry.promote(version.name, who="ann")

    fake.while_measured = promote
    with pytest.raises(VersionError):
        attempt(labeled, job)
    # when
    attempt(labeled, job)
    # then
    assert [entry.who for entry in labeled.registry.history(PROJECT.key)] == ["ann"]


def test_another_machine_resumes_without_a_second_version(
    labeled: Site, fake: FakeTraining, tmp_path: Path
) -> None:
    # given
    job = labeled.ask()
    with pytest.raises(LostLeaseError):
        attempt(labeled, job, FailingProgress(LostLeaseError("Another has it."), "evaluating"))
    store = str(labeled.settings.data / "versions")
    elsewhere = labeled.settings.model_copy(
        update={"data": tmp_path / "elsewhere", "checkpoint_store": store}
    )
    progress: Any = RecordedProgress()
    # when
    result = train_job.train(job, elsewhere, labeled.database, progress)
    # then
    assert result["promoted"] is True
    assert fake.learned == 1
    assert len(labeled.versions_of(job.id)) == 1


def test_the_request_may_change_the_recipe(labeled: Site) -> None:
    job = labeled.ask(steps=7)
    recipe = train_job.recipe_of(labeled.settings, job)
    assert (recipe.steps, recipe.crop, recipe.minutes, recipe.threads) == (7, 64, 4.0, 1)


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"recipe": {"stepps": 1}}, r"not .'stepps': 1"),
        ({"budget": "lavish"}, "quick or thorough, not lavish"),
    ],
)
def test_an_impossible_request_is_refused(request_: dict[str, Any], sentence: str) -> None:
    job: Any = SimpleNamespace(id=4, trigger="hand", request=request_)
    with pytest.raises(JobError, match=sentence):
        train_job.recipe_of(Settings(), job)


def test_a_full_disk_is_reported_in_a_sentence(
    labeled: Site, fake: FakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> FineTuned:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(train_job, "fine_tune", full)
    with pytest.raises(StorageError, match=r"No space left on device\). Free disk space"):
        attempt(labeled, labeled.ask())


def test_an_outage_of_the_pictures_ends_the_attempt(labeled: Site, fake: FakeTraining) -> None:
    labeled.forget_pictures()
    labeled.host.go()
    job = labeled.ask()
    for _ in range(2):
        with pytest.raises(DataError, match="pictures of 9 of 9 labels cannot be fetched"):
            attempt(labeled, job)
    labeled.host.come()

    assert attempt(labeled, job)["labels"]["annotations"] == 9


def test_a_picture_that_is_gone_is_left_out(labeled: Site, fake: FakeTraining) -> None:
    labeled.forget_pictures()
    labeled.host.pictures.popitem()
    progress = RecordedProgress()

    result = attempt(labeled, labeled.ask(), progress)

    assert result["labels"]["labels"] == 16
    assert sum("-annotation-" in line for line in progress.lines) == 1


def test_pictures_of_verdicts_are_forgotten_after_a_while(
    labeled: Site, fake: FakeTraining
) -> None:
    result = attempt(labeled, labeled.ask())

    assert set(labeled.registry.gate_pictures(result["version"])) == {"own-won-1.jpg"}
    assert forget_gate_pictures(labeled.database, days=1) == 0
    assert forget_gate_pictures(labeled.database, days=0) == 1
    assert labeled.registry.gate_pictures(result["version"]) == {}


@pytest.mark.parametrize(("budget", "pauses"), [("thorough", True), ("quick", False)])
def test_a_thorough_training_pauses_while_people_click(
    labeled: Site,
    fake: FakeTraining,
    monkeypatch: pytest.MonkeyPatch,
    budget: str,
    pauses: bool,
) -> None:
    # given
    clicking = [True]
    monkeypatch.setattr(train_job, "people_click", lambda _: clicking[0])
    job = replace(labeled.ask(), request={"budget": budget})
    # when
    if pauses:
        with pytest.raises(GiveWayError) as paused:
            attempt(labeled, job)
        assert paused.value.wait > timedelta(0)
        clicking[0] = False
    # then
    assert attempt(labeled, job)["promoted"]


@pytest.mark.parametrize(("minutes_ago", "expected"), [(1, True), (10, False)])
def test_people_click_if_an_event_is_recent(
    database: Database, minutes_ago: int, expected: bool
) -> None:
    # given
    created_at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    event = {"project": PROJECT.key, "task_id": 1, "request_id": "", "kind": "click"}
    with database.write() as connection:
        connection.execute(insert(EventRow).values(**event, created_at=created_at))
    # when / then
    assert train_job.people_click(database) is expected


@pytest.mark.parametrize(
    ("trigger", "request_", "minutes"),
    [
        ("labels", {}, 4.0),
        ("hand", {}, 4.0),
        ("schedule", {}, 20.0),
        ("hand", {"budget": "thorough"}, 20.0),
        ("schedule", {"budget": "quick"}, 4.0),
    ],
)
def test_a_scheduled_training_is_thorough_and_any_other_quick(
    trigger: str, request_: dict[str, Any], minutes: float
) -> None:
    # given
    settings = Settings(learn_minutes=20.0, training_threads=3, training_device="cpu")
    job: Any = SimpleNamespace(id=4, trigger=trigger, request=request_)
    # when
    recipe = train_job.recipe_of(settings, job)
    # then
    assert recipe.minutes == minutes
    assert (recipe.threads, recipe.device, recipe.seed) == (3, "cpu", 4)
