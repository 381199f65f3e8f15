"""What a run keeps in its folder: the state to go on from, the log, and checkpoints to be used.

state.pt        written whole or not at all; a kill at any moment leaves the one before
log.jsonl       losses and validation, one JSON object a line
exports/step-…  the last few checkpoints, of averaged weights
latest          a link to the newest of them
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from model import checkpoint
from model.files import atomic_file, atomic_write
from model.network.phraseclick import PhraseClick
from model.tokenizer import Tokenizer
from training.errors import TrainingError

STATE = "state.pt"
HISTORY = "log.jsonl"
LATEST = "latest"
EXPORTS = "exports"
# How many exported checkpoints a run keeps beside the one `latest` points to.
KEPT = 2


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Replace the folder's state."""
    with atomic_file(folder / STATE, single_writer=True) as file:
        torch.save(dict(state), file)


def read_state(folder: Path) -> dict[str, Any] | None:
    """The folder's state, on the CPU; None where there is none. Raises TrainingError."""
    path = folder / STATE
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise TrainingError(
            f"{path} cannot be read ({error}): start anew in another folder, from the checkpoint "
            f"{folder / LATEST} if you like (data.start)."
        ) from error
    return state


def about_state(folder: Path) -> str:
    """Where the run can go on from, in a sentence."""
    if (folder / STATE).exists():
        return f"The last good state is in {folder / STATE}; the same command goes on from it."
    return "No state had been saved yet."


def append_history(folder: Path, entry: Mapping[str, Any]) -> None:
    """One more line of the log."""
    with (folder / HISTORY).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def rewind_history(folder: Path, step: int) -> None:
    """Drop what was logged after this step by a run that was then killed; it is done again."""
    path = folder / HISTORY
    if not path.exists():
        return
    kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _within(line, step)]
    atomic_write(path, "".join(line + "\n" for line in kept))


def export(
    folder: Path,
    step: int,
    network: PhraseClick,
    tokenizer: Tokenizer,
    metrics: Mapping[str, Any],
    parent: str | None,
) -> None:
    """Write the network as a checkpoint, point `latest` to it, and remove the oldest."""
    exports = folder / EXPORTS
    target = exports / f"step-{step:06d}"
    if not target.exists():
        checkpoint.save(
            target,
            network,
            tokenizer.words,
            tokenizer.vectors,
            metrics,
            trained=tokenizer.trained,
            name=folder.name,
            parent=parent,
        )
    point(folder / LATEST, target)
    for old in sorted(exports.glob("step-*"))[: -KEPT - 1]:
        shutil.rmtree(old)


def calibrated_export(folder: Path, step: int) -> Path:
    """The directory of the checkpoint of this step with calibrated confidence."""
    return folder / EXPORTS / f"step-{step:06d}-calibrated"


def point(link: Path, target: Path) -> None:
    """Let a link point to a folder next to it or below, in one step."""
    partial = link.with_name(link.name + ".partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target.relative_to(link.parent))
    os.replace(partial, link)


def _within(line: str, step: int) -> bool:
    try:
        return int(json.loads(line)["step"]) <= step
    except (ValueError, KeyError, TypeError):  # a line cut off by the kill
        return False
