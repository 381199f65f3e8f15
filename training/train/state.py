"""The folder of a run: the state to resume from, the log, and exported checkpoints.

state.pt        replaced atomically; a killed run keeps the previous one
log.jsonl       losses and validation, one JSON object per line
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


def about_state(folder: Path) -> str:
    """Where the run can continue, as a sentence."""
    if (folder / STATE).exists():
        return f"The last good state is in {folder / STATE}; the same command continues from it."
    return "No state was saved yet."


def append_history(folder: Path, entry: Mapping[str, Any]) -> None:
    """Append a line to the log."""
    with (folder / HISTORY).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def rewind_history(folder: Path, step: int) -> None:
    """Drop log entries after this step, which a killed run will repeat."""
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
    """Write the network as a checkpoint, point `latest` to it, and remove the oldest exports."""
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
