"""Two versions compared: by the gate, in a training or by hand before a promotion; by a replay.

A replay asks what an older version would have cost. People never label the same object twice. So
the standard protocol clicks on every accepted object until 85 % IoU, once with each version.
Simulated clicks are better placed than people's, so the two versions are compared only with each
other, never with real clicks. Objects of held-out pictures are counted apart: a version does better
on what it was trained on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich import progress as bars
from rich.console import Console
from sqlalchemy import select

from backend.db.engine import Database
from backend.db.models import Job, RegionCostRow, SampleRow, Version
from backend.errors import JobError, VersionError
from backend.jobs.progress import Progress
from backend.learning.snapshot import take_snapshot
from backend.registry.champions import EVERYONE
from backend.registry.versions import Registry
from backend.reports.click_curve import GOOD
from backend.reports.group_by import mean_of
from backend.samples.dataset import AcceptedSamples, open_samples
from backend.settings import Settings
from training.data import Dataset, Sample, Without, open_dataset
from training.errors import DataError
from training.evaluation.measurement import Checkpoint, Served
from training.evaluation.protocol import Mode, Target, follow
from training.finetune.recipe import Budget
from training.gate.gate import Verdict, judge, open_general_set
from training.gate.report import set_tables, tables
from training.gate.rules import GateRules
from training.train.distributed import device_for

# The default number of objects: a few minutes on two cores, and as many rows as a page can show.
OBJECTS = 200
_MOST_OBJECTS = 2_000
# An object of fewer pixels cannot be clicked on.
_FEWEST_PIXELS = 4


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
        base=registry.folder(_fallback(registry, candidate)),
        rules=rules,
        device=str(device_for(settings.training_device)),
        tick=tick,
        check=check,
        pictures=pictures,
    )


def _fallback(registry: Registry, version: str) -> str:
    """What serves labels that a version has not learned; one for all projects would replace it."""
    everyone = registry.get(version).project == EVERYONE
    return registry.base_name if everyone else registry.serves(EVERYONE)


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
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.TaskProgressColumn(),
        bars.TimeRemainingColumn(),
    )
    with (
        tempfile.TemporaryDirectory(prefix="phraseclick-") as folder,
        bars.Progress(*columns, console=console, transient=True) as bar,
    ):
        task = bar.add_task("Measuring", total=1.0)

        def progress(done: float, what: str) -> None:
            bar.update(task, completed=done, description=what)

        def read(done: int, total: int) -> None:
            progress(done / max(total, 1), f"Reading held-out picture {done} of {total}")

        own: Dataset | None = None
        if project != EVERYONE:
            samples = open_samples(settings, registry.database, project)
            own = take_snapshot(samples, Path(folder), read, held_out_only=True).held_out_part()
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


# -- replays


@dataclass(frozen=True)
class ReplayedObject:
    """An object and its interactions: simulated with each version, and real ones if known."""

    task: int
    annotation: int
    region: str
    label: str
    phrase: str
    held_out: bool  # neither version can have learned from its picture
    took: int | None
    before: int = 0
    after: int = 0


def replay(job: Job, settings: Settings, database: Database, progress: Progress) -> dict[str, Any]:
    """The job. Its request may name ``version``, ``before`` and ``objects``; by default the
    champion is compared with its predecessor. Raises JobError if there is nothing to compare."""
    registry = Registry(database, settings)
    before, version = _versions(job, registry)
    most = min(_MOST_OBJECTS, max(1, int(job.request.get("objects") or OBJECTS)))
    progress.phase("reading", 0.05)
    dataset = open_samples(settings, database, job.project)
    total = min(most, sum(len(dataset.objects(index)) for index in range(len(dataset))))
    progress.line(f"{before} against {version} on the accepted objects of project {job.project}.")
    progress.phase("replaying", 0.95)
    device = settings.training_device
    base = _checkpoint(registry, _fallback(registry, version), device)
    older, newer = (Served(_checkpoint(registry, name, device), base) for name in (before, version))
    replayed: list[ReplayedObject] = []
    left_out: list[str] = []
    for done, entry in enumerate(_objects(dataset, database, left_out), 1):
        progress.check()
        clicks = _needed(entry, older), _needed(entry, newer)
        replayed.append(replace(entry.row, before=clicks[0], after=clicks[1]))
        progress.at(done / total, f"{done} of {total} objects")
        if done >= most:
            break
    if not replayed:
        why = left_out[0] if left_out else "No accepted label has a picture that can be read yet."
        raise JobError(f"There is nothing to replay. {why}")
    return {
        "simulated": True,
        "project": job.project,
        "version": version,
        "before": before,
        "goal": GOOD,
        "all": _summary(replayed),
        "held_out": _summary([row for row in replayed if row.held_out]),
        "rows": [asdict(row) for row in replayed],
        "left_out": left_out,
    }


@dataclass(frozen=True)
class _Object:
    sample: Sample
    picture: str
    number: int
    row: ReplayedObject  # before it is replayed


def _versions(job: Job, registry: Registry) -> tuple[str, str]:
    version = registry.get(str(job.request.get("version") or registry.serves(job.project)))
    before = registry.get(str(job.request.get("before") or _predecessor(version, registry)))
    if before.name == version.name:
        raise JobError(
            f"{version.name} has no predecessor to compare it with. Name a version to compare it "
            "with."
        )
    return before.name, version.name


def _predecessor(version: Version, registry: Registry) -> str:
    """The version that it replaced when it was last promoted; else its parent."""
    for promotion in reversed(registry.history()):
        if promotion.kind == "promotion" and promotion.version == version.name:
            return promotion.before or registry.base_name
    return version.parent if version.parent in registry.names() else registry.base_name


def _checkpoint(registry: Registry, name: str, device: str) -> Checkpoint:
    try:
        return Checkpoint(registry.folder(name), device=device, name=name)
    except VersionError as error:
        raise JobError(f"{name} cannot be replayed: {error}") from error


def _objects(
    dataset: AcceptedSamples, database: Database, left_out: list[str]
) -> Iterator[_Object]:
    """Picture by picture, the newest first."""
    order = sorted(range(len(dataset)), key=dataset.updated_at, reverse=True)
    for index in order:
        place = dataset.place(index)
        try:
            sample = dataset[index]
        except DataError as error:
            left_out.append(str(error))
            continue
        real = _interactions(database, place.project, place.annotation_id, place.image)
        for about, (region, clicks) in zip(sample.objects, real, strict=False):
            if np.count_nonzero(sample.mask(about.id) & ~sample.void) < _FEWEST_PIXELS:
                continue
            row = ReplayedObject(
                place.task_id,
                place.annotation_id,
                region,
                about.category or "",
                about.phrases[0] if about.phrases else "",
                dataset.split(index) == "validation",
                clicks,
            )
            yield _Object(sample, f"{place.key}:{place.image}", about.id, row)


def _interactions(
    database: Database, project: str, annotation: int, image: str
) -> list[tuple[str, int | None]]:
    """The annotation's regions in their order, with their real interactions."""
    sample, cost = SampleRow, RegionCostRow
    same = (
        (cost.project == sample.project)
        & (cost.annotation_id == sample.annotation_id)
        & (cost.brush == sample.brush)
        & (cost.region_id == sample.region_id)
        & cost.known
    )
    query = (
        select(sample.region_id, cost.interactions)
        .join(cost, same, isouter=True)
        .where(sample.project == project, sample.annotation_id == annotation, sample.image == image)
        .order_by(sample.number)
    )
    with database.read() as connection:
        return [(row.region_id, row.interactions) for row in connection.execute(query)]


def _needed(entry: _Object, served: Served) -> int:
    """Interactions to the goal; the protocol's maximum if it is never reached."""
    sample, phrase = entry.sample, entry.row.phrase
    target = Target(sample.mask(entry.number), sample.void, phrase)
    answer = served.look_at(sample, entry.picture, entry.row.label)
    mode: Mode = "phrase+clicks" if phrase else "clicks"
    trajectory = follow(answer, target, mode, goal=GOOD, at_least=1)
    return trajectory.needed(GOOD)


def _summary(rows: list[ReplayedObject]) -> dict[str, Any] | None:
    """Means and their paired difference, after minus before, with its 95 % interval."""
    if not rows:
        return None
    tasks = np.array([row.task for row in rows], np.int64)
    before = np.array([row.before for row in rows], np.float64)
    after = np.array([row.after for row in rows], np.float64)
    difference = mean_of(after - before, tasks, least=-np.inf)
    assert difference is not None, "there are rows"
    return {
        "before": float(before.mean()),
        "after": float(after.mean()),
        "difference": asdict(difference),
        "n": len(rows),
    }
