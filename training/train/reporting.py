"""What a training run reports: log lines, TensorBoard curves, and errors that say what to change.

After an error the run's last state is intact, and the same command continues from it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from training.errors import DivergedError, RecipeError, TooLargeError


def line(entry: dict[str, Any]) -> str:
    """One line of the log for people."""
    return "  ".join(_shown(entry))


def printed(entry: dict[str, Any]) -> None:
    """Print the line without buffering."""
    print(line(entry), flush=True)


def _shown(entry: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in entry.items():
        if isinstance(value, dict):
            yield from _shown(value, f"{prefix}{name} ")
        elif isinstance(value, float):
            yield f"{prefix}{name} {value:.4g}"
        else:
            yield f"{prefix}{name} {value}"


BOARD = "tensorboard"


class Board:
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


@contextlib.contextmanager
def out_of_memory_explained(step: int, size: str, state: str) -> Iterator[None]:
    """Turn any error of exhausted memory into TooLargeError.

    size: the size of the step's input, in words. state: where the run can continue, in words.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        known = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not known and not any(sign in str(error) for sign in CPU_OUT_OF_MEMORY):
            raise
        first = str(error).partition("\n")[0] or type(error).__name__
        raise TooLargeError(
            f"Step {step} ({size}) does not fit into memory. Lower train.pictures, train.prompts "
            f'or train.crop; on a GPU also set train.amp = "auto". {state} ({first})'
        ) from error


def check_finite(value: float, what: str, step: int, keys: Sequence[str], state: str) -> None:
    """Raise DivergedError, naming the step's pictures, if a loss or gradient is not finite."""
    if not math.isfinite(value):
        raise DivergedError(
            f"The {what} became {value} in step {step}. Lower train.rate or train.clip, or look at "
            f"the pictures of this step: {', '.join(keys)}. {state}"
        )
