"""The gate with the server's settings: in a training, and by hand before a promotion."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from backend.db.models import Version
from backend.errors import VersionError
from backend.learning.snapshot import take_snapshot
from backend.registry.champions import EVERYONE
from backend.registry.versions import Registry
from backend.samples.dataset import open_samples
from backend.settings import Settings
from training.data import Dataset, Without, open_dataset
from training.finetune.recipe import Budget
from training.gate.gate import Verdict, judge, open_general_set
from training.gate.rules import GateRules
from training.gate.table import set_tables, tables
from training.train.distributed import device_for


def gate_rules(settings: Settings, project: str, budget: Budget = "thorough") -> GateRules:
    """The gate's rules for a version of this project.

    A version for all projects has to be as good as before everywhere. After a quick training a
    general set that only warns gets half as many questions, since people wait for the version.
    """
    general = "veto" if project == EVERYONE else settings.gate_general
    rules = GateRules(general=general)
    if budget == "quick" and general == "warn":
        return replace(rules, most_general=rules.most_general // 2)
    return rules


def compare(
    registry: Registry,
    settings: Settings,
    candidate: str,
    champion: str,
    own: Dataset | None,
    rules: GateRules,
    *,
    progress: Callable[[float, str], None],
    check: Callable[[], None] | None = None,
    pictures: Path | None = None,
) -> Verdict:
    """The gate's verdict on two versions. own: held-out labels of a project.

    Raises VersionError if a version has no files.
    """
    general = open_dataset([settings.gate_set]) if settings.gate_set else open_general_set()

    def tick(done: float, figures: dict[str, float]) -> None:
        progress(done, f"Question {figures['asked']:.0f} of {figures['of']:.0f} to both")

    return judge(
        registry.folder(candidate),
        registry.folder(champion),
        own=Without(general, range(len(general))) if own is None else own,
        general=general,
        base=registry.folder(registry.base_name),
        rules=rules,
        device=str(device_for(settings.training_device)),
        tick=tick,
        check=check,
        pictures=pictures,
    )


def measure(
    console: Console,
    settings: Settings,
    registry: Registry,
    champion: Version,
    candidate: Version,
    project: str = EVERYONE,
) -> None:
    """Compare two versions and print the result. Nothing is stored or promoted.

    project: its key; without one only the general set is used. Raises VersionError if the two are
    the same.
    """
    if champion.name == candidate.name:
        raise VersionError(f"Both are {champion.name}: name two versions.")
    console.print(f"Champion: {champion.name}\nCandidate: {candidate.name}")
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
    with (
        tempfile.TemporaryDirectory(prefix="phraseclick-") as folder,
        Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar,
    ):
        task = bar.add_task("Measuring", total=1.0)

        def progress(done: float, what: str) -> None:
            bar.update(task, completed=done, description=what)

        def read(done: int, total: int) -> None:
            progress(done / max(total, 1), f"Reading held-out picture {done} of {total}")

        own: Dataset | None = None
        if project != EVERYONE:
            samples = open_samples(settings, registry.database, project)
            own = take_snapshot(samples, Path(folder), read, held_out_only=True).gate_part()
        verdict = compare(
            registry,
            settings,
            candidate.name,
            champion.name,
            own,
            gate_rules(settings, project),
            progress=progress,
        )
    for line in _lines(verdict, project, own):
        console.print(line)
    console.print("Nothing was promoted: this only measures.")


def _lines(verdict: Verdict, project: str, own: Dataset | None) -> Sequence[object]:
    """What the gate would decide; without labels of the project only the general set's figures."""
    if own is not None:
        return list(tables(verdict.report))
    why = (
        f"Project {project} has no held-out label yet, so the gate could not decide. About one "
        "picture in five is held out: label more of them."
        if project
        else "The gate also needs a project's own labels: name one with --project."
    )
    return [*set_tables(verdict.report["sets"]["general"]), why]
