"""The training job from attempt to attempt: each continues where the last one broke off.

Training and evaluation are replaced by fakes that take no time; what is read, written and promoted
is real.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from backend.db.engine import Database
from backend.db.models import Job
from backend.errors import CancelledError, JobError, LostLeaseError, StorageError
from backend.jobs.queue import Jobs
from backend.learning import comparison, gate_pictures, train_job
from backend.learning.snapshot import take_snapshot
from backend.learning.work_dir import sweep, work_dir
from backend.registry.store import open_store
from backend.registry.versions import Registry
from backend.samples.dataset import open_samples
from backend.settings import Settings
from model import checkpoint
from model.config import ModelConfig
from model.network.phraseclick import PhraseClick
from tests.backend.learning.label_studio import host
from tests.backend.learning.site import WORDS, Site, settings_for
from tests.backend.samples.studio import PROJECT
from training.data import Dataset
from training.errors import DataError
from training.finetune.fine_tune import FineTuned
from training.gate.gate import Verdict


class Story:
    """What a job tells; ``dies_at``: so many lines, phases and steps, and it breaks off."""

    def __init__(self, error: Exception | None = None, dies_at: str = "") -> None:
        self.lines: list[str] = []
        self.phases: list[str] = []
        self.error, self.dies_at = error, dies_at

    def phase(self, name: str, share: float) -> None:
        assert 0 < share <= 1
        self.phases.append(name)

    def at(self, progress: float, message: str = "") -> None:
        assert 0 <= progress <= 1

    def line(self, text: str, level: str = "info") -> None:
        self.lines.append(text)

    def point(self, figures: Any) -> None:
        pass

    def check(self) -> None:
        if self.error and self.phases and self.phases[-1] == self.dies_at:
            raise self.error

    def fenced(self, connection: Any) -> None:
        if self.error and self.dies_at == f"fence in {self.phases[-1]}":
            raise self.error


class Stand:
    """Stands in for the learning and the measuring, and counts them."""

    def __init__(self) -> None:
        self.learned = self.measured = 0
        self.passes = True
        self.while_measured: Callable[[], None] = lambda: None
        self.network = PhraseClick(
            ModelConfig(input_size=96, channels=32, word_dim=8, phrase_dim=4)
        ).eval()
        self.train: Dataset | None = None

    def fine_tune(self, champion: Path, train: Dataset, *_: Any, **told: Any) -> FineTuned:
        told["check"]()
        self.learned += 1
        self.train = train
        folder = told["out"] / "checkpoint"
        if not folder.exists():
            vectors = np.random.default_rng(self.learned).normal(size=(len(WORDS), 8))
            checkpoint.save(folder, self.network, WORDS, vectors, name=told["name"])
        version = checkpoint.load(folder).version
        told["tick"](1.0, {"loss": 0.5})
        return FineTuned(folder, version, 1, 0.1, "steps", {}, {}, ({"step": 1},))

    def judge(self, candidate: Path, champion: Path, *_: Any, **told: Any) -> Verdict:
        told["check"]()
        self.measured += 1
        self.while_measured()
        names = [checkpoint.load(path).version for path in (candidate, champion)]
        told["pictures"].mkdir(exist_ok=True)
        stream = io.BytesIO()
        Image.new("RGB", (8, 8)).save(stream, "JPEG")
        (told["pictures"] / "own-won-1.jpg").write_bytes(stream.getvalue())
        report = {
            "passed": self.passes,
            "reason": "So it is.",
            "candidate": names[0],
            "champion": names[1],
            "examples": [{"picture": "own-won-1.jpg"}],
            "sets": {},
        }
        return Verdict(self.passes, "So it is.", report)


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    torch.manual_seed(0)
    stand = Stand()
    monkeypatch.setattr(train_job, "fine_tune", stand.fine_tune)
    monkeypatch.setattr(comparison, "judge", stand.judge)
    return stand


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Iterator[Site]:
    """On SQLite and, where slow, on PostgreSQL."""
    url = database.url.render_as_string(hide_password=False)
    with host() as pictures:
        settings = settings_for(tmp_path, pictures.url, database_url=url)
        site = Site(tmp_path, settings, pictures)
        yield site
        site.close()


@pytest.fixture
def labeled(site: Site) -> Site:
    site.label(train=3, held_out=6)
    return site


def attempt(site: Site, job: Job, story: Story | None = None) -> dict[str, Any]:
    told: Any = story or Story()
    return train_job.train(job, site.settings, site.database, told)


def test_what_is_better_is_promoted_and_told(labeled: Site, stand: Stand) -> None:
    # given
    site, job, story = labeled, labeled.ask(), Story()
    # when
    result = attempt(site, job, story)
    # then
    (version,) = site.versions_of(job.id)
    assert site.champion() == version.name == result["version"]
    assert version.name.startswith(f"phraseclick-project6-job{job.id}-")
    assert (result["promoted"], result["reason"]) == (True, "So it is.")
    assert result["champion"] == site.registry.base_name == version.parent or not version.parent
    assert story.phases == ["reading", "training", "writing", "evaluating", "promoting"]
    assert set(result["seconds"]) == set(story.phases)
    assert version.data["labels"] == result["labels"]["labels"] == 18
    assert version.data["train"] == {"pictures": 3, "labels": 6}
    assert version.data["held_out"] == {"pictures": 6, "labels": 12}
    assert version.data["annotations"] == 9
    (promotion,) = site.promotions_of(job.id)
    assert promotion.why == "So it is."
    shown = gate_pictures.picture(site.database, version.name, "own-won-1.jpg")
    assert shown is not None
    assert shown.startswith(b"\xff\xd8")
    assert list((site.settings.data / "jobs").iterdir()) == []


def test_what_is_not_better_is_kept_but_never_serves(labeled: Site, stand: Stand) -> None:
    stand.passes = False
    job = labeled.ask()
    result = attempt(labeled, job)

    assert (result["promoted"], result["reason"]) == (False, "So it is.")
    assert labeled.champion() == labeled.registry.base_name
    assert [it.state for it in labeled.versions_of(job.id)] == ["rejected"]
    assert attempt(labeled, job) == {**result, "seconds": {}}
    assert stand.measured == 1


def test_too_few_labels_cost_no_training(site: Site, stand: Stand) -> None:
    site.label(train=3, held_out=2)
    result = attempt(site, site.ask())

    assert stand.learned == 0
    assert (result["version"], result["promoted"]) == ("", False)
    assert "4 on 2 pictures, where 10 on 6 are needed" in result["reason"]
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
def test_the_next_attempt_goes_on_where_one_broke_off(
    labeled: Site, stand: Stand, dies_at: str, learned: int, measured: int
) -> None:
    # given
    job = labeled.ask()
    with pytest.raises(LostLeaseError):
        attempt(labeled, job, Story(LostLeaseError("Another has it."), dies_at))
    assert labeled.champion() == labeled.registry.base_name
    # when
    result = attempt(labeled, job)
    # then
    assert result["promoted"] is True
    assert labeled.champion() == result["version"]
    assert len(labeled.versions_of(job.id)) == len(labeled.promotions_of(job.id)) == 1
    assert (stand.learned, stand.measured) == (learned, measured)


def test_once_more_after_the_end_changes_nothing(labeled: Site, stand: Stand) -> None:
    job = labeled.ask()
    first = attempt(labeled, job)
    second = attempt(labeled, job)

    assert second == {**first, "seconds": {}}
    assert (stand.learned, stand.measured) == (1, 1)
    assert len(labeled.promotions_of(job.id)) == 1


def test_what_a_person_took_back_meanwhile_is_not_promoted_again(
    labeled: Site, stand: Stand
) -> None:
    job = labeled.ask()
    attempt(labeled, job)
    labeled.registry.rollback(PROJECT.key, who="ann")

    assert attempt(labeled, job)["promoted"] is True
    assert labeled.champion() == labeled.registry.base_name


def test_a_champion_of_somebody_elses_is_measured_against_first(
    labeled: Site, stand: Stand, tmp_path: Path
) -> None:
    # given: while the candidate is measured, somebody promotes another version
    vectors = np.random.default_rng(77).normal(size=(len(WORDS), 8))
    checkpoint.save(tmp_path / "by-hand", stand.network, WORDS, vectors, name="by-hand")
    other = labeled.registry.add(tmp_path / "by-hand", project=PROJECT.key).name

    def promote() -> None:
        if stand.measured == 1:
            labeled.registry.promote(other, who="ann")

    stand.while_measured = promote
    # when
    result = attempt(labeled, labeled.ask())
    # then
    assert stand.measured == 2
    assert result["champion"] == other
    assert labeled.champion() == result["version"]


def test_a_candidate_that_was_promoted_by_hand_is_left_at_that(labeled: Site, stand: Stand) -> None:
    job = labeled.ask()

    def promote() -> None:
        (version,) = labeled.versions_of(job.id)
        labeled.registry.promote(version.name, who="ann")

    stand.while_measured = promote
    attempt(labeled, job)

    assert [it.who for it in labeled.registry.history(PROJECT.key)] == ["ann"]


def test_cancelled_it_leaves_the_champion(labeled: Site, stand: Stand) -> None:
    job = labeled.ask()
    with pytest.raises(CancelledError):
        attempt(labeled, job, Story(CancelledError("Cancelled by ann."), "training"))

    assert labeled.champion() == labeled.registry.base_name
    assert labeled.versions_of(job.id) == []


def test_another_machine_begins_anew_but_makes_no_second_version(
    labeled: Site, stand: Stand, tmp_path: Path
) -> None:
    job = labeled.ask()
    with pytest.raises(LostLeaseError):
        attempt(labeled, job, Story(LostLeaseError("Another has it."), "evaluating"))
    store = str(labeled.settings.data / "versions")
    elsewhere = labeled.settings.model_copy(
        update={"data": tmp_path / "elsewhere", "checkpoint_store": store}
    )
    told: Any = Story()
    result = train_job.train(job, elsewhere, labeled.database, told)

    assert result["promoted"] is True
    assert stand.learned == 1
    assert len(labeled.versions_of(job.id)) == 1


def test_a_recipe_comes_along_with_the_request(labeled: Site) -> None:
    job = labeled.ask(steps=7)
    recipe = train_job.recipe_of(labeled.settings, job)
    assert (recipe.steps, recipe.crop, recipe.minutes, recipe.threads) == (7, 64, 4.0, 1)

    odd = replace(job, request={"recipe": {"stepps": 1}})
    with pytest.raises(JobError, match=r"not .'stepps': 1"):
        train_job.recipe_of(labeled.settings, odd)


def test_a_full_disk_is_a_sentence(
    labeled: Site, stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> FineTuned:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(train_job, "fine_tune", full)
    with pytest.raises(StorageError, match=r"No space left on device\). Free disk space"):
        attempt(labeled, labeled.ask())


def test_while_the_pictures_are_away_it_does_not_learn_from_what_is_left(
    labeled: Site, stand: Stand
) -> None:
    labeled.forget_pictures()
    labeled.host.go()
    job = labeled.ask()
    for _ in range(2):
        with pytest.raises(DataError, match="pictures of 9 of 9 labels cannot be fetched"):
            attempt(labeled, job)
    labeled.host.come()

    assert attempt(labeled, job)["labels"]["annotations"] == 9


def test_a_picture_that_is_gone_is_left_out(labeled: Site, stand: Stand) -> None:
    labeled.forget_pictures()
    labeled.host.pictures.popitem()
    story = Story()

    result = attempt(labeled, labeled.ask(), story)

    assert result["labels"]["labels"] == 16
    assert sum("-annotation-" in line for line in story.lines) == 1


# -- the snapshot and the work dir


def test_a_snapshot_stays_the_same_while_people_continue_to_label(
    labeled: Site, tmp_path: Path
) -> None:
    samples = open_samples(labeled.settings, labeled.database, PROJECT.key)
    read: list[tuple[int, int]] = []
    folder = tmp_path / "copy"
    folder.mkdir()

    first = take_snapshot(samples, folder, lambda *it: read.append(it))
    labeled.host.pictures.clear()
    labeled.forget_pictures()
    again = take_snapshot(samples, folder, lambda *it: read.append(it))

    assert first == again
    assert read == [(n, 9) for n in range(1, 10)]
    assert len(first.training_part()) == 3
    assert [len(it) for it in (first.validation_part(), first.gate_part()) if it is not None] == [
        6,
        6,
    ]


@pytest.mark.parametrize(
    ("train", "held_out", "expected"),
    [(9, 1, (6, 4)), (12, 0, (8, 4)), (18, 2, (14, 6)), (9, 6, (9, 6)), (2, 0, (2, 0))],
)
def test_with_few_held_out_up_to_a_third_of_the_others_is_held_out_too(
    site: Site, tmp_path: Path, train: int, held_out: int, expected: tuple[int, int]
) -> None:
    # given
    site.label(train=train, held_out=held_out)
    samples = open_samples(site.settings, site.database, PROJECT.key)
    # when
    snapshot = take_snapshot(samples, tmp_path, lambda *_: None)
    # then
    assert (snapshot.train.pictures, snapshot.held_out.pictures) == expected


def test_with_many_held_out_the_gate_has_pictures_of_its_own(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.learning.snapshot._DIVIDED_FROM", 6)
    site.label(train=1, held_out=7)
    samples = open_samples(site.settings, site.database, PROJECT.key)

    copy = take_snapshot(samples, tmp_path, lambda *_: None)

    looked, measured = copy.validation_part(), copy.gate_part()
    assert looked is not None
    assert measured is not None
    keys = [{each[n].key for n in range(len(each))} for each in (looked, measured)]
    assert [len(each) for each in keys] == [3, 4]
    assert keys[0].isdisjoint(keys[1])


def test_a_snapshot_of_too_many_has_the_newest(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.learning.snapshot._MOST", {"train": 4, "validation": 2})
    site.label(train=8, held_out=3)
    samples = open_samples(site.settings, site.database, PROJECT.key)

    copy = take_snapshot(samples, tmp_path, lambda *_: None)

    assert (copy.train.pictures, copy.held_out.pictures) == (4, 2)
    learned = {copy.training_part()[n].key.rpartition("-")[0] for n in range(4)}
    here = [n for n in range(len(samples)) if samples.split(n) == "train"]
    newest = sorted(here, key=samples.updated_at)[-2:]
    assert {samples.key(n) for n in newest} <= learned


def test_two_at_once_have_a_folder_each_and_a_swept_one_is_of_an_ended_job(site: Site) -> None:
    data, jobs = site.settings.data, Jobs(site.database)
    job = site.ask()
    with work_dir(data, job.id) as one, work_dir(data, job.id) as other:
        assert one != other
        (one / "state").write_text("x")
        jobs.cancel(job.id, "ann")
        assert sweep(data, site.database) == 0, "somebody is in it"
    with work_dir(data, job.id) as again:
        assert (again / "state").exists()

    assert sweep(data, site.database) == 2
    assert list((data / "jobs").iterdir()) == []


def test_a_registry_of_its_own_is_not_needed_to_see_it(labeled: Site, stand: Stand) -> None:
    attempt(labeled, labeled.ask())
    fresh = Registry(labeled.database, open_store(labeled.settings), labeled.settings)

    assert fresh.champions().of(PROJECT) == labeled.champion()


def test_pictures_of_verdicts_are_forgotten_after_a_while(labeled: Site, stand: Stand) -> None:
    result = attempt(labeled, labeled.ask())

    assert gate_pictures.names(labeled.database, result["version"]) == ["own-won-1.jpg"]
    assert gate_pictures.forget(labeled.database, days=1) == 0
    assert gate_pictures.forget(labeled.database, days=0) == 1


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


def test_an_unknown_budget_is_refused() -> None:
    job: Any = SimpleNamespace(id=4, trigger="hand", request={"budget": "lavish"})
    with pytest.raises(JobError, match="quick or thorough, not lavish"):
        train_job.recipe_of(Settings(), job)
