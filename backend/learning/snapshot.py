"""A training's snapshot of the labels that it learns from and is measured on.

Annotators continue to label while a network learns. With a snapshot every attempt at a job sees the
same labels, and needs neither pictures nor database while it learns. It consists of two shards and
a note of what they hold; a snapshot without its note is made again.

It is in the job's folder on this machine, which is removed once the job has ended. A second attempt
takes the folder over by renaming it: if the first process hangs, taken for dead but still there, it
finds nothing under the old name and can damage nothing.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from backend.db.engine import Database
from backend.db.models import AnnotatedPictureRow, Job
from backend.db.models.jobs import ENDS
from backend.samples.dataset import AcceptedSamples, export
from backend.samples.rules import Split
from model.files import atomic_write
from training.data import Dataset, PackDataset
from training.data.sample import side, sides
from training.data.wrappers import LONGEST

_log = logging.getLogger(__name__)

_FOLDER = "jobs"
# Most pictures of each side. A fine-tuning sees each of 600 pictures once or twice, and the gate
# asks about some sixty objects: more would only take time.
_MOST: dict[Split, int] = {"train": 600, "validation": 120}
# If more than this share of the pictures cannot be fetched, their host is down.
_MOST_UNAVAILABLE = 0.25

_NOTE = "labels.json"
_SHARDS: dict[Split, str] = {"train": "train.tar", "validation": "held-out.tar"}


def work_dir(data: Path, job: Job) -> Path:
    """A folder in the data folder for this attempt at a job, with what earlier ones left."""
    root = data / _FOLDER
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f"{job.id}-{job.attempts}"
    earlier = sorted(root.glob(f"{job.id}-*"), key=lambda path: path.stat().st_mtime)
    if earlier and not folder.exists():
        earlier[-1].rename(folder)
    folder.mkdir(exist_ok=True)
    return folder


def sweep(data: Path, database: Database) -> int:
    """Remove the folders of jobs that have ended, or are unknown; returns their number."""
    folders = [
        (int(number), folder)
        for folder in (data / _FOLDER).glob("*-*")
        if (number := folder.name.partition("-")[0]).isdigit() and folder.is_dir()
    ]
    if not folders:
        return 0
    still_open = set(database.records(select(Job.id).where(Job.state.not_in(ENDS))))
    ended = [folder for number, folder in folders if number not in still_open]
    for folder in ended:
        _log.info("Removing the files of job %s", folder.name.partition("-")[0])
        shutil.rmtree(folder, ignore_errors=True)
    return len(ended)


@dataclass(frozen=True)
class Part:
    """Counts of one side of the split."""

    pictures: int = 0
    labels: int = 0


@dataclass(frozen=True)
class Snapshot:
    """The labels in a folder.

    digest: of its annotations and their versions. newest: when one changed last. missing: a
    sentence for each picture that could not be read.
    """

    folder: Path
    train: Part
    held_out: Part
    annotations: int
    newest: str
    digest: str
    missing: tuple[str, ...]

    @property
    def counts(self) -> dict[str, Any]:
        return {
            "labels": self.train.labels + self.held_out.labels,
            "train": asdict(self.train),
            "held_out": asdict(self.held_out),
            "annotations": self.annotations,
            "newest": self.newest,
            "digest": self.digest,
        }

    def training_part(self) -> Dataset:
        """What the network learns from. Raises DataError if it is empty."""
        return PackDataset([self.folder / _SHARDS["train"]])

    def held_out_part(self) -> Dataset | None:
        """What the gate asks about, and the training is measured on."""
        return PackDataset([self.folder / _SHARDS["validation"]]) if self.held_out.labels else None


def take_snapshot(
    samples: AcceptedSamples,
    folder: Path,
    progress: Callable[[int, int], None],
    *,
    held_out_only: bool = False,
    complete: Callable[[], None] = lambda: None,
) -> Snapshot:
    """The snapshot in this folder, taken if there is none yet.

    Args:
        progress: called with the number of pictures read, and of all; an exception ends it.
        held_out_only: leave the training side empty.
        complete: called once all is read; an exception discards the snapshot.
    """
    taken = _taken(folder)
    if taken is not None:
        return taken
    sides = _sides(samples, held_out_only=held_out_only)
    total = sum(map(len, sides.values()))
    parts: dict[Split, Part] = {}
    missing: list[str] = []
    done = 0
    for split, indices in sides.items():
        written, unread = export(
            samples,
            folder / _SHARDS[split],
            lambda number, _, before=done: progress(before + number, total),  # type: ignore[misc]
            only=indices,
            # Training steps see no more than that; the gate asks about pictures as they are.
            longest=LONGEST if split == "train" else None,
        )
        done += len(indices)
        missing += unread
        parts[split] = Part(len(indices) - len(unread), written)
    complete()
    read = [index for indices in sides.values() for index in indices]
    versions = sorted(
        {(samples.place(n).annotation_id, samples.updated_at(n).isoformat()) for n in read}
    )
    snapshot = Snapshot(
        folder,
        parts["train"],
        parts["validation"],
        len(versions),
        max((time for _, time in versions), default=""),
        hashlib.sha256(json.dumps(versions).encode()).hexdigest(),
        tuple(missing),
    )
    note = {name: value for name, value in asdict(snapshot).items() if name != "folder"}
    atomic_write(folder / _NOTE, json.dumps(note))
    return snapshot


def unavailable(samples: AcceptedSamples, database: Database) -> int:
    """How many of the pictures cannot be fetched because their host is down; 0 if it is not.

    A single picture may be gone. If many are at once, the host is down, even if it answers that
    there are no such pictures. They are marked as good again, for the next attempt.
    """
    places = [samples.place(index) for index in range(len(samples))]
    tried = {(place.annotation_id, place.image) for place in places}
    picture = AnnotatedPictureRow
    of_project = picture.project.in_({place.project for place in places})
    is_gone = of_project & (picture.state == "gone")
    with database.read() as connection:
        query = select(picture.annotation_id, picture.image).where(is_gone)
        gone = [row for row in connection.execute(query) if tuple(row) in tried]
    total = samples.unreached + len(gone)
    if total <= len(samples) * _MOST_UNAVAILABLE:
        return 0
    good = {"state": "good", "look_after": None, "attempts": 0, "error": ""}
    with database.write() as connection:
        for row in gone:
            here = (picture.annotation_id == row.annotation_id) & (picture.image == row.image)
            connection.execute(update(picture).where(is_gone, here).values(good))
    return total


def _sides(samples: AcceptedSamples, *, held_out_only: bool) -> dict[Split, list[int]]:
    keys = [samples.place(index).key for index in range(len(samples))]
    if held_out_only:
        held_out = [index for index, key in enumerate(keys) if side(key) == "validation"]
        return {"train": [], "validation": _bounded(samples, held_out, "validation")}
    return {split: _bounded(samples, here, split) for split, here in sides(keys).items()}


def _bounded(samples: AcceptedSamples, here: list[int], split: Split) -> list[int]:
    """The pictures of a side; if there are too many, the newest, and others by the hash of their
    content, so that what was labeled long ago is not forgotten."""
    most = _MOST[split]
    if len(here) <= most:
        return here
    newest: Sequence[int] = ()
    if split == "train":
        newest = sorted(here, key=samples.updated_at, reverse=True)[: most // 2]
    left = sorted(set(here) - set(newest), key=lambda index: (samples.place(index).key, index))
    return sorted([*newest, *left[: most - len(newest)]])


def _taken(folder: Path) -> Snapshot | None:
    try:
        note = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    train, held_out = Part(**note.pop("train")), Part(**note.pop("held_out"))
    return Snapshot(folder, train, held_out, missing=tuple(note.pop("missing")), **note)
