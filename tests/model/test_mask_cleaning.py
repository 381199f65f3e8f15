"""Parts and holes of masks on small grids."""

from __future__ import annotations

import numpy as np

from model import mask_cleaning


def drawn(*rows: str) -> mask_cleaning.Cells:
    """A mask from its picture: "#" is in."""
    return np.array([[cell == "#" for cell in row] for row in rows])


def test_only_parts_with_a_seed_are_kept() -> None:
    mask = drawn("##..#", "##...", "..#..", "....#")
    seeds = np.zeros_like(mask)
    seeds[0, 0] = True

    assert np.array_equal(
        mask_cleaning.part_at(mask, seeds), drawn("##...", "##...", "..#..", ".....")
    )


def test_a_seed_outside_the_mask_keeps_nothing() -> None:
    mask = drawn("##..", "....")
    seeds = drawn("...#", "....")

    assert not mask_cleaning.part_at(mask, seeds).any()


def test_specks_are_small_beside_the_largest_part() -> None:
    mask = np.zeros((40, 40), bool)
    mask[:20, :20] = mask[30:38, 30:38] = mask[0, 30] = True

    kept = mask_cleaning.without_specks(mask)

    assert kept[:20, :20].all()
    assert kept[30:38, 30:38].all()
    assert not kept[0, 30]
    assert not mask_cleaning.without_specks(np.zeros((4, 4), bool)).any()


def test_a_small_hole_is_a_pinhole_unless_a_negative_click_made_it() -> None:
    mask = np.zeros((30, 30), bool)
    mask[2:28, 2:28] = True
    mask[5, 5] = mask[20:22, 20:22] = mask[8:16, 8:16] = False
    negatives = np.zeros_like(mask)
    negatives[20, 20] = True

    holes = mask_cleaning.pinholes(mask, negatives)

    assert holes.sum() == 1
    assert holes[5, 5]


def test_what_is_open_to_the_edge_is_no_hole() -> None:
    mask = np.ones((20, 20), bool)
    mask[0, 3] = False

    assert not mask_cleaning.pinholes(mask, np.zeros_like(mask)).any()
