"""Boxes as clicks."""

from __future__ import annotations

import numpy as np

from model import box_prompt
from model.crop import Box
from model.mask_upsampling import LogitGrid
from model.prompt import Click, Prompt
from model.tokenizer import Tokens

NO_WORDS = Tokens((), (), (), np.zeros((0, 8), np.float32))


def test_the_centre_is_positive_and_beyond_each_side_is_a_negative() -> None:
    prompt = Prompt((), NO_WORDS, (100.0, 50.0, 200.0, 150.0))

    clicks = box_prompt.as_clicks(prompt, 300, 300).clicks

    assert [c for c in clicks if c.positive] == [Click(150, 100)]
    negatives = {(c.x, c.y) for c in clicks if not c.positive}
    assert negatives == {(90, 100), (210, 100), (150, 40), (150, 160)}


def test_no_negative_is_outside_the_picture_and_own_clicks_come_last() -> None:
    own = Click(20, 20)
    prompt = Prompt((own,), NO_WORDS, (0.0, 0.0, 60.0, 100.0))

    clicks = box_prompt.as_clicks(prompt, 300, 100).clicks

    assert clicks == (Click(66, 50, positive=False), own)


def test_a_prompt_without_a_box_stays() -> None:
    prompt = Prompt((Click(1, 1),), NO_WORDS)

    assert box_prompt.as_clicks(prompt, 10, 10) is prompt


def test_what_is_outside_is_cut_unless_it_was_clicked() -> None:
    grid = LogitGrid(np.full((30, 30), 3.0, np.float32), Box(0, 0, 300, 300))
    prompt = Prompt((Click(250, 100),), NO_WORDS, (100.0, 50.0, 200.0, 150.0))

    cut = box_prompt.cut(box_prompt.as_clicks(prompt, 300, 300) and grid, prompt)
    assert cut is grid, "a network that knows boxes decides by itself"

    inside = box_prompt.cut(grid, box_prompt.as_clicks(prompt, 300, 300)).logits > 0
    assert inside[5:15, 10:25].all()
    assert inside.sum() == 10 * 15
