"""The training job, from accepted labels to a champion: read, learn, write, measure, promote.

A worker may die anywhere, be given up while it still runs, or be told to end. So each step leaves
something behind that the next attempt finds: the copy of the labels and the state of the network in
this machine's folder of the job; the candidate, its verdict and its promotion in the registry,
where any machine sees them. What cannot be undone is written in one transaction with a look at
whether the job is still this worker's.
"""

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from backend.db.engine import Database
from backend.db.models import Job, Promotion, Version
from backend.errors import JobError, StorageError, VersionError
from backend.jobs.progress import Progress
from backend.label_studio.payloads import Project
from backend.learning import gate_pictures
from backend.learning.outage import away
from backend.learning.snapshot import LabelCopy, copy_labels
from backend.learning.work_dir import remove, sweep, workplace
from backend.registry.store import open_store
from backend.registry.versions import Registry
from backend.samples.dataset import open_samples
from backend.settings import Settings
from model.files import atomic_write
from training.data import Dataset, open_dataset
from training.errors import DataError
from training.finetune.fine_tune import FineTuned, fine_tune
from training.finetune.recipe import BUDGETS, Budget, FineTuneRecipe
from training.gate.gate import judge
from training.gate.general_set import open_general_set
from training.gate.rules import GateRules
from training.train.distributed import device_for

# The phases and their shares of the time, as two cores need it for some fifty labels.
_SHARES = {
    "reading": 0.05,
    "training": 0.60,
    "writing": 0.01,
    "evaluating": 0.33,
    "promoting": 0.01,
}
_RULES = GateRules()
# Somebody may promote by hand while a candidate is measured; then it is measured against that one.
_MEASURED_AT_MOST = 3
# So little room left means that it ran out a moment ago.
_NO_ROOM_BYTES = 4 * 2**20


def train(
    job: Job,
    settings: Settings,
    database: Database,
    progress: Progress,
    *,
    recipe: FineTuneRecipe | None = None,
    rules: GateRules = _RULES,
) -> dict[str, Any]:
    """Learn from what the job's project has accepted, and promote what proves better.

    recipe: by default as the settings say. Gives what came of it: ``version`` (the candidate, ''
    where none was made), ``promoted``, ``reason`` in a sentence, ``champion`` (what it was held
    against), ``labels``, ``gate`` (the report without its examples), ``seconds`` by phase.
    """
    sweep(settings.data, database)
    with workplace(settings.data, job.id) as folder:
        training = _Training(job, settings, database, progress, folder, recipe, rules)
        try:
            result = training.run()
        except OSError as error:
            raise StorageError(_cannot_write(settings.data, str(error))) from error
        except RuntimeError as error:
            # What torch raises where a file cannot be written says nothing of the reason.
            cannot_write = "PytorchStreamWriter" in str(error)
            if not cannot_write and shutil.disk_usage(folder).free > _NO_ROOM_BYTES:
                raise
            raise StorageError(_cannot_write(settings.data, "no space left")) from error
        remove(folder)
        return result


class _Training:
    """One attempt."""

    def __init__(
        self,
        job: Job,
        settings: Settings,
        database: Database,
        progress: Progress,
        folder: Path,
        recipe: FineTuneRecipe | None,
        rules: GateRules,
    ) -> None:
        self._job = job
        self._settings = settings
        self._database = database
        self._progress = progress
        self._folder = folder
        self._recipe = recipe or recipe_of(settings, job)
        self._rules = rules
        self._registry = Registry(database, open_store(settings), settings)
        self._seconds = _read_seconds(folder)

    def run(self) -> dict[str, Any]:
        """From wherever the last attempt came to."""
        self._registry.base()  # so that it has a row, as everybody's ancestor
        candidate = self._candidate()
        verdict = candidate.gate if candidate is not None else None
        if candidate is not None and (candidate.state == "rejected" or self._promotion(candidate)):
            return self._result(candidate, verdict)
        with self._phase("reading"):
            labels = self._read()
        if candidate is None:
            short = self._too_few(labels)
            if short:
                self._progress.line(short)
                return self._nothing(labels, short)
            with self._phase("training"):
                tuned = self._learn(labels)
            with self._phase("writing"):
                candidate = self._write(tuned, labels)
        for _ in range(_MEASURED_AT_MOST):
            champion = self._champion()
            if champion == candidate.name:
                self._progress.line("It was promoted by hand meanwhile.", "warning")
                return self._result(candidate, verdict)
            gate = self._registry.get(candidate.name).gate
            if gate is None or gate["champion"] != champion:
                with self._phase("evaluating"):
                    gate = dict(self._measure(candidate, champion, labels))
            verdict = gate
            if not verdict["passed"]:
                return self._result(candidate, verdict)
            with self._phase("promoting"):
                if self._promote(candidate, champion, str(verdict["reason"])):
                    return self._result(candidate, verdict)
        raise VersionError(
            f"While {candidate.name} was measured another version was promoted, again and again. "
            "It is measured anew later."
        )

    # -- the phases

    def _read(self) -> LabelCopy:
        samples = open_samples(self._settings, self._database, self._job.project)

        def tell(done: int, total: int) -> None:
            self._progress.check()
            self._progress.at(done / max(total, 1), f"Reading picture {done} of {total}")

        def made() -> None:
            places = [samples.place(n) for n in range(len(samples))]
            gone = away(self._database, places, samples.unreached)
            if gone:
                raise DataError(
                    f"The pictures of {gone} of {len(places)} labels cannot be fetched: Label "
                    "Studio, or where they lie, is away. The job is tried again rather than learn "
                    "from what is left."
                )

        labels = copy_labels(samples, self._folder, tell, made=made)
        self._progress.line(
            f"{labels.train.labels} labels on {labels.train.pictures} pictures to learn from, "
            f"{labels.held_out.labels} on {labels.held_out.pictures} held out."
        )
        for sentence in labels.missing[:20]:
            self._progress.line(sentence, "warning")
        return labels

    def _too_few(self, labels: LabelCopy) -> str:
        """Why a training would be in vain; '' where it would not."""
        if not labels.train.labels:
            return "There is no label to learn from yet."
        measured = labels.to_measure()
        pictures = 0 if measured is None else len(measured)
        objects = sum(len(measured.objects(n)) for n in range(pictures)) if measured else 0
        least = self._rules
        if objects >= least.least_objects and pictures >= least.least_pictures:
            return ""
        return (
            f"Too few held-out labels to tell better from luck: {objects} on {pictures} pictures, "
            f"where {least.least_objects} on {least.least_pictures} are needed. A fifth of the "
            "pictures is held out: it is tried again when more are labeled."
        )

    def _learn(self, labels: LabelCopy) -> FineTuned:
        champion = self._champion()
        self._progress.line(f"{champion} learns from {labels.train.labels} labels.")

        def tick(done: float, figures: Mapping[str, float]) -> None:
            self._progress.at(done, f"Learning, {done:.0%}")
            self._progress.point({"progress": round(done, 4), **figures})

        replay = self._settings.replay
        project = Project.read(self._job.project)
        tuned = fine_tune(
            self._registry.folder(champion),
            labels.to_learn_from(),
            labels.to_look_at(),
            out=self._folder / "run",
            recipe=self._recipe,
            base=self._registry.folder(self._registry.base_name),
            replay=open_dataset([replay]) if replay else None,
            name=f"phraseclick-project{project.id}-job{self._job.id}",
            tick=tick,
            check=self._progress.check,
        )
        for look in tuned.curve:
            self._progress.point({"look": dict(look)})
        self._progress.line(
            f"{tuned.version}: {tuned.steps} steps in {tuned.seconds:.0f} s, ended by "
            f"{tuned.stopped}."
        )
        return tuned

    def _write(self, tuned: FineTuned, labels: LabelCopy) -> Version:
        self._progress.check()
        return self._registry.add(
            tuned.folder,
            project=self._job.project,
            data={"job": self._job.id, **labels.counts},
            by=f"job {self._job.id}",
            alongside=self._progress.fenced,
        )

    def _measure(self, candidate: Version, champion: str, labels: LabelCopy) -> Mapping[str, Any]:
        own = labels.to_measure()
        if own is None:
            # Read anew by this attempt, and what was held out has gone meanwhile.
            raise VersionError(f"No held-out label is left to measure {candidate.name} by.")

        def tick(done: float, figures: Mapping[str, float]) -> None:
            asked, of = figures.get("asked", 0), figures.get("of", 0)
            self._progress.at(done, f"Question {asked:.0f} of {of:.0f} to both")

        shown = self._folder / "pictures"
        verdict = judge(
            self._registry.folder(candidate.name),
            self._registry.folder(champion),
            own,
            self._general_set(),
            rules=self._rules,
            device=str(device_for(self._settings.training_device)),
            tick=tick,
            check=self._progress.check,
            pictures=shown,
        )
        report = verdict.report
        named = {str(each["picture"]) for each in report["examples"] if each["picture"]}

        def alongside(connection: Connection) -> None:
            self._progress.fenced(connection)
            pictures = {name: (shown / name).read_bytes() for name in sorted(named)}
            gate_pictures.keep(connection, candidate.name, pictures)

        self._registry.judge(candidate.name, report, passed=verdict.passed, alongside=alongside)
        self._progress.line(f"{'Passed' if verdict.passed else 'Rejected'}: {verdict.reason}")
        return report

    def _general_set(self) -> Dataset:
        path = self._settings.gate_set
        return open_dataset([path]) if path else open_general_set()

    def _promote(self, candidate: Version, champion: str, why: str) -> bool:
        """Once, if ever. False: another version serves by now.

        The worker's clock tells Label Studio of it, and then has the tasks scored anew.
        """
        try:
            self._registry.promote(
                candidate.name,
                self._job.project,
                who=f"job {self._job.id}",
                why=why,
                instead_of=champion,
                alongside=self._progress.fenced,
            )
        except VersionError:
            if self._champion() == champion:
                raise
            self._progress.line(f"{self._champion()} was promoted meanwhile.", "warning")
            return False
        self._progress.line(f"{candidate.name} serves from now on.")
        return True

    # -- what earlier attempts left, and what this one tells

    def _candidate(self) -> Version | None:
        """The version that this job has made."""
        for version in self._registry.all(self._job.project):
            if version.data.get("job") == self._job.id and version.project == self._job.project:
                return version
        return None

    def _promotion(self, candidate: Version) -> Promotion | None:
        """The one that this job made; it stands as made, though it may have been taken back."""
        for promotion in self._registry.history(self._job.project):
            if promotion.version == candidate.name and promotion.who == f"job {self._job.id}":
                return promotion
        return None

    def _champion(self) -> str:
        """The version that serves the project now."""
        champions = self._registry.champions()
        return champions.of(Project.read(self._job.project)) or self._registry.base_name

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

    def _nothing(self, labels: LabelCopy, why: str) -> dict[str, Any]:
        return {
            "version": "",
            "promoted": False,
            "reason": why,
            "champion": self._champion(),
            "labels": labels.counts,
            "gate": {},
            "seconds": self._seconds,
        }

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        self._progress.phase(name, _SHARES[name])
        self._progress.check()
        began = time.monotonic()
        yield
        self._seconds[name] = round(self._seconds.get(name, 0.0) + time.monotonic() - began, 1)
        atomic_write(self._folder / _SECONDS, json.dumps(self._seconds), durable=False)


_SECONDS = "seconds.json"


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


def _read_seconds(folder: Path) -> dict[str, float]:
    """By phase, of the attempts that worked in this folder."""
    with suppress(OSError, ValueError):
        found: dict[str, float] = json.loads((folder / _SECONDS).read_text(encoding="utf-8"))
        return found
    return {}


def _cannot_write(data: Path, cause: str) -> str:
    return (
        f"The training could not write to the data folder {data} ({cause}). "
        "Make room or mend it; the job is tried again."
    )
