"""COCO's ways to write masks give back the masks that were drawn."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from training.data.masks import depths_inside, read_segmentation, thin_parts

HEIGHT, WIDTH = 40, 60


def drawn(raw: object, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.bool_]:
    return read_segmentation(raw, height, width).draw(height, width)


def runs(mask: NDArray[np.bool_]) -> list[int]:
    """Run lengths down the columns, background first, counted one pixel after the other."""
    counts, current = [0], False
    for value in mask.T.ravel():
        if bool(value) != current:
            counts.append(0)
            current = bool(value)
        counts[-1] += 1
    return counts


def test_a_polygon_of_whole_pixels_is_exactly_those_pixels() -> None:
    # given: an L whose corners lie between pixels
    corners = [5, 4, 25, 4, 25, 14, 15, 14, 15, 30, 5, 30]
    other_way = [5, 30, 15, 30, 15, 14, 25, 14, 25, 4, 5, 4]
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[4:14, 5:25] = True
    expected[14:30, 5:15] = True
    # when / then
    assert np.array_equal(drawn([corners]), expected)
    assert np.array_equal(drawn([other_way]), expected)
    assert np.array_equal(drawn(corners), expected)


def test_a_round_polygon_holds_the_pixels_whose_centres_are_inside() -> None:
    # given
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    x, y, radius = 28.3, 19.6, 13.4
    corners = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    distance = np.hypot(columns - x, rows - y)
    clear = abs(distance - radius) > 0.01
    # when
    mask = drawn([corners.ravel().tolist()])
    # then
    assert np.array_equal(mask[clear], (distance < radius)[clear])


def test_several_polygons_are_one_mask_and_may_leave_the_picture() -> None:
    # given: one overlaps the other, one begins left above and one ends right below the picture
    polygons = [
        [-9, -9, 6, -9, 6, 7, -9, 7],
        [3, 3, 12, 3, 12, 12, 3, 12],
        [50, 35, 99, 35, 99, 99, 50, 99],
        [200, 10, 300, 10, 300, 20],
    ]
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[:7, :6] = expected[3:12, 3:12] = expected[35:, 50:] = True
    # when / then
    assert np.array_equal(drawn(polygons), expected)


def test_run_lengths_go_down_the_columns() -> None:
    # given
    rng = np.random.default_rng(3)
    for mask in (rng.random((HEIGHT, WIDTH)) < 0.4, np.ones((HEIGHT, WIDTH), bool)):
        # when / then
        assert np.array_equal(drawn({"size": [HEIGHT, WIDTH], "counts": runs(mask)}), mask)


@pytest.mark.parametrize("kind", [str, bytes])
def test_compressed_run_lengths_are_those_of_cocos_own_code(kind: type) -> None:
    # given: texts made by pycocotools 2.0.11 of the two masks drawn here
    small = np.zeros((9, 7), bool)
    small[2:7, 1:5] = True
    small[4, 3] = False
    small[0, 6] = True
    rows, columns = np.mgrid[:60, :50]
    disk = (columns - 20) ** 2 + (rows - 33) ** 2 < 17**2
    texts = {
        ";5400MM0337LM": small,
        r"\8;_14L4M2M4N0O2N2O0O2O0O2O00000000000000000001N101N101N2N102L3N3L4Lbg0": disk,
    }
    for text, expected in texts.items():
        height, width = expected.shape
        # when
        raw = {"size": [height, width], "counts": text.encode() if kind is bytes else text}
        # then
        assert np.array_equal(drawn(raw, height, width), expected)


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (None, "no segmentation"),
        ([], "three corners"),
        ([[1, 2, 3, 4]], "three corners"),
        ([[1, 2, 3, 4, float("nan"), 6]], "three corners"),
        ([[1, 2, 3, 4, 5]], "reshape"),
        ({"size": [HEIGHT, 9], "counts": [360]}, "9x40, not 60x40"),
        ({"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH - 1]}, "do not fill"),
        ({"size": [HEIGHT, WIDTH], "counts": [-1, HEIGHT * WIDTH + 1]}, "run length is negative"),
        ({"size": [HEIGHT, WIDTH], "counts": ";5"}, "do not fill"),
        ({"size": [HEIGHT, WIDTH], "counts": "P"}, "end too early"),
        ({"size": [HEIGHT, WIDTH], "counts": "\x01"}, "not run lengths"),
        ({"size": [HEIGHT, WIDTH]}, "without counts"),
    ],
)
def test_says_what_is_wrong_with_a_mask(raw: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        drawn(raw)


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_depths_on_a_lattice_are_those_of_its_pixels(stride: int) -> None:
    # given
    mask = np.zeros((80 * stride + 40, 80 * stride + 20), bool)
    mask[10 : 80 * stride + 10, 5 : 80 * stride - 5] = True
    exact = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    # when
    depths = depths_inside(mask)
    assert depths.stride == stride
    # then
    cells = np.flatnonzero(depths.values)
    points = depths.points(cells)
    there = exact[points[:, 1].astype(int), points[:, 0].astype(int)]
    measured = depths.values.ravel()[cells]
    assert (there > 0).all()
    assert np.abs(measured - there).max() < stride


def test_a_region_thinner_than_the_lattice_is_measured_all_the_same() -> None:
    mask = np.zeros((200, 200), bool)
    mask[3, 1:199:7] = True
    assert depths_inside(mask).deepest > 0


def test_the_arm_is_thin_and_the_body_is_not() -> None:
    rows, columns = np.mgrid[:160, :200]
    mask = (columns - 70) ** 2 + (rows - 80) ** 2 < 40**2
    mask[76:84, 105:180] = True
    thin = thin_parts(mask, 0.5)
    assert thin[80, 130:178].all()
    assert not thin[80, 40:100].any()
    assert not (thin & ~mask).any()
