"""Which part of a photograph is shown around a mask."""

import numpy as np

from training.evaluation.overlay import SMALLEST_VIEW, around


def test_the_view_of_a_small_object_is_close_and_inside_the_photograph() -> None:
    # given
    mask = np.zeros((100, 200), bool)
    mask[10:14, 180:186] = True
    # when
    left, top, width, height = around([mask], [(181.5, 12.5, True)])
    # then
    assert (width, height) == (round(SMALLEST_VIEW * 200), round(SMALLEST_VIEW * 100))
    assert left + width == 200
    assert top == 0


def test_a_distant_click_shows_the_whole_photograph() -> None:
    mask = np.zeros((100, 200), bool)
    mask[10:14, 180:186] = True
    assert around([mask], [(2.5, 98.5, False)]) == (0, 0, 200, 100)
