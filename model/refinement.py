"""From prompts to masks: where the network looks, and which of its answers make the mask.

A first answer looks at the whole picture, and again at the object if it is small. A correction
looks at the object as it is known, and at full detail at what the newest click changes. Of both,
only what is connected to the click is used; everything else of the mask before stays, whether the
network or a person made it. Only the first few clicks, which say what the object is, may change all
of it.

A picture with extreme sides is never looked at as a whole for a click: a window around the click,
as long as a few of its shorter side, takes its place.

A network that was not trained with boxes gets clicks instead: a positive one at the box's centre
and four negative ones beyond the middles of its sides. Everything outside the box is cut
off.

The numbers are a *choice*, made on validation pictures.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model import crop, merging
from model.crop import Box
from model.inference import CERTAIN, Answer
from model.mask_upsampling import Layer, LogitGrid, MaskLayers
from model.prompt import Click, Prompt
from model.word_geometry import says

# How far beyond a side its negative click is, in the box's size in that direction.
BEYOND = 0.1
# The mask may reach this far out of the box, in the same measure: boxes are drawn by hand.
SLACK = 0.02


def box_as_clicks(prompt: Prompt, width: int, height: int) -> Prompt:
    """The prompt with clicks for its box before its own clicks, which therefore take precedence."""
    if prompt.box is None:
        return prompt
    x1, y1, x2, y2 = prompt.box
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    right, down = max((x2 - x1) * BEYOND, 2.0), max((y2 - y1) * BEYOND, 2.0)
    outside = [(x1 - right, y), (x2 + right, y), (x, y1 - down), (x, y2 + down)]
    whole = Box(0, 0, width, height)
    clicks = [Click(*point, positive=False) for point in outside if whole.holds(*point)]
    # The prompt's own positive click is a better sign of the object than the centre.
    if not prompt.positives:
        clicks.append(Click(x, y))
    return dataclasses.replace(prompt, clicks=(*clicks, *prompt.clicks), box_by_clicks=True)


def cut_to_box(grid: LogitGrid, prompt: Prompt) -> LogitGrid:
    """The logits, cut to the box and the positive clicks if clicks replace the box."""
    allowed = prompt.extent()
    if not prompt.box_by_clicks or allowed is None:
        return grid
    across, down = allowed.width * SLACK, allowed.height * SLACK
    rows = _between(
        grid.box.top,
        grid.box.bottom,
        grid.logits.shape[0],
        allowed.top - down,
        allowed.bottom + down,
    )
    columns = _between(
        grid.box.left,
        grid.box.right,
        grid.logits.shape[1],
        allowed.left - across,
        allowed.right + across,
    )
    inside = rows[:, None] & columns
    return LogitGrid(np.where(inside, grid.logits, np.minimum(grid.logits, -CERTAIN)), grid.box)


def _between(start: int, end: int, cells: int, low: float, high: float) -> NDArray[np.bool_]:
    """For each of the cells that divide start..end: whether its centre is between low and high."""
    centres = start + (np.arange(cells) + 0.5) * ((end - start) / cells)
    return (centres >= low) & (centres < high)


Mask = NDArray[np.bool_]


class DecodePass(Protocol):
    """A pass of the network over a part of the picture."""

    def __call__(
        self, prompt: Prompt, box: Box, previous: Mask | None, *, detail: bool = False
    ) -> Answer:
        """previous: the mask before in the box's pixels.

        detail: the box shows a detail of the object, so it is encoded at a reduced size, and the
        phrase is not read.
        """


# A phrase that makes a mask this many times as large may mean others of its kind. Chosen on
# 330 objects of `val` (training/RUNS.md).
OTHERS = 4.0
# Words about these are about the rest of the picture, too.
COMPARING = ("about_place", "about_order", "about_size")
# Up to this many clicks a correction may change the whole object.
FREE_CLICKS = 3
# In a picture with extreme sides: windows on clicks that are far from the newest one.
MOST_APART = 12
# A detail gets its own crop if that is at most this part of the object's box: it then shows the
# detail larger, although it is encoded at two thirds of the size.
SHARPER = 0.45


@dataclass(frozen=True)
class Result:
    """A mask, and the pass over the object whose score is the mask's."""

    layers: MaskLayers
    answer: Answer


@dataclass(frozen=True)
class Session:
    """A prompt about a picture of this size, and the function that looks at the picture.

    suggested: whether the mask before is an answer to words, without a person's click or stroke.
    named: whether the clicks are on all that the words mean, so that words can add no others.
    box_prompts: whether the network was trained with boxes; otherwise a box becomes clicks.
    details: whether it was trained on details of objects; otherwise details are not looked at.
    """

    width: int
    height: int
    prompt: Prompt
    look: DecodePass
    suggested: bool = False
    named: bool = False
    box_prompts: bool = True
    details: bool = True

    def answer(self, previous: Mask | None) -> Result:
        """The mask that the prompt asks for. previous: H,W, the mask before, if any."""
        if previous is not None and previous.any() and self.prompt.clicks:
            free = self._may_change_all(previous)
            return self._anchored(previous)._correction(previous, free=free)
        if self.prompt.box is not None and not self.box_prompts:
            prompt = box_as_clicks(self.prompt, self.width, self.height)
            return replace(self, prompt=prompt, box_prompts=True)._object(previous)
        return self._object(previous)

    def _object(self, previous: Mask | None) -> Result:
        """All of the object: from the whole picture or the prompt's box, then closer."""
        start, closer = self._start(previous)
        coarse = self._cut_look(start, previous_in(previous, start))
        worded = bool(self.prompt.tokens.words and self.prompt.positives)
        if worded and previous is None and not self.named:
            wordless = replace(self, prompt=self.prompt.without_words())
            clicked = wordless._cut_look(start, None)
            if self._names_others(coarse, clicked, start):
                return wordless._from(start, clicked, previous, closer=closer)
        return self._from(start, coarse, previous, closer=closer)

    def _names_others(self, coarse: Answer, clicked: Answer, view: Box) -> bool:
        """Whether the phrase adds others of its kind to what was clicked, such as a crowd.

        The mask is then many times as large as without the phrase, and the phrase alone does not
        mean what was clicked. coarse, clicked: answers with and without it.
        """
        areas = [np.count_nonzero(answer.grid.logits > 0) for answer in (coarse, clicked)]
        if areas[0] < OTHERS * areas[1]:
            return False
        named = self.look(replace(self.prompt, clicks=(), box=None), view, None).grid
        pixels = [
            Box(int(click.x), int(click.y), int(click.x) + 1, int(click.y) + 1)
            for click in self.prompt.positives
            if view.holds(click.x, click.y)
        ]
        return not any(named.positive(pixel).any() for pixel in pixels)

    def _from(self, start: Box, coarse: Answer, previous: Mask | None, *, closer: bool) -> Result:
        """The mask that a first answer leads to. closer: a second look is nearer."""
        extent = Layer(coarse.grid, coarse.grid.logits > 0).extent(start)
        box = self._focus(self._around(extent, start), start) if closer else None
        answers = [coarse]
        if box is not None:
            seen = MaskLayers(self.width, self.height, (Layer(coarse.grid),)).mask(box)
            answers.append(self._cut_look(box, seen))
        apart = [
            self._cut_look(part, previous_in(previous, part))
            for part in self._elsewhere(start, self.prompt.positives)
        ]
        layers = tuple(Layer(answer.grid.smoothed()) for answer in [*apart, *answers])
        return self._result(layers, _agreed(answers))

    def _cut_look(self, box: Box, previous: Mask | None) -> Answer:
        """A look whose logits are cleaned and cut to the prompt's box."""
        answer = self.look(self.prompt, box, previous)
        grid = cut_to_box(merging.cleaned(answer.grid, self.prompt), self.prompt)
        return replace(answer, grid=grid)

    def _anchored(self, previous: Mask) -> Session:
        """With positive clicks where the parts of the mask before are deepest, if there is none.

        Negative clicks alone say what the object is not, and the network then finds nothing.
        """
        if self.prompt.positives or self.prompt.box is not None:
            return self
        clicks = (*merging.anchors(previous, self.prompt.clicks), *self.prompt.clicks)
        return replace(self, prompt=replace(self.prompt, clicks=clicks))

    def _correction(self, previous: Mask, *, free: bool) -> Result:
        """What the clicks change of the mask before. free: they may change all of it."""
        known = self.prompt.around(crop.mask_box(previous))
        view = self._view(known)
        in_view = known is None or view.includes(known)
        answer = self._known_object(previous, known, view) if in_view else None
        if in_view and free:
            if answer is None:
                return self._object(previous)
            layer = Layer(merging.cleaned(answer.grid, self.prompt).smoothed())
            return self._result((layer,), answer)
        if answer is None:
            answer = self.look(self.prompt, view, previous[view.slices])
        asked = merging.disobeyed(self.prompt.clicks, previous)
        size = math.sqrt(np.count_nonzero(previous))
        layer = merging.merged(answer, self.prompt, asked, size)
        detail = self._detail(layer)
        if detail is not None:
            # It shows everything that changed, so it decides instead.
            fine = self.look(self.prompt, detail, previous[detail.slices], detail=True)
            layer = merging.merged(fine, self.prompt, asked, size)
        apart = [
            merging.merged(
                self.look(self.prompt, part, previous[part.slices]), self.prompt, asked, size
            )
            for part in self._elsewhere(view, asked)
        ]
        return self._result((*apart, layer), answer, previous)

    def _result(
        self, layers: tuple[Layer, ...], answer: Answer, previous: Mask | None = None
    ) -> Result:
        """The layers over the mask before, cleaned."""
        composed = MaskLayers(self.width, self.height, layers, previous)
        return Result(merging.cleaned_layers(composed, self.prompt, previous), answer)

    def _detail(self, change: Layer) -> Box | None:
        """Where to look at a change itself, if it is small in the box that was looked at."""
        looked = change.grid.box
        extent = change.extent(looked)
        if not self.details or extent is None:
            return None
        box = crop.detail(extent, self.width, self.height)
        if box is None or box.width > SHARPER * max(looked.width, looked.height):
            return None
        return box

    def _known_object(self, previous: Mask, known: Box | None, view: Box) -> Answer | None:
        """A pass over the object, whose place the mask before gives; None if that is all that is
        looked at.

        A phrase's first answer, and what compares with the rest of the picture, is read over the
        whole of it: "left" means nothing in a crop.
        """
        words = self.prompt.tokens.words
        comparing = any(says(word, *COMPARING) for word in words)
        if comparing or (words and len(self.prompt.clicks) == 1):
            return None
        box = self._focus(known, view)
        if box is None:
            return None
        answer = self.look(self.prompt, box, previous[box.slices])
        if crop.reaches_edge(answer.grid.logits > 0, box, self.width, self.height):
            return None
        return answer

    def _may_change_all(self, previous: Mask) -> bool:
        """Whether there are few clicks, and the mask before answers all but the newest.

        A painted mask comes with its first click, or contradicts older ones. A suggested one does
        not bind.
        """
        *older, _ = self.prompt.clicks
        if len(older) >= FREE_CLICKS or merging.disobeyed(older, previous):
            return False
        return bool(older or self.prompt.tokens.words or self.suggested)

    def _start(self, previous: Mask | None) -> tuple[Box, bool]:
        """Where a first answer looks, and whether a second look may be closer: at a box that is
        small enough, else at all."""
        if self.prompt.box is not None and not self.prompt.tokens.words:
            box = crop.focus(self.prompt.extent(), self.width, self.height)
            if box is not None:
                return box, False
        known = None if previous is None else crop.mask_box(previous)
        return self._view(self.prompt.around(known)), True

    def _view(self, known: Box | None) -> Box:
        """All that is looked at at once: the whole picture; of one with extreme sides a window.

        It shows what is known of the object, and where that is too large the newest click. What a
        long box surrounds, and what only words are about, is looked at as a whole.
        """
        newest = crop.points_box([(click.x, click.y) for click in self.prompt.clicks[-1:]])
        around = known or newest
        if around is None or (newest is None and self.prompt.box is None):
            return self._whole
        view = crop.window(self._whole, around)
        if view.includes(around):
            return view
        if newest is None or self.prompt.box is not None:
            return self._whole
        return crop.window(self._whole, newest)

    def _elsewhere(self, view: Box, clicks: Sequence[Click]) -> list[Box]:
        """Windows on the clicks that the view does not show, those of the newest ones last."""
        shown = [view]
        for click in reversed(clicks):
            if len(shown) <= MOST_APART and not any(box.holds(click.x, click.y) for box in shown):
                at = Box(int(click.x), int(click.y), int(click.x) + 1, int(click.y) + 1)
                shown.append(crop.window(self._whole, at))
        return shown[:0:-1]

    def _around(self, extent: Box | None, view: Box) -> Box | None:
        """The known part of the object in the view: its mask's, its box, and positive clicks."""
        clicks = tuple(click for click in self.prompt.clicks if view.holds(click.x, click.y))
        return replace(self.prompt, clicks=clicks).around(extent)

    def _focus(self, around: Box | None, view: Box) -> Box | None:
        """A crop of the view for the object, None if the view shows it well enough."""
        box = crop.focus(around, self.width, self.height)
        if box is None:
            return None
        box = box.intersection(view)
        longest = crop.LARGEST * max(view.width, view.height)
        return None if box is None or max(box.width, box.height) > longest else box

    @property
    def _whole(self) -> Box:
        return Box(0, 0, self.width, self.height)


def _agreed(answers: Sequence[Answer]) -> Answer:
    """The last of these passes over an object, with the mean of the IoUs that they expect.

    Which object is meant shows in the whole picture, where its border is shows in the crop: the
    mean says more about the mask than either (training/RUNS.md).
    """
    expected = [answer.iou_logit for answer in answers if answer.iou_logit is not None]
    mean = sum(expected) / len(expected) if expected else None
    return replace(answers[-1], iou_logit=mean)


def previous_in(previous: Mask | None, box: Box) -> Mask | None:
    """The mask before in the pixels of a box."""
    return None if previous is None else previous[box.slices]
