"""A prompt about one picture: clicks, a phrase and a box."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from model.crop import Box, points_box
from model.errors import PromptError
from model.tokens import Tokens

BoxCorners = tuple[float, float, float, float]
# The right and lower edges of the picture belong to no pixel.
EDGE = 1e-3


@dataclass(frozen=True)
class Click:
    """A click in pixels of the upright picture; fractions are kept.

    The pixel in column c covers c <= x < c + 1. Points outside the picture count as on its edge.
    """

    x: float
    y: float
    positive: bool = True


@dataclass(frozen=True, eq=False)
class Prompt:
    """A checked prompt: all coordinates are finite and in the picture.

    clicks: oldest first. box: (x1, y1, x2, y2) with x1 < x2 and y1 < y2, or None. box_by_clicks:
    clicks were added for the box, for a network that knows no boxes.
    """

    clicks: tuple[Click, ...]
    tokens: Tokens
    box: BoxCorners | None = None
    box_by_clicks: bool = False

    @classmethod
    def checked(
        cls,
        clicks: Sequence[Click],
        tokens: Tokens,
        box: Sequence[float] | None,
        width: int,
        height: int,
    ) -> Prompt:
        """Move coordinates into a picture of this size. Raises PromptError if they are invalid."""
        inside = tuple(_inside(click, width, height) for click in clicks)
        return cls(inside, tokens, None if box is None else _checked_box(box, width, height))

    @property
    def names_nothing(self) -> bool:
        """Whether it has no positive click, no box and no known word."""
        return not self.positives and self.box is None and not self.tokens.words

    @property
    def positives(self) -> tuple[Click, ...]:
        """The positive clicks, oldest first."""
        return tuple(click for click in self.clicks if click.positive)

    def without_words(self) -> Prompt:
        """The same clicks and box."""
        tokens = replace(self.tokens, words=(), vectors=self.tokens.vectors[:0])
        return replace(self, tokens=tokens)

    def extent(self) -> Box | None:
        """The smallest box of pixels around the positive clicks and the prompt's box."""
        corners = [(click.x, click.y) for click in self.positives]
        if self.box is not None:
            x1, y1, x2, y2 = self.box
            corners += [(x1, y1), (x2 - EDGE, y2 - EDGE)]
        return points_box(corners)

    def around(self, known: Box | None) -> Box | None:
        """The union of ``extent`` and the known box of the object's mask."""
        extent = self.extent()
        if known is None or extent is None:
            return known or extent
        return known.union(extent)


def _inside(click: Click, width: int, height: int) -> Click:
    if not isinstance(click, Click):
        raise PromptError(f"A click must be a Click, not {click!r:.80}.")
    if not _finite(click.x, click.y):
        raise PromptError(f"A click at ({click.x}, {click.y}) is not a point in the picture.")
    return Click(
        min(max(click.x, 0.0), width - EDGE),
        min(max(click.y, 0.0), height - EDGE),
        click.positive,
    )


def _checked_box(box: Sequence[float], width: int, height: int) -> BoxCorners:
    corners = tuple(box) if isinstance(box, Iterable) else ()
    if len(corners) != 4 or not _finite(*corners):
        raise PromptError(f"A box must be four finite numbers (x1, y1, x2, y2), not {box!r:.80}.")
    x1, y1, x2, y2 = corners
    left, right = max(min(x1, x2), 0.0), min(max(x1, x2), float(width))
    top, bottom = max(min(y1, y2), 0.0), min(max(y1, y2), float(height))
    if right - left < EDGE or bottom - top < EDGE:
        raise PromptError(
            f"The box {corners} covers nothing of a picture of {width}x{height} pixels."
        )
    return left, top, right, bottom


def _finite(*values: float) -> bool:
    """Whether all values are finite numbers; False for anything else."""
    try:
        return all(math.isfinite(value) for value in values)
    except (TypeError, OverflowError):
        return False
