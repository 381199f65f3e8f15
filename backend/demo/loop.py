"""One round of learning: a team labels new objects, a training starts, the gate judges, Label
Studio gets the new version, the next pictures need fewer clicks or one word, and a rollback undoes
it.
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from backend.db.models.jobs import TRAINING, Job
from backend.demo.team import LABEL, Team, ring_picture
from backend.errors import DemoError
from backend.jobs.queue import Jobs
from backend.label_studio.client import LabelStudio
from backend.label_studio.config import parse_config
from backend.label_studio.projects import project_key
from backend.registry.versions import Registry
from backend.reports.output import json_text, render, write_text
from backend.reports.queries import Report, Reports
from backend.reports.records import ReportFilter
from backend.settings import Settings
from training.evaluation.overlay import overlay
from training.gate.report import tables

# Pictures labeled before the training (about a third is held out), and after it.
BEFORE = 24
AFTER = 8
# Pictures labeled from one word after the training.
BY_WORD = 4
# Seconds without a new label after which the training starts.
DEBOUNCE_S = 4.0
# Nothing else runs on the machine: the training may use two cores.
TRAINING_THREADS = 2
_TRAINING_TIMEOUT_S = 1500.0
_SWITCH_TIMEOUT_S = 90.0


class Loop:
    """One round, in its own project."""

    def __init__(
        self,
        studio: LabelStudio,
        project: int,
        settings: Settings,
        *,
        serves: Callable[[], str],
        console: Console,
        say: Callable[[str], None],
    ) -> None:
        """project: a connected one. serves: returns the version that answers its requests."""
        self._studio = studio
        self._project = project
        self._serves = serves
        self._console = console
        self._say = say
        self._registry = Registry.open(settings)
        self._database = self._registry.database
        image = parse_config(studio.project(project)["label_config"]).images[0]
        backend = int(studio.ml_backends(project)[0]["id"])
        self._team = Team(studio, project, backend, image)

    def close(self) -> None:
        self._registry.close()

    def run(self, folder: Path) -> str:
        """Run the round, save the project's report in ``folder``; returns the problem, or ''."""
        key = project_key(self._database, self._project)
        old = self._serves()
        before = self._label(range(BEFORE), "rings that the model has never seen")
        job = self._await_training(key)
        result = job.result or {}
        version = str(result.get("version") or "")
        if job.state != "done" or not version:
            return f"the training ended as {job.state}: {job.error}"
        gate = self._registry.get(version).gate
        assert gate is not None, "a training that is done has its verdict"
        for part in tables(gate):
            self._console.print(part)
        if not result.get("promoted"):
            return "the gate rejected the new version"
        wrong = self._wait_for(version, "serves, and Label Studio knows it")
        after = self._label(range(BEFORE, BEFORE + AFTER), f"more with {version}")
        by_word = self._label_by_word(range(BEFORE + AFTER, BEFORE + AFTER + BY_WORD), folder)
        self._say(
            f"  Clicks per ring: {before:.2f} before, {after:.2f} after the training; "
            f"{by_word:.2f} interactions from one word"
        )
        wrong = wrong or self._roll_back(key, old, version)
        self._save_report(key, folder)
        if not wrong and after >= before:
            wrong = "the new version does not need fewer clicks"
        return wrong

    # -- steps

    def _label(self, numbers: range, what: str) -> float:
        """Label these pictures; returns clicks per ring."""
        clicks: list[int] = []
        with self._bar() as bar:
            doing = f"The team labels {len(numbers)} pictures of {what}"
            for number in bar.track(numbers, description=doing):
                clicks += self._team.label(ring_picture(number))
        return mean(clicks)

    def _label_by_word(self, numbers: range, folder: Path) -> float:
        """Label these pictures from the word alone; returns interactions per ring.

        Saves the picture that needed the fewest interactions.
        """
        done = [self._team.label_by_word(ring_picture(number)) for number in numbers]
        rings = sum(len(made.picture.masks) for made in done)
        kept = sum(made.kept for made in done)
        whole = sum(made.interactions == 1 for made in done)
        best = min(done, key=lambda made: made.interactions / len(made.picture.masks))
        path = folder / "by-one-word.png"
        together = np.logical_or.reduce([np.zeros_like(best.picture.masks[0]), *best.suggested])
        overlay(best.picture.pixels, together).save(path)
        self._say(
            f"  The word '{LABEL}' alone: {kept} of {rings} rings right without a click, "
            f"{whole} of {len(done)} pictures complete ({path})"
        )
        return sum(made.interactions for made in done) / rings

    def _await_training(self, key: str) -> Job:
        """Wait for the training that the labels start, and show its progress."""
        jobs = Jobs(self._database)
        ends = time.monotonic() + _TRAINING_TIMEOUT_S
        with self._bar() as bar:
            doing = bar.add_task("Waiting for the training to start", total=1.0)
            while True:
                listed = jobs.listed(project=key, kind=TRAINING, limit=1)
                if listed:
                    job = listed[0]
                    words = f"{job.phase}: {job.message}".strip(": ") or job.state
                    bar.update(doing, completed=job.progress, description=f"Training, {words}")
                    if job.ended:
                        return job
                if time.monotonic() > ends:
                    raise DemoError(
                        f"No training ended within {_TRAINING_TIMEOUT_S / 60:.0f} minutes."
                    )
                time.sleep(0.3)

    def _wait_for(self, version: str, what: str) -> str:
        """Wait until the servers and Label Studio use ``version``; returns the problem, or ''."""
        ends = time.monotonic() + _SWITCH_TIMEOUT_S
        while True:
            known = str(self._studio.project(self._project).get("model_version"))
            if self._serves() == version == known:
                self._say(f"  {version} {what}: its model version is {known}")
                return ""
            if time.monotonic() > ends:
                return f"Label Studio has {known} as model version, not {version}"
            time.sleep(0.3)

    def _roll_back(self, key: str, old: str, version: str) -> str:
        """Roll back, check that everything follows, promote again; returns the problem, or ''."""
        started = time.perf_counter()
        self._registry.rollback(key, who="demo", why="demonstration")
        while self._serves() != old:
            if time.perf_counter() - started > _SWITCH_TIMEOUT_S:
                return "the rollback did not reach the server"
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        self._say(f"  Rolled back: {old} serves again after {seconds:.2f} s")
        wrong = self._wait_for(old, "serves again, and Label Studio knows it")
        self._registry.promote(version, key, who="demo", why="after the rollback")
        return wrong or self._wait_for(version, "was promoted again")

    def _save_report(self, key: str, folder: Path) -> None:
        made = Report.of(Reports(self._database), key, ReportFilter())
        for name, pieces in (("report.html", [render(made)]), ("report.json", json_text(made))):
            write_text(folder / name, pieces)
        self._say(f"Report: {folder}/report.html and report.json")

    def _bar(self) -> Progress:
        return Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            console=self._console,
        )
