"""A training's own copy of the labels that it learns from and is measured on.

Annotators go on labeling while a network learns. With a copy every attempt at a job sees the same
labels, and needs neither pictures nor database while it learns. It is written once, two shards and
a note of what is in them; a copy without its note is made anew.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backend.samples.dataset import AcceptedSamples
from backend.samples.export import export
from backend.samples.rules import Split
from model.files import atomic_write
from training.data import Dataset, PackDataset, Without
from training.data.wrappers import LONGEST

# A fine-tuning sees each picture of so many once or twice; a copy of more would only take time.
MOST_TRAIN = 600
# The gate asks about some sixty objects.
MOST_HELD_OUT = 120
# From so many held-out pictures on, every third is looked at on the way and asked by no gate: so
# that the weights that did best there are not measured by what they were chosen by. With fewer the
# gate needs them all.
_DIVIDED_FROM = 45

_NOTE = "labels.json"
_SHARDS: dict[Split, str] = {"train": "train.tar", "validation": "held-out.tar"}


@dataclass(frozen=True)
class Part:
    """Numbers of one side of the split."""

    pictures: int = 0
    labels: int = 0


@dataclass(frozen=True)
class LabelCopy:
    """A copy. digest: of the annotations in it and their versions; newest: when one changed last.

    missing: sentences, one for each picture that could not be read.
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
        """What is in it, as the registry keeps it."""
        return {
            "labels": self.train.labels + self.held_out.labels,
            "train": asdict(self.train),
            "held_out": asdict(self.held_out),
            "annotations": self.annotations,
            "newest": self.newest,
            "digest": self.digest,
        }

    def to_learn_from(self) -> Dataset:
        """The side that trains. Raises DataError where nothing is on it."""
        return PackDataset([self.folder / _SHARDS["train"]])

    def to_look_at(self) -> Dataset | None:
        """What is looked at while the network learns."""
        held_out = self._held_out()
        if held_out is None or len(held_out) < _DIVIDED_FROM:
            return held_out
        return Without(held_out, [n for n in range(len(held_out)) if n % 3])

    def to_measure(self) -> Dataset | None:
        """What the gate asks about."""
        held_out = self._held_out()
        if held_out is None or len(held_out) < _DIVIDED_FROM:
            return held_out
        return Without(held_out, range(0, len(held_out), 3))

    def _held_out(self) -> PackDataset | None:
        return PackDataset([self.folder / _SHARDS["validation"]]) if self.held_out.labels else None


def copy_labels(
    samples: AcceptedSamples,
    folder: Path,
    tell: Callable[[int, int], None],
    only: Split | None = None,
    made: Callable[[], None] = lambda: None,
) -> LabelCopy:
    """The copy in this folder, made where it is not there. ``tell`` hears how many pictures of how
    many are read, and may raise to end it. only: leave the other side empty. made: is called when
    all was read, and may raise to have it read anew another time."""
    kept = _made(folder)
    if kept is not None:
        return kept
    chosen = {
        split: _chosen(samples, split, most) if only in (None, split) else []
        for split, most in _MOST.items()
    }
    total = sum(map(len, chosen.values()))
    parts: dict[Split, Part] = {}
    missing: list[str] = []
    done = 0
    for split, indices in chosen.items():
        written, unread = export(
            samples,
            folder / _SHARDS[split],
            lambda number, _, before=done: tell(before + number, total),  # type: ignore[misc]
            only=indices,
            # Steps see no more than that; the gate asks about pictures as they are.
            longest=LONGEST if split == "train" else None,
        )
        done += len(indices)
        missing += unread
        parts[split] = Part(len(indices) - len(unread), written)
    made()
    read = [index for indices in chosen.values() for index in indices]
    versions = sorted(
        {(samples.place(n).annotation_id, samples.updated_at(n).isoformat()) for n in read}
    )
    copy = LabelCopy(
        folder,
        parts["train"],
        parts["validation"],
        len(versions),
        max((time for _, time in versions), default=""),
        hashlib.sha256(json.dumps(versions).encode()).hexdigest(),
        tuple(missing),
    )
    _note(copy)
    return copy


_MOST: dict[Split, int] = {"train": MOST_TRAIN, "validation": MOST_HELD_OUT}


def _chosen(samples: AcceptedSamples, split: Split, most: int) -> list[int]:
    """The pictures of a side; of too many the newest, and others by the hash of their content, so
    that what was labeled long ago is not forgotten."""
    here = [index for index in range(len(samples)) if samples.split(index) == split]
    if len(here) <= most:
        return here
    newest: Sequence[int] = ()
    if split == "train":
        newest = sorted(here, key=samples.updated_at, reverse=True)[: most // 2]
    left = sorted(set(here) - set(newest), key=lambda index: (samples.place(index).key, index))
    return sorted([*newest, *left[: most - len(newest)]])


def _made(folder: Path) -> LabelCopy | None:
    try:
        told = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    train, held_out = Part(**told.pop("train")), Part(**told.pop("held_out"))
    return LabelCopy(folder, train, held_out, missing=tuple(told.pop("missing")), **told)


def _note(copy: LabelCopy) -> None:
    told = {name: value for name, value in asdict(copy).items() if name != "folder"}
    atomic_write(copy.folder / _NOTE, json.dumps(told))
