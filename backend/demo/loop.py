"""The learning loop, shown: a team labels things of its own, a training starts by itself, the gate
judges, Label Studio learns of the new version, the next pictures cost less, and it is all taken
back by one rollback.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from backend.db.engine import Database
from backend.db.models.jobs import TRAINING, Job
from backend.demo.team import Labeled, Team
from backend.demo.workshop import LABEL, bench
from backend.errors import DemoError
from backend.jobs.queue import Jobs
from backend.label_studio.client import LabelStudio
from backend.label_studio.config import LabelConfig
from backend.registry.versions import Registry
from backend.reports.document import json_text
from backend.reports.output import write_text
from backend.reports.page import render
from backend.reports.records import Where
from backend.reports.report import gather
from backend.reports.source import Reports
from backend.settings import Settings

# What is labeled before the training, and after it. About a third of the first is held out.
BEFORE = 24
AFTER = 12
# The training that the labels start waits for so long a quiet; then a team would have paused.
DEBOUNCE_S = 4.0
# Its steps take a minute or two on two cores; only a very busy machine meets this bound.
LEARN_MINUTES = 20.0
_LONGEST_S = 1500.0
_TOLD_S = 90.0

Say = Callable[[str], None]
Serves = Callable[[], str]


@dataclass(frozen=True)
class Shown:
    """What the loop came to. ``wrong``: what was not as it should be, '' where all was well."""

    version: str
    before: float  # clicks for a ring
    after: float
    wrong: str = ""


class Loop:
    """One run of it, in a project of its own."""

    def __init__(
        self,
        studio: LabelStudio,
        project: int,
        settings: Settings,
        *,
        serves: Serves,
        console: Console,
        say: Say,
    ) -> None:
        """project: connected already. serves: the version that answers its requests now."""
        self._studio = studio
        self._project = project
        self._settings = settings
        self._serves = serves
        self._console = console
        self._say = say
        self._database = Database(settings.resolved_database_url)
        self._registry = Registry.open(settings)
        image = LabelConfig.parse(studio.project(project)["label_config"]).images[0]
        self._team = Team(studio, int(studio.ml_backends(project)[0]["id"]), image)

    def close(self) -> None:
        """Give the databases back."""
        self._registry.close()
        self._database.close()

    def run(self, folder: Path) -> Shown:
        """Show it; the report of the project lies in ``folder`` afterwards."""
        key = self._registry.project_key(self._project)
        old = self._serves()
        before = self._label(range(BEFORE), "rings that the model has never seen")
        job = self._trained(key)
        version = str((job.result or {}).get("version") or "")
        if job.state != "done" or not version:
            return Shown("", before, before, f"the training ended as {job.state}: {job.error}")
        self._show_gate(version)
        if not (job.result or {}).get("promoted"):
            return Shown(version, before, before, "the gate kept the champion")
        wrong = self._wait_for(version, "serves and is known to Label Studio")
        after = self._label(range(BEFORE, BEFORE + AFTER), f"more with {version}")
        self._say(f"  Clicks for a ring: {before:.2f} before, {after:.2f} after the training")
        wrong = wrong or self._taken_back(key, old, version)
        self._save_report(key, folder)
        if not wrong and after >= before:
            wrong = "the new version needs no fewer clicks"
        return Shown(version, before, after, wrong)

    # -- steps

    def _label(self, numbers: range, what: str) -> float:
        """Label these pictures; clicks for a ring."""
        labeled: list[Labeled] = []
        with self._bar() as bar:
            doing = bar.add_task(f"The team labels {len(numbers)} pictures of {what}", total=None)
            bar.update(doing, total=len(numbers))
            for number in numbers:
                picture = bench(number)
                (task,) = self._studio.upload(self._project, picture.name, picture.content())
                labeled.append(self._team.label(task, picture))
                bar.advance(doing)
        return mean(clicks for each in labeled for clicks in each.clicks)

    def _trained(self, key: str) -> Job:
        """The training that the labels start: waited for, with its progress."""
        jobs = Jobs(self._database)
        ends = time.monotonic() + _LONGEST_S
        with self._bar() as bar:
            doing = bar.add_task("Waiting for the training that the labels start", total=1.0)
            while True:
                found = jobs.listed(project=key, kind=TRAINING, limit=1)
                if found:
                    job = found[0]
                    words = f"{job.phase}: {job.message}".strip(": ") or job.state
                    bar.update(doing, completed=job.progress, description=f"Training, {words}")
                    if job.ended:
                        return job
                if time.monotonic() > ends:
                    raise DemoError(f"No training ended within {_LONGEST_S / 60:.0f} minutes.")
                time.sleep(0.3)

    def _show_gate(self, version: str) -> None:
        from training.gate.table import tables

        gate = self._registry.get(version).gate
        if gate is None:
            raise DemoError(f"The gate said nothing of {version}.")
        for part in tables(gate):
            self._console.print(part)

    def _wait_for(self, version: str, what: str) -> str:
        """Until the servers and Label Studio have it; what is wrong, '' where nothing is."""
        ends = time.monotonic() + _TOLD_S
        told = ""
        while time.monotonic() < ends:
            told = str(self._studio.project(self._project).get("model_version"))
            if self._serves() == version == told:
                self._say(f"  {version} {what}: its model version is {told}")
                return ""
            time.sleep(0.3)
        return f"Label Studio has {told} as model version, not {version}"

    def _taken_back(self, key: str, old: str, version: str) -> str:
        """Roll back, see it everywhere, and promote again."""
        started = time.perf_counter()
        self._registry.rollback(key, who="demo", why="to show it")
        while self._serves() != old:
            if time.perf_counter() - started > _TOLD_S:
                return "the rollback did not reach the server"
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        self._say(f"  Rolled back: {old} serves again after {seconds:.2f} s")
        wrong = self._wait_for(old, "is known to Label Studio again")
        self._registry.promote(version, key, who="demo", why="after the rollback")
        return wrong or self._wait_for(version, "was promoted again")

    def _save_report(self, key: str, folder: Path) -> None:
        made = gather(Reports(self._database), key, Where())
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


def labeling_config(ready: str) -> str:
    """A ready labeling config with the label of the rings in place of one that is not needed."""
    return ready.replace('"Motorcycle"', f'"{LABEL}"')
