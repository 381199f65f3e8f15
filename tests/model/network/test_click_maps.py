"""Click maps against distances measured one by one."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.network.click_maps import (
    ClickBatch,
    box_map,
    disk_maps,
    distance_maps,
    has_box,
    nearest_distance,
    newest_click_map,
    no_clicks,
)

coordinate = st.floats(-5, 70, width=32)
click = st.tuples(coordinate, coordinate, st.sampled_from([1, -1, 0]))


def nearest_by_hand(
    clicks: list[tuple[float, float, int]], sign: int, x: float, y: float, limit: float
) -> float:
    distances = [math.hypot(cx - x, cy - y) for cx, cy, s in clicks if s == sign]
    return min([*distances, limit])


@settings(deadline=None, max_examples=60)
@given(clicks=st.lists(click, min_size=0, max_size=6), stride=st.sampled_from([1, 2, 4, 16]))
def test_distances_are_those_to_the_nearest_click(
    clicks: list[tuple[float, float, int]], stride: int
) -> None:
    height, width, limit = 5, 7, 40.0
    batch = ClickBatch(
        torch.tensor([[c[:2] for c in clicks]]).view(1, -1, 2),
        torch.tensor([[float(c[2]) for c in clicks]]),
    )

    maps = nearest_distance(batch, height, width, stride, limit)

    for channel, sign in enumerate((1, -1)):
        for row in range(height):
            for column in range(width):
                x, y = (column + 0.5) * stride, (row + 0.5) * stride
                expected = nearest_by_hand(clicks, sign, x, y, limit)
                assert maps[0, channel, row, column].item() == pytest.approx(expected, abs=1e-3)


def test_no_click_is_one_everywhere_in_the_papers_maps() -> None:
    assert torch.equal(distance_maps(no_clicks(2), 4, 6, 255.0), torch.ones(2, 2, 4, 6))


def test_each_row_of_a_batch_has_its_own_clicks() -> None:
    clicks = ClickBatch(
        torch.tensor([[[0.5, 0.5], [3.5, 0.5]], [[3.5, 0.5], [0.0, 0.0]]]),
        torch.tensor([[1.0, -1.0], [1.0, 0.0]]),
    )

    maps = distance_maps(clicks, 1, 4, 255.0) * 255

    assert torch.allclose(maps[0, 0, 0], torch.tensor([0.0, 1.0, 2.0, 3.0]))
    assert torch.allclose(maps[0, 1, 0], torch.tensor([3.0, 2.0, 1.0, 0.0]))
    assert torch.allclose(maps[1, 0, 0], torch.tensor([3.0, 2.0, 1.0, 0.0]))
    assert torch.equal(maps[1, 1, 0], torch.full((4,), 255.0))


@pytest.mark.parametrize("stride", [1, 4, 8, 16])
def test_a_disk_shows_at_every_stride_and_only_near_its_click(stride: int) -> None:
    clicks = ClickBatch(torch.tensor([[[37.3, 21.9]]]), torch.tensor([[1.0]]))

    distance = nearest_distance(clicks, 64 // stride, 64 // stride, stride, 255.0)
    disks = disk_maps(distance, 5.0, stride)

    assert disks[0, 0].max() > 0.25
    assert disks[0, 1].max() == 0
    assert bool((disks[distance > max(5.0, stride / 2) + stride / 2] == 0).all())


def test_half_a_pixel_moves_a_disk() -> None:
    def disk(x: float) -> torch.Tensor:
        clicks = ClickBatch(torch.tensor([[[x, 16.0]]]), torch.tensor([[1.0]]))
        return disk_maps(nearest_distance(clicks, 8, 8, 4, 255.0), 5.0, 4)

    assert not torch.equal(disk(16.0), disk(16.5))


def test_the_newest_click_has_a_map_of_its_own() -> None:
    # Given a positive click and a later negative one; in the second row only padding follows
    xy = torch.tensor([[[8.0, 8.0], [40.0, 24.0]], [[8.0, 8.0], [0.0, 0.0]]])
    clicks = ClickBatch(xy, torch.tensor([[1.0, -1.0], [1.0, 0.0]]))
    # When the newest click is drawn at stride 8
    drawn = newest_click_map(clicks, 8, 8, 8)
    # Then it fades around the last click and has its sign
    assert drawn.shape == (2, 1, 8, 8)
    assert drawn[0].max() <= 0
    assert drawn[0].min() < -0.8
    assert (drawn[0, 0] < -0.8).nonzero().float().mean(0).tolist() == [2.5, 4.5]
    assert drawn[1].min() >= 0
    assert drawn[1].max() > 0.8
    assert drawn[1, 0, 7, 7] == 0


def test_without_a_click_there_is_no_newest_one() -> None:
    assert not newest_click_map(no_clicks(2), 4, 4, 8).any()
    padding = ClickBatch(torch.zeros(1, 2, 2), torch.zeros(1, 2))
    assert not newest_click_map(padding, 4, 4, 8).any()


def test_a_box_is_filled_and_an_empty_one_is_none() -> None:
    # Given a box over cells 1..2 of row 1, and a row without a box
    boxes = torch.tensor([[8.0, 8.0, 24.0, 16.0], [5.0, 5.0, 5.0, 9.0]])
    # When both are drawn at stride 8
    drawn = box_map(boxes, 4, 4, 8)
    # Then the first fills its cells and nothing else
    expected = torch.zeros(4, 4)
    expected[1, 1:3] = 1.0
    assert torch.equal(drawn[0, 0], expected)
    assert not drawn[1].any()
    assert has_box(boxes).tolist() == [True, False]
