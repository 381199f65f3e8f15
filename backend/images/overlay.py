"""A mask drawn over its photograph: blue with a white border, clicks as dots with a sign."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from torchvision.utils import draw_segmentation_masks

BLUE, GREEN, RED, WHITE = (47, 123, 255), (12, 138, 69), (207, 45, 39), (255, 255, 255)
_OPACITY = 0.42
_RADIUS = 11

Click = tuple[float, float, bool]  # x and y in pixels, and whether it is positive


def overlay(
    pixels: NDArray[np.uint8], mask: NDArray[np.bool_] | None, clicks: Sequence[Click] = ()
) -> Image.Image:
    """pixels: H,W,3 RGB; mask: H,W, None for no mask. Returns an image of the same size."""
    image = Image.fromarray(pixels) if mask is None else _tinted(pixels, mask)
    canvas = ImageDraw.Draw(image)
    for x, y, positive in clicks:
        # A click may lie a little outside of what is shown.
        x = min(max(x, _RADIUS + 1), image.width - _RADIUS - 1)
        y = min(max(y, _RADIUS + 1), image.height - _RADIUS - 1)
        canvas.circle((x, y), _RADIUS, fill=GREEN if positive else RED, outline=WHITE, width=2)
        canvas.line((x - 5, y, x + 5, y), fill=WHITE, width=3)
        if positive:
            canvas.line((x, y - 5, x, y + 5), fill=WHITE, width=3)
    return image


def _tinted(pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Image.Image:
    planes = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)
    inside = torch.from_numpy(np.array(mask))
    tinted = draw_segmentation_masks(planes, inside, alpha=_OPACITY, colors=[BLUE])
    drawn = tinted.permute(1, 2, 0).numpy()
    grown = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(5))
    drawn[(np.asarray(grown) > 0) & ~mask] = WHITE
    return Image.fromarray(drawn)
