"""What can go wrong in a step, said so that one knows what to change.

In either case the run's last state is untouched, and the same command goes on from it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence

import torch

from training.errors import DivergedError, TooLargeError

# What torch's allocator for CPUs says, on Linux and on Windows; it has no error of its own.
CPU_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory")


@contextlib.contextmanager
def out_of_memory_explained(step: int, size: str, state: str) -> Iterator[None]:
    """Turn any sign of exhausted memory into TooLargeError.

    size: of what the step works on, in words. state: where the run can go on from, in words.
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
    """Raise DivergedError where a loss or gradient is no number, naming the step's pictures."""
    if not math.isfinite(value):
        raise DivergedError(
            f"The {what} became {value} in step {step}. Lower train.rate or train.clip, or look at "
            f"the pictures of this step: {', '.join(keys)}. {state}"
        )
