"""The average of several checkpoints' weights, as one new checkpoint.

It only works for checkpoints that were trained from the same one. Their average is often better
than each of them, and as fast (Wortsman et al. 2022, "Model soups" and "Robust fine-tuning of
zero-shot models").
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model import checkpoint as checkpoints
from training.errors import TrainingError
from training.finetune.labels import labels_of


def write_average(folders: Sequence[Path | str], out: Path, shares: Sequence[float] = ()) -> str:
    """Write the average as a new checkpoint, uncalibrated; returns its version.

    Args:
        folders: checkpoints of the same form and vocabulary; the first is the parent.
        shares: weights of the average, in any scale; equal ones by default.

    Raises CheckpointError, or TrainingError if they do not fit together.
    """
    parts = [checkpoints.load(folder) for folder in folders]
    first = parts[0]
    weights = list(shares) or [1.0] * len(parts)
    total = sum(weights)
    if len(weights) != len(parts) or min(weights) < 0 or total <= 0:
        raise TrainingError(f"{len(parts)} checkpoints need {len(parts)} shares, none below 0.")
    for part in parts[1:]:
        same_words = part.words == first.words and np.array_equal(part.vectors, first.vectors)
        if part.config != first.config or not same_words:
            raise TrainingError(
                f"{first.version} and {part.version} have different configurations or words, so "
                "their weights cannot be averaged."
            )
    fractions = [weight / total for weight in weights]
    state = dict(parts[-1].state)
    for name, tensor in state.items():
        if tensor.is_floating_point():  # not a counter
            shared = zip(parts, fractions, strict=True)
            state[name] = torch.stack([part.state[name] * share for part, share in shared]).sum(0)
    network = first.network()
    network.load_state_dict(state)
    trained = set[str]().union(*(part.trained or () for part in parts))
    known = (part.metrics.get("metrics", {}).get("categories", ()) for part in parts)
    versions = [part.version for part in parts]
    metrics: dict[str, Any] = {
        "averaged": dict(zip(versions, fractions, strict=True)),
        "categories": sorted(set[str]().union(*known)),
    }
    learned = [labels_of(part.metrics.get("metrics", {})) for part in parts]
    of_teams = [labels for labels in learned if labels is not None]
    if of_teams:  # it has learned what all of them have
        names = sorted(set[str]().union(*of_teams))
        metrics["labels"] = {
            name: min(labels.get(name, 0) for labels in of_teams) for name in names
        }
    return checkpoints.save(
        out,
        network,
        first.words,
        first.vectors,
        metrics,
        trained=trained if all(part.trained is not None for part in parts) else None,
        parent=first.version,
    )
