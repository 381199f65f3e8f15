"""The folder of a run, and what the run reports.

state.pt        replaced atomically; a killed run keeps the previous one
log.jsonl       losses and validation, one JSON object per line
exports/step-…  the last few checkpoints, of averaged weights
latest          a link to the newest of them

Curves go to TensorBoard, and errors say what to change. After an error the run's last state is
intact, and the same command continues from it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from model import checkpoint
from model.files import atomic_file, atomic_write
from model.network.phraseclick import PhraseClick
from model.tokenizer import Tokenizer
from training.errors import DivergedError, RecipeError, TooLargeError, TrainingError

STATE = "state.pt"
HISTORY = "log.jsonl"
LATEST = "latest"
EXPORTS = "exports"
# Older exports that a run keeps besides the one that `latest` names.
KEPT = 2


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Replace the folder's state."""
    with atomic_file(folder / STATE, single_writer=True) as file:
        torch.save(dict(state), file)


def read_state(folder: Path) -> dict[str, Any] | None:
    """The folder's state, on the CPU, or None. Raises TrainingError if it cannot be read."""
    path = folder / STATE
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise TrainingError(
            f"{path} cannot be read ({error}). Start again in another folder; data.start can name "
            f"the checkpoint {folder / LATEST}."
        ) from error
    return state


def append_history(folder: Path, entry: Mapping[str, Any]) -> None:
    """Append a line to the log."""
    with (folder / HISTORY).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def rewind_history(folder: Path, step: int) -> None:
    """Drop log entries after this step, which a killed run will repeat."""
    path = folder / HISTORY
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        # A kill may cut off the last line.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            if int(json.loads(line)["step"]) <= step:
                kept.append(line + "\n")
    atomic_write(path, "".join(kept))


def export(
    folder: Path,
    step: int,
    network: PhraseClick,
    tokenizer: Tokenizer,
    metrics: Mapping[str, Any],
    parent: str | None,
) -> None:
    """Write the network as a checkpoint, point `latest` to it, and remove the oldest exports."""
    exports = folder / EXPORTS
    target = exports / f"step-{step:06d}"
    if not target.exists():
        save_checkpoint(target, network, tokenizer, metrics, folder.name, parent)
    point(folder / LATEST, target)
    for old in sorted(exports.glob("step-*"))[: -KEPT - 1]:
        shutil.rmtree(old)


def save_checkpoint(
    folder: Path,
    network: PhraseClick,
    tokenizer: Tokenizer,
    metrics: Mapping[str, Any],
    name: str,
    parent: str | None,
) -> None:
    """Write a network with its words as a checkpoint."""
    words, vectors, trained = tokenizer.words, tokenizer.vectors, tokenizer.trained
    checkpoint.save(
        folder, network, words, vectors, metrics, trained=trained, name=name, parent=parent
    )


def point(link: Path, target: Path) -> None:
    """Let a link point to a folder next to it or below, in one step."""
    partial = link.with_name(link.name + ".partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target.relative_to(link.parent))
    os.replace(partial, link)


def line(entry: dict[str, Any]) -> str:
    """One line of the log for people."""
    return "  ".join(_shown(entry))


def _shown(entry: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in entry.items():
        if isinstance(value, dict):
            yield from _shown(value, f"{prefix}{name} ")
        elif isinstance(value, float):
            yield f"{prefix}{name} {value:.4g}"
        else:
            yield f"{prefix}{name} {value}"


BOARD = "tensorboard"


class TensorBoardLog:
    """TensorBoard scalars in a run's folder; ``tensorboard --logdir FOLDER`` shows them."""

    def __init__(self, folder: Path, step: int) -> None:
        """step: where the run continues; later scalars of a killed run are dropped."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise RecipeError(
                "train.tensorboard needs the package tensorboard, which is not installed: "
                "pip install 'phraseclick-label-studio[tensorboard]', or set it to false."
            ) from error
        self._writer = SummaryWriter(str(folder / BOARD), purge_step=step + 1)

    def write(self, step: int, figures: Mapping[str, Any]) -> None:
        """All numbers of one entry of the log: losses, or figures by source."""
        for name, value in figures.items():
            numbers = value if isinstance(value, dict) else {name: value}
            group = name if isinstance(value, dict) else "train"
            for key, number in numbers.items():
                tag = f"{group}/{key}".replace(" ", "_")
                self._writer.add_scalar(tag, float(number), step)

    def close(self) -> None:
        self._writer.close()


# Messages of torch's CPU allocator on Linux and Windows; it has no error class of its own.
CPU_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory")


def _about_state(folder: Path) -> str:
    """Where the run can continue, as a sentence."""
    if (folder / STATE).exists():
        return f"The last good state is in {folder / STATE}; the same command continues from it."
    return "No state was saved yet."


@contextlib.contextmanager
def out_of_memory_explained(folder: Path, step: int, size: str) -> Iterator[None]:
    """Turn any error of exhausted memory into TooLargeError. size: the step's input, in words."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        known = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not known and not any(sign in str(error) for sign in CPU_OUT_OF_MEMORY):
            raise
        first = str(error).partition("\n")[0] or type(error).__name__
        raise TooLargeError(
            f"Step {step} ({size}) does not fit into memory. Lower train.pictures, train.prompts "
            f'or train.crop; on a GPU also set train.amp = "auto". {_about_state(folder)} ({first})'
        ) from error


def check_finite(folder: Path, step: int, keys: Sequence[str], **values: float) -> None:
    """Raise DivergedError, naming the step's pictures, if a loss or gradient is not finite."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise DivergedError(
                f"The {name} became {value} in step {step}. Lower train.rate or train.clip, or "
                f"look at the pictures of this step: {', '.join(keys)}. {_about_state(folder)}"
            )
