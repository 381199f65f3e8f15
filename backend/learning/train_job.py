"""The training job, from accepted labels to a champion: read, train, write, evaluate, promote.

A worker may die anywhere, lose its lease while it runs, or be stopped. So each step leaves
something for the next attempt: the snapshot of the labels and the state of the network in this
machine's work dir; the candidate, its verdict and its promotion in the registry, for any machine.
What cannot be undone is written in one transaction with a check that the job is still this
worker's.
"""

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from backend.db.engine import Database
from backend.db.models import EventRow, Job, Promotion, Version
from backend.errors import GiveWayError, JobError, StorageError, VersionError
from backend.jobs.progress import Progress
from backend.label_studio.payloads import number_of
from backend.learning.comparison import compare, gate_rules
from backend.learning.snapshot import Snapshot, sweep, take_snapshot, unavailable, work_dir
from backend.registry.versions import Registry
from backend.samples.dataset import open_samples
from backend.settings import Settings
from training.data import open_dataset
from training.errors import DataError
from training.finetune.fine_tune import FineTuned, fine_tune
from training.finetune.labels import LEAST_OBJECTS, labels_of
from training.finetune.recipe import BUDGETS, Budget, FineTuneRecipe

# The phases' shares of the time, measured on two cores with fifty labels.
_SHARES = {
    "reading": 0.05,
    "training": 0.60,
    "writing": 0.01,
    "evaluating": 0.33,
    "promoting": 0.01,
}
# A thorough training pauses if someone clicked this recently, and tries again after the pause.
_QUIET = timedelta(minutes=2)
_PAUSE = timedelta(minutes=5)
# Where people never stop clicking, it waits no longer than this.
_LONGEST_WAIT = timedelta(hours=12)
_LOOK_FOR_PEOPLE_S = 5.0
# With this little free space a failed write means that the disk is full.
_FULL_BYTES = 4 * 2**20


def train(job: Job, settings: Settings, database: Database, progress: Progress) -> dict[str, Any]:
    """Train on what the job's project has accepted, and promote the candidate if it is better.

    Returns ``version`` (the candidate; '' if none was made), ``promoted``, ``reason`` in a
    sentence, ``champion`` (what it was compared with), ``labels``, ``gate`` (the report without its
    examples), and ``seconds`` of this attempt by phase.
    """
    sweep(settings.data, database)
    try:
        folder = work_dir(settings.data, job)
        result = _Training(job, settings, database, progress, folder).run()
    except OSError as error:
        raise _cannot_write(settings, str(error)) from error
    except RuntimeError as error:
        # torch's error for a file that cannot be written does not give the reason.
        cannot_write = "PytorchStreamWriter" in str(error)
        if not cannot_write and shutil.disk_usage(settings.data).free > _FULL_BYTES:
            raise
        raise _cannot_write(settings, "no space left") from error
    shutil.rmtree(folder, ignore_errors=True)
    return result


class _Training:
    def __init__(
        self, job: Job, settings: Settings, database: Database, progress: Progress, folder: Path
    ) -> None:
        self._job = job
        self._settings = settings
        self._database = database
        self._progress = progress
        self._folder = folder
        self._recipe = recipe_of(settings, job)
        self._rules = gate_rules(settings, job.project, budget_of(job))
        self._registry = Registry(database, settings)
        self._seconds: dict[str, float] = {}
        waited = datetime.now(UTC) - job.created_at
        self._gives_way = budget_of(job) == "thorough" and waited < _LONGEST_WAIT
        self._looked_at = 0.0

    def run(self) -> dict[str, Any]:
        """Continue from where the last attempt ended."""
        self._registry.base()  # registers it, as the ancestor of all versions
        candidate = self._candidate()
        gate = candidate.gate if candidate is not None else None
        if candidate is not None and (candidate.state == "rejected" or self._promotion(candidate)):
            return self._result(candidate, gate)
        with self._phase("reading"):
            labels = self._read()
        if candidate is None:
            too_few = self._too_few(labels)
            if too_few:
                self._progress.line(too_few)
                return {
                    "version": "",
                    "promoted": False,
                    "reason": too_few,
                    "champion": self._champion(),
                    "labels": labels.counts,
                    "gate": {},
                    "seconds": self._seconds,
                }
            with self._phase("training"):
                tuned = self._learn(labels)
            with self._phase("writing"):
                candidate = self._write(tuned, labels)
        champion = self._champion()
        if champion == candidate.name:
            self._progress.line("It was promoted by hand meanwhile.", "warning")
            return self._result(candidate, gate)
        if gate is None or gate["champion"] != champion:
            with self._phase("evaluating"):
                gate = self._evaluate(candidate, champion, labels)
        if gate["passed"]:
            with self._phase("promoting"):
                self._promote(candidate, champion, str(gate["reason"]))
        return self._result(candidate, gate)

    # -- the phases

    def _read(self) -> Snapshot:
        samples = open_samples(self._settings, self._database, self._job.project)

        def progress(done: int, total: int) -> None:
            self._progress.check()
            self._progress.at(done / max(total, 1), f"Reading picture {done} of {total}")

        def complete() -> None:
            gone = unavailable(samples, self._database)
            if gone:
                raise DataError(
                    f"The pictures of {gone} of {len(samples)} labels cannot be fetched: Label "
                    "Studio, or the storage of its pictures, is down. The job is tried again, "
                    "instead of training on the rest."
                )

        labels = take_snapshot(samples, self._folder, progress, complete=complete)
        self._progress.line(
            f"{labels.train.labels} labels on {labels.train.pictures} pictures to train on, "
            f"{labels.held_out.labels} on {labels.held_out.pictures} held out."
        )
        for sentence in labels.missing[:20]:
            self._progress.line(sentence, "warning")
        return labels

    def _too_few(self, labels: Snapshot) -> str:
        """Why a training would be useless; '' if it would not."""
        if not labels.train.labels:
            return "There is no label to train on yet."
        held_out = labels.held_out_part()
        pictures = 0 if held_out is None else len(held_out)
        objects = sum(len(held_out.objects(n)) for n in range(pictures)) if held_out else 0
        few = self._rules.too_few("held-out labels", objects, pictures)
        wait = "A part of the pictures is held out: it is tried again when more are labeled."
        return f"{few} {wait}" if few else ""

    def _learn(self, labels: Snapshot) -> FineTuned:
        champion = self._champion()
        self._progress.line(f"{champion} is trained on {labels.train.labels} labels.")

        def tick(done: float, figures: Mapping[str, float]) -> None:
            self._progress.at(done, f"Training, {done:.0%}")
            self._progress.point({"progress": round(done, 4), **figures})

        replay = self._settings.replay
        number = number_of(self._job.project)
        tuned = fine_tune(
            self._registry.folder(champion),
            labels.training_part(),
            labels.held_out_part(),
            out=self._folder / "run",
            recipe=self._recipe,
            base=self._registry.folder(self._registry.base_name),
            replay=open_dataset([replay]) if replay else None,
            name=f"phraseclick-project{number}-job{self._job.id}",
            tick=tick,
            check=self._check,
        )
        metrics = tuned.metrics
        for look in metrics["curve"]:
            self._progress.point({"look": look})
        self._progress.line(
            f"{tuned.version}: {metrics['step']} steps in {metrics['seconds']:.0f} s, ended by "
            f"{metrics['stopped']}."
        )
        return tuned

    def _check(self) -> None:
        """Called before each step: raises if the training is to stop, or to pause for people."""
        self._progress.check()
        now = time.monotonic()
        if not self._gives_way or now - self._looked_at < _LOOK_FOR_PEOPLE_S:
            return
        self._looked_at = now
        if people_click(self._database):
            raise GiveWayError("Paused while people click; it continues afterwards.", _PAUSE)

    def _write(self, tuned: FineTuned, labels: Snapshot) -> Version:
        self._progress.check()
        version = self._registry.add(
            tuned.folder,
            project=self._job.project,
            data={"job": self._job.id, **labels.counts},
            by=f"job {self._job.id}",
            alongside=self._progress.fenced,
        )
        labeled = labels_of(version.metrics) or {}
        few = [name for name, count in labeled.items() if count < LEAST_OBJECTS]
        if few:
            self._progress.line(
                f"Fewer than {LEAST_OBJECTS} objects to train on, so still served by the base "
                f"model: {', '.join(few[:20])}."
            )
        return version

    def _evaluate(self, candidate: Version, champion: str, labels: Snapshot) -> dict[str, Any]:
        own = labels.held_out_part()
        if own is None:
            # This attempt took a new snapshot, and the held-out labels are gone.
            raise VersionError(f"There is no held-out label left to evaluate {candidate.name}.")
        folder = self._folder / "pictures"
        shutil.rmtree(folder, ignore_errors=True)
        verdict = compare(
            self._registry,
            self._settings,
            candidate.name,
            champion,
            own,
            self._rules,
            progress=self._progress.at,
            check=self._progress.check,
            pictures=folder,
        )
        self._registry.judge(
            candidate.name,
            verdict.report,
            passed=verdict.passed,
            pictures={path.name: path.read_bytes() for path in folder.glob("*.jpg")},
            alongside=self._progress.fenced,
        )
        self._progress.line(f"{'Passed' if verdict.passed else 'Rejected'}: {verdict.reason}")
        return verdict.report

    def _promote(self, candidate: Version, champion: str, why: str) -> None:
        """Promote it. The worker's scheduler then announces it to Label Studio and has the tasks
        re-scored.

        Raises VersionError if another version serves meanwhile: the next attempt evaluates against
        that one.
        """
        self._registry.promote(
            candidate.name,
            self._job.project,
            who=f"job {self._job.id}",
            why=why,
            instead_of=champion,
            alongside=self._progress.fenced,
        )
        self._progress.line(f"{candidate.name} serves from now on.")

    # -- what earlier attempts left, and the result

    def _candidate(self) -> Version | None:
        for version in self._registry.all(self._job.project):
            if version.data.get("job") == self._job.id and version.project == self._job.project:
                return version
        return None

    def _promotion(self, candidate: Version) -> Promotion | None:
        """The promotion that this job made, even if it was rolled back since."""
        for promotion in self._registry.history(self._job.project):
            if promotion.version == candidate.name and promotion.who == f"job {self._job.id}":
                return promotion
        return None

    def _champion(self) -> str:
        """The version that serves the project now."""
        return self._registry.serves(self._job.project)

    def _result(self, candidate: Version, verdict: Mapping[str, Any] | None) -> dict[str, Any]:
        gate = {key: value for key, value in (verdict or {}).items() if key != "examples"}
        return {
            "version": candidate.name,
            "promoted": self._promotion(candidate) is not None,
            "reason": gate.get("reason", ""),
            "champion": gate.get("champion", ""),
            "labels": {key: value for key, value in candidate.data.items() if key != "job"},
            "gate": gate,
            "seconds": self._seconds,
        }

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        self._progress.phase(name, _SHARES[name])
        self._progress.check()
        began = time.monotonic()
        yield
        self._seconds[name] = round(self._seconds.get(name, 0.0) + time.monotonic() - began, 1)


def people_click(database: Database) -> bool:
    """Whether someone clicked or typed a moment ago, in any project."""
    recent = EventRow.created_at > datetime.now(UTC) - _QUIET
    return bool(database.records(select(EventRow.id).where(recent).limit(1)))


def budget_of(job: Job) -> Budget:
    """The job's budget: the one of its request, else "thorough" on schedule and "quick" otherwise.

    Raises JobError if there is no such budget.
    """
    requested = job.request.get("budget") or ("thorough" if job.trigger == "schedule" else "quick")
    for name in BUDGETS:
        if requested == name:
            return name
    raise JobError(f"A training's budget is {' or '.join(BUDGETS)}, not {requested}.")


def recipe_of(settings: Settings, job: Job) -> FineTuneRecipe:
    """The recipe of a job: its budget, this machine's settings, and the request's ``recipe``.

    Raises JobError if the request has no valid recipe.
    """
    budget = BUDGETS[budget_of(job)]
    recipe = replace(
        budget,
        seed=job.id,
        minutes=min(budget.minutes, settings.learn_minutes),
        threads=settings.training_threads,
        device=settings.training_device,
        gpu_share=settings.training_gpu_share,
    )
    requested = job.request.get("recipe") or {}
    known = {field.name for field in fields(FineTuneRecipe)}
    if not isinstance(requested, Mapping) or set(requested) - known:
        raise JobError(f"A training's recipe has {', '.join(sorted(known))}, not {requested}.")
    return replace(recipe, **requested)


def _cannot_write(settings: Settings, cause: str) -> StorageError:
    return StorageError(
        f"The training could not write to the data folder {settings.data} ({cause}). "
        "Free disk space; the job is tried again."
    )
