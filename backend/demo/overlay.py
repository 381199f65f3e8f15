"""Saves what an annotator would see: the photograph, the mask over it, the clicks on top."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from skimage.color import label2rgb
from skimage.segmentation import mark_boundaries

from backend.demo.story import Step

# Seldom the colour of a thing.
_BLUE = (0.05, 0.45, 1.0)


def save_overlay(path: Path, pixels: NDArray[np.uint8], step: Step) -> None:
    """One step on its photograph, with what was sent and answered as the title."""
    height, width = pixels.shape[:2]
    figure = Figure(figsize=(8, 8 * height / width + 0.6), dpi=100)
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.96 - 0.6 / figure.get_figheight()))
    axes.set_axis_off()
    axes.imshow(pixels if step.mask is None else _tinted(pixels, step.mask))
    for point in step.points:
        colour = "#00c853" if point.positive else "#d50000"
        axes.plot(point.x, point.y, "o", ms=11, mfc=colour, mec="white", mew=2)
    figure.suptitle(f"{step.name}: {step.sent}\n{step.wrong or step.answer}", fontsize=9, wrap=True)
    figure.savefig(path)


def _tinted(pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    tinted = label2rgb(
        mask.astype(np.uint8), pixels, colors=[_BLUE], alpha=0.4, bg_label=0, saturation=1
    )
    return np.asarray(mark_boundaries(tinted, mask, color=(1.0, 1.0, 0.0)))
