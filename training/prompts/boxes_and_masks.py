"""Boxes as people draw them, and earlier masks that the network did not make.

An annotator may open an object with a painted mask, a polygon or an older version's mask and
correct it with a click. The network must keep what is right in it and change what the click is
about. Each function here starts from the true mask and leaves some error in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from skimage import measure

from model.crop import mask_box
from training.data.masks import Mask, thin_parts
from training.data.sample import SampleObject, pick
from training.data.transforms import Box, View

# Each side moves by up to this share of the box's width or height (*choice*; SAM: 10 %).
JITTER = 0.1
# Chances of a loose and of a tight box, and how far each side then moves, in the box's size.
LOOSE, TIGHT = 0.15, 0.1
LOOSEST, TIGHTEST = 0.25, 0.12
# Least width and height of a box in pixels.
NARROWEST = 4.0


def box_of_people(view: View, about: SampleObject) -> Box | None:
    """The box that a person drew around this object, cut to the view, in its pixels.

    None without a box, or if almost nothing of it is in view.
    """
    if about.box is None:
        return None
    height, width = view.instances.shape
    corners = [view.place(about.box[0], about.box[1]), view.place(about.box[2], about.box[3])]
    shown = np.array(corners).clip(0.0, (width, height))
    (x1, y1), (x2, y2) = shown.min(0).tolist(), shown.max(0).tolist()
    return (x1, y1, x2, y2) if min(x2 - x1, y2 - y1) >= NARROWEST else None


def jittered_box(mask: NDArray[np.bool_], rng: np.random.Generator) -> Box | None:
    """A box (x1, y1, x2, y2) around the H,W mask as a person may draw it; None for an empty mask.

    In pixels of the network's input, within the picture, x2 and y2 past the last pixel. The sides
    of a loose or tight box all move outwards or inwards; otherwise each moves at random.
    """
    exact = mask_box(mask)
    if exact is None:
        return None
    height, width = mask.shape
    low = np.array(exact[:2], float)
    high = np.array(exact[2:], float)
    size = high - low
    chance = rng.random()
    if chance < LOOSE:
        outwards = rng.uniform(0.0, LOOSEST, 4)
    elif chance < LOOSE + TIGHT:
        outwards = -rng.uniform(0.0, TIGHTEST, 4)
    else:
        outwards = rng.normal(0.0, JITTER / 2, 4).clip(-JITTER, JITTER)
    limit = np.array([width, height], float)
    low = (low - outwards[:2] * size).clip(0.0, limit - NARROWEST)
    high = np.maximum((high + outwards[2:] * size).clip(0.0, limit), low + NARROWEST)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


# Least and largest IoU of a given mask with the true one.
WORST, BEST = 0.2, 0.97
# Pixels between samples where a rough shape is enough.
COARSE = 4
# How often strokes are added to a mask of another kind.
ALSO_STROKES = 0.25


def imperfect_mask(target: Mask, others: Sequence[Mask], rng: np.random.Generator) -> Mask | None:
    """A mask H,W with errors, made from the true one; None if three tries gave no usable mask.

    others: H,W masks of other objects in the picture, which a mask may leak into.
    """
    box = mask_box(target)
    if box is None:
        return None
    size = float(np.sqrt(target.sum()))
    for _ in range(3):
        way = WAYS[int(rng.choice(len(WAYS), p=CHANCES))]
        mask = way(target, others, size, rng)
        if way is not _strokes and rng.random() < ALSO_STROKES:
            mask = _strokes(mask, others, size, rng)
        union = int((mask | target).sum())
        if WORST <= int((mask & target).sum()) / max(union, 1) <= BEST:
            return mask
    return None


def _painted(target: Mask, _: Sequence[Mask], size: float, rng: np.random.Generator) -> Mask:
    """Painted with a wide brush: the border is off, in or out, by a smoothly changing amount."""
    height, width = target.shape
    small = target[COARSE // 2 :: COARSE, COARSE // 2 :: COARSE]
    if not small.any() or small.all():
        return _old_answer(target, (), size, rng)
    inside = ndimage.distance_transform_edt(small)
    outside = ndimage.distance_transform_edt(~small)
    signed = (np.where(small, inside - 0.5, 0.5 - outside) * COARSE).astype(np.float32)
    cells = (max(height // 24, 2), max(width // 24, 2))
    noise = rng.normal(0.0, 1.0, cells).astype(np.float32)
    wobble = _resized(noise, signed.shape) * rng.uniform(0.02, 0.12) * size
    offset = rng.uniform(-0.08, 0.1) * size
    return _resized(signed + wobble + np.float32(offset), (height, width)) > 0


def _polygon(target: Mask, _: Sequence[Mask], size: float, rng: np.random.Generator) -> Mask:
    """A polygon of few vertices around each large part; holes are covered."""
    height, width = target.shape
    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    contours = measure.find_contours(np.pad(target[::2, ::2], 1).astype(np.float32), 0.5)
    longest = max((len(contour) for contour in contours), default=0)
    for contour in contours:
        if len(contour) < max(longest / 4, 6):
            continue
        count = int(rng.integers(4, 14))
        chosen = np.sort(rng.permutation(len(contour))[:count])
        vertices = (contour[chosen] - 1.0) * 2.0 + rng.normal(0.0, 0.02 * size, (len(chosen), 2))
        if len(vertices) >= 3:
            draw.polygon([(float(x), float(y)) for y, x in vertices], fill=1)
    return np.asarray(canvas, bool)


def _old_answer(target: Mask, _: Sequence[Mask], size: float, rng: np.random.Generator) -> Mask:
    """Without detail, like the answer of a coarser network or an enlarged answer."""
    height, width = target.shape
    factor = float(np.clip(rng.uniform(0.08, 0.3) * size, 4.0, 48.0))
    cells = (max(round(height / factor), 2), max(round(width / factor), 2))
    coarse = Image.fromarray(target.astype(np.uint8) * 255).resize(
        (cells[1], cells[0]), Image.Resampling.BOX
    )
    soft = np.asarray(coarse, np.float32) / 255.0 + rng.normal(0.0, 0.12, cells).astype(np.float32)
    return _resized(soft, (height, width)) > rng.uniform(0.3, 0.7)


def _without_limb(target: Mask, _: Sequence[Mask], size: float, rng: np.random.Generator) -> Mask:
    """Without one or all of the thin parts; a plain shape loses one side."""
    thin = thin_parts(target, float(rng.uniform(0.3, 0.7)))
    labels, count = ndimage.label(thin)
    if count:
        areas = np.bincount(labels.ravel())[1:]
        limbs = np.flatnonzero(areas >= max(0.01 * size * size, 12)) + 1
        if len(limbs):
            if rng.random() < 0.6:
                limbs = limbs[[int(rng.integers(len(limbs)))]]
            return target & ~np.isin(labels, limbs)
    rows, columns = np.nonzero(target)
    angle = rng.uniform(0.0, 2.0 * np.pi)
    along = columns * np.cos(angle) + rows * np.sin(angle)
    mask = target.copy()
    lost = along > np.quantile(along, rng.uniform(0.55, 0.92))
    mask[rows[lost], columns[lost]] = False
    return mask


def _leaked(target: Mask, others: Sequence[Mask], size: float, rng: np.random.Generator) -> Mask:
    """With another object, or one side of it, added."""
    if not others:
        return _strokes(target, others, size, rng)
    other = pick(others, rng) & ~target
    if rng.random() < 0.5:
        other = _without_limb(other, (), float(np.sqrt(max(other.sum(), 1))), rng)
    return target | other


def _strokes(target: Mask, _: Sequence[Mask], size: float, rng: np.random.Generator) -> Mask:
    """One to three brush strokes across the border, each added or erased."""
    height, width = target.shape
    border = target ^ ndimage.binary_erosion(target)
    places = np.flatnonzero(border)
    if not len(places):
        return target
    mask = target
    for _stroke in range(int(rng.integers(1, 4))):
        y, x = divmod(int(places[int(rng.integers(len(places)))]), width)
        steps = rng.normal(0.0, 0.15 * size + 2.0, (int(rng.integers(1, 4)), 2)).cumsum(0)
        points = [(float(x), float(y)), *((x + float(dx), y + float(dy)) for dx, dy in steps)]
        canvas = Image.new("1", (width, height))
        thick = max(int(rng.uniform(0.08, 0.35) * size), 3)
        ImageDraw.Draw(canvas).line(points, fill=1, width=thick, joint="curve")
        stroke = np.asarray(canvas, bool)
        mask = mask | stroke if rng.random() < 0.5 else mask & ~stroke
    return mask


def _resized(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """h,w float32 at another size, bilinear."""
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


Way = Callable[[Mask, Sequence[Mask], float, np.random.Generator], Mask]
WAYS: tuple[Way, ...] = (_painted, _polygon, _old_answer, _without_limb, _leaked, _strokes)
CHANCES = (0.22, 0.12, 0.24, 0.22, 0.08, 0.12)
