"""A mask drawn over its photograph, close enough to see a small object.

Used wherever a person judges a mask: on the dashboard, in the gate's examples and in the demo.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from model.torchvision_operators import torchvision
from training.evaluation.protocol import Mask

Rgb = NDArray[np.uint8]
View = tuple[int, int, int, int]  # left, top, width, height in the photograph's pixels
Click = tuple[float, float, bool]  # x, y, and whether it is positive

# A view shows at least this share of each side, and this margin around what is in it. *choice*
SMALLEST_VIEW = 0.33
MARGIN = 0.25

BLUE, GREEN, RED, WHITE = (47, 123, 255), (12, 138, 69), (207, 45, 39), (255, 255, 255)
_OPACITY = 0.42


def around(masks: Sequence[Mask], clicks: Sequence[Click]) -> View:
    """The part of a photograph that holds all masks (H,W) and clicks with a margin.

    It has the photograph's aspect ratio.
    """
    height, width = masks[0].shape
    together = np.logical_or.reduce(masks)
    columns, rows = np.flatnonzero(together.any(axis=0)), np.flatnonzero(together.any(axis=1))
    xs = [*columns[:1], *columns[-1:], *(int(x) for x, _, _ in clicks)]
    ys = [*rows[:1], *rows[-1:], *(int(y) for _, y, _ in clicks)]
    if not xs:
        return 0, 0, width, height
    share = max(
        SMALLEST_VIEW,
        (max(xs) - min(xs)) * (1 + 2 * MARGIN) / width,
        (max(ys) - min(ys)) * (1 + 2 * MARGIN) / height,
    )
    if share > 0.9:
        return 0, 0, width, height
    size = max(1, round(share * width)), max(1, round(share * height))
    left = round((int(max(xs)) + int(min(xs)) - size[0]) / 2)
    top = round((int(max(ys)) + int(min(ys)) - size[1]) / 2)
    return min(max(left, 0), width - size[0]), min(max(top, 0), height - size[1]), *size


def crop(pixels: Rgb, view: View, width: int) -> Rgb:
    """The part of a photograph (H,W,3) that a view shows, ``width`` pixels wide."""
    left, top, wide, tall = view
    part = Image.fromarray(pixels[top : top + tall, left : left + wide])
    size = width, max(1, round(width * tall / wide))
    return np.asarray(part.resize(size, Image.Resampling.LANCZOS))


def overlay_view(
    part: Rgb,
    view: View,
    mask: Mask,
    clicks: Sequence[Click] = (),
    *,
    target: Mask | None = None,
    radius: int = 11,
) -> Image.Image:
    """`overlay` on a part of a photograph, as `crop` makes it, of what is given for the whole."""
    left, top, wide, tall = view
    high, across = part.shape[:2]

    def cropped(whole: Mask) -> Mask:
        """The same part of a mask; smooth, without steps."""
        inside = Image.fromarray(whole[top : top + tall, left : left + wide].astype(np.uint8) * 255)
        return np.asarray(inside.resize((across, high), Image.Resampling.BILINEAR)) > 127

    moved = [((x - left) * across / wide, (y - top) * high / tall, on) for x, y, on in clicks]
    goal = None if target is None else cropped(target)
    return overlay(part, cropped(mask), moved, target=goal, radius=radius)


def overlay(
    pixels: Rgb,
    mask: Mask | None,
    clicks: Sequence[Click] = (),
    *,
    target: Mask | None = None,
    radius: int = 11,
) -> Image.Image:
    """The mask in blue, the border of the target (else of the mask) in white, clicks as dots with
    a sign.

    pixels: H,W,3 RGB; mask, target: H,W.
    """
    planes = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)
    if mask is not None and mask.any():
        inside = torch.from_numpy(np.array(mask))
        planes = torchvision.utils.draw_segmentation_masks(
            planes, inside, alpha=_OPACITY, colors=[BLUE]
        )
    drawn = planes.permute(1, 2, 0).numpy()
    outlined = mask if target is None else target
    if outlined is not None:
        grown = Image.fromarray(outlined.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(5))
        drawn[(np.asarray(grown) > 0) & ~outlined] = WHITE
    image = Image.fromarray(drawn)
    canvas = ImageDraw.Draw(image)
    sign = round(0.45 * radius)
    for x, y, positive in clicks:
        # A click may lie a little outside of the view.
        x = min(max(x, radius + 1), image.width - radius - 1)
        y = min(max(y, radius + 1), image.height - radius - 1)
        canvas.circle((x, y), radius, fill=GREEN if positive else RED, outline=WHITE, width=2)
        canvas.line((x - sign, y, x + sign, y), fill=WHITE, width=3)
        if positive:
            canvas.line((x, y - sign, x, y + sign), fill=WHITE, width=3)
    return image
