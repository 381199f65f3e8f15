"""TensorBoard, for who wants curves: the same numbers as in the log, written as they come."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.errors import RecipeError

BOARD = "tensorboard"


class Board:
    """Scalars under a run's folder; ``tensorboard --logdir FOLDER`` shows them."""

    def __init__(self, folder: Path, step: int) -> None:
        """step: where the run goes on; what was written beyond it before a kill is dropped."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise RecipeError(
                "train.tensorboard needs the package tensorboard, which is not installed: "
                "pip install 'phraseclick-label-studio[tensorboard]', or set it to false."
            ) from error
        self._writer = SummaryWriter(str(folder / BOARD), purge_step=step + 1)

    def write(self, step: int, figures: Mapping[str, Any]) -> None:
        """All numbers of one entry of the log: losses, or what was found of each source."""
        for name, value in figures.items():
            numbers = value if isinstance(value, dict) else {name: value}
            group = name if isinstance(value, dict) else "train"
            for key, number in numbers.items():
                tag = f"{group}/{key}".replace(" ", "_")
                self._writer.add_scalar(tag, float(number), step)

    def close(self) -> None:
        self._writer.close()
