"""Two versions measured against each other by hand, as the gate measures them, and nothing more.

An admin wants to know before a promotion, or after one that people complain about. What comes out
is what a training's gate would say today; nothing is kept, and nothing is promoted.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from backend.db.models import Version
from backend.errors import VersionError
from backend.learning.snapshot import copy_labels
from backend.registry.versions import Registry
from backend.samples.dataset import open_samples
from backend.settings import Settings
from training.data import Dataset, Without, open_dataset
from training.gate.gate import Verdict, judge
from training.gate.general_set import open_general_set
from training.gate.rules import GateRules
from training.gate.table import set_tables, tables
from training.train.distributed import device_for

_RULES = GateRules()
Tell = Callable[[float, str], None]


def measure(
    console: Console,
    settings: Settings,
    registry: Registry,
    champion: Version,
    candidate: Version,
    project: str = "",
) -> None:
    """Measure and print. project: its key; without one the general set alone is asked about.

    Raises VersionError where there is nothing to measure.
    """
    if champion.name == candidate.name:
        raise VersionError(f"Both are {champion.name}: name two versions.")
    folders = registry.folder(candidate.name), registry.folder(champion.name)
    console.print(f"Champion: {champion.name}\nCandidate: {candidate.name}")
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
    with (
        tempfile.TemporaryDirectory(prefix="phraseclick-") as folder,
        Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar,
    ):
        task = bar.add_task("Measuring", total=1.0)

        def tell(done: float, what: str) -> None:
            bar.update(task, completed=done, description=what)

        general = general_set(settings)
        own = _held_out(settings, registry, project, Path(folder), tell) if project else None
        verdict = _judged(folders, own, general, settings, tell)
    _show(console, verdict, project, own)


def general_set(settings: Settings) -> Dataset:
    """The one of the settings, or the one that ships."""
    return open_dataset([settings.gate_set]) if settings.gate_set else open_general_set()


def _held_out(
    settings: Settings, registry: Registry, project: str, folder: Path, tell: Tell
) -> Dataset | None:
    """What a training's gate would ask about; None where the project has no such label."""
    samples = open_samples(settings, registry.database, project)

    def read(done: int, total: int) -> None:
        tell(done / max(total, 1), f"Reading held-out picture {done} of {total}")

    return copy_labels(samples, folder, read, only="validation").to_measure()


def _judged(
    folders: tuple[Path, Path],
    own: Dataset | None,
    general: Dataset,
    settings: Settings,
    tell: Tell,
) -> Verdict:
    def tick(done: float, figures: dict[str, float]) -> None:
        tell(done, f"Question {figures['asked']:.0f} of {figures['of']:.0f} to both")

    nothing = Without(general, range(len(general)))
    return judge(
        folders[0],
        folders[1],
        own=nothing if own is None else own,
        general=general,
        rules=_RULES,
        device=str(device_for(settings.training_device)),
        tick=tick,
    )


def _show(console: Console, verdict: Verdict, project: str, own: Dataset | None) -> None:
    """With labels of its own what the gate would say, else the general set's figures alone."""
    if own is not None:
        for part in tables(verdict.report):
            console.print(part)
    else:
        for part in set_tables(verdict.report["sets"]["general"]):
            console.print(part)
        console.print(
            f"Project {project} has no held-out label yet, so the gate could not decide. About one "
            "picture in five is held out: label more of them."
            if project
            else "The gate decides by a project's own labels, too: name one with --project."
        )
    console.print("Nothing was promoted: this only measures.")
