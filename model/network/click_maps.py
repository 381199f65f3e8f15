"""Maps of clicks and boxes (distances, disks) at any stride of the network.

A click is a point (x, y) in pixels of the network input. The pixel in column c and row r covers
[c, c + 1) x [r, r + 1), with its centre at (c + 0.5, r + 0.5). Clicks keep their fractions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# The newest click's map fades to 0 over this many pixels of the network input.
NEWEST = 32.0


class ClickBatch(NamedTuple):
    """Clicks of B prompts, padded to N.

    xy: B,N,2 float, (x, y) in pixels of the network input. sign: B,N, +1 positive, -1 negative,
    0 padding. N may be 0.
    """

    xy: Tensor
    sign: Tensor


def no_clicks(batch: int, device: torch.device | None = None) -> ClickBatch:
    """B prompts without any click."""
    return ClickBatch(torch.zeros(batch, 0, 2, device=device), torch.zeros(batch, 0, device=device))


def nearest_distance(
    clicks: ClickBatch, height: int, width: int, stride: int, limit: float
) -> Tensor:
    """B,2,H,W: distance in input pixels from each cell's centre to the nearest click, cut at limit.

    Channel 0 is for positive clicks, 1 for negative ones; without any, it is ``limit`` everywhere.
    height, width: in cells of ``stride`` pixels.
    """
    xy, sign = clicks
    batch, count = sign.shape
    if count == 0:
        return xy.new_full((batch, 2, height, width), limit)
    columns = (torch.arange(width, device=xy.device, dtype=xy.dtype) + 0.5) * stride
    rows = (torch.arange(height, device=xy.device, dtype=xy.dtype) + 0.5) * stride
    across = (columns - xy[..., 0:1]).square_()  # B,N,W
    down = (rows - xy[..., 1:2]).square_()  # B,N,H
    far = 4.0 * limit * limit
    maps = []
    for wanted in (1, -1):
        # Clicks of the other sign are moved out of reach, so that the batch stays rectangular.
        other = (sign != wanted).to(xy.dtype).mul_(far)
        squared = (down + other[..., None])[..., None] + across[:, :, None, :]  # B,N,H,W
        maps.append(squared.amin(1).sqrt_().clamp_(max=limit))
    return torch.stack(maps, 1)


def newest_clicks(clicks: ClickBatch) -> tuple[Tensor, Tensor]:
    """B,2 and B: place and sign of the last click of each prompt; sign 0 where there is none.

    N must be 1 or more.
    """
    xy, sign = clicks
    position = torch.arange(1, sign.shape[1] + 1, device=sign.device) * (sign != 0)
    newest = position.argmax(1)
    return xy[torch.arange(len(xy), device=xy.device), newest], sign.gather(1, newest[:, None])[
        :, 0
    ]


def newest_click_map(clicks: ClickBatch, height: int, width: int, stride: int) -> Tensor:
    """B,1,H,W in [-1, 1]: the last click of each prompt with its sign, fading over ``NEWEST`` px.

    A *choice*: it distinguishes a correction from clicks that the previous mask already follows.
    """
    xy, sign = clicks
    batch, count = sign.shape
    if count == 0:
        return xy.new_zeros(batch, 1, height, width)
    last_xy, last_sign = newest_clicks(clicks)
    columns = (torch.arange(width, device=xy.device, dtype=xy.dtype) + 0.5) * stride
    rows = (torch.arange(height, device=xy.device, dtype=xy.dtype) + 0.5) * stride
    across = (columns - last_xy[:, 0:1]).square()  # B,W
    down = (rows - last_xy[:, 1:2]).square()  # B,H
    distance = (down[:, :, None] + across[:, None]).sqrt_()
    fading = (1.0 - distance.div_(NEWEST)).clamp_(min=0.0)
    return (fading * last_sign.to(fading.dtype)[:, None, None])[:, None]


def box_map(boxes: Tensor, height: int, width: int, stride: int) -> Tensor:
    """B,1,H,W in [0, 1]: filled boxes, anti-aliased over one cell; 0 in rows without a box.

    boxes: B,4 (x1, y1, x2, y2) in pixels of the network input; x2 <= x1 means no box.
    """
    columns = (torch.arange(width, device=boxes.device, dtype=boxes.dtype) + 0.5) * stride
    rows = (torch.arange(height, device=boxes.device, dtype=boxes.dtype) + 0.5) * stride
    x1, y1, x2, y2 = (side[:, None] for side in boxes.unbind(1))
    across = torch.minimum(columns - x1, x2 - columns).div_(stride).add_(0.5).clamp_(0.0, 1.0)
    down = torch.minimum(rows - y1, y2 - rows).div_(stride).add_(0.5).clamp_(0.0, 1.0)
    filled = down[:, :, None] * across[:, None] * has_box(boxes)[:, None, None].to(boxes.dtype)
    return filled[:, None]


def has_box(boxes: Tensor) -> Tensor:
    """B bool: which rows of B,4 hold a box."""
    return boxes[:, 2] > boxes[:, 0]


def distance_maps(clicks: ClickBatch, height: int, width: int, limit: float) -> Tensor:
    """B,2,H,W in [0, 1] at full resolution: the two click channels of the paper's input.

    Paper: Euclidean distance to the nearest click of each sign. *Choice*: cut at ``limit`` and
    divided by it; 1 without a click.
    """
    return nearest_distance(clicks, height, width, 1, limit).div_(limit)


def disk_maps(distance: Tensor, radius: float, stride: int) -> Tensor:
    """Disks of ``radius`` input pixels around clicks, anti-aliased over one cell, from distances.

    distance: from ``nearest_distance`` with the same stride. Values in [0, 1]. A disk is never
    smaller than a cell, so every click is visible at every stride.
    """
    return ((max(radius, 0.5 * stride) - distance) / stride + 0.5).clamp_(0.0, 1.0)
