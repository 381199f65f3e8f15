"""Folders of pictures with masks, in the ways in which GrabCut, Berkeley and DAVIS are kept."""

import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.training.data.conftest import box, write_picture
from training.data import FolderDataset, open_dataset
from training.errors import DataError


def write_mask(path: Path, mask: NDArray[np.bool_], void: NDArray[np.bool_] | None = None) -> None:
    values = np.where(mask, 255, 0).astype(np.uint8)
    if void is not None:
        values[void] = 128
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.mark.parametrize("suffix", ["jpg", "JPG", "jpeg", "bmp", "webp"])
def test_reads_a_mask_beside_a_picture(tmp_path: Path, suffix: str) -> None:
    # given
    image = write_picture(tmp_path / "grabcut" / f"flower.{suffix}")
    write_mask(tmp_path / "grabcut" / "flower.png", box(10, 10, 30, 30), box(10, 10, 12, 30))
    # when
    dataset = open_dataset([tmp_path / "grabcut"])
    sample = dataset[0]
    # then
    assert dataset.sources == ["grabcut"]
    assert dataset.size(0) == (60, 40)
    assert sample.key == "flower"
    assert np.array_equal(sample.image, image)
    assert np.array_equal(sample.mask(1), box(12, 10, 30, 30))
    assert np.array_equal(sample.void, box(10, 10, 12, 30))
    assert [(o.id, o.category, o.phrases) for o in dataset.objects(0)] == [(1, None, ())]


@pytest.mark.parametrize(
    ("pictures", "masks", "name", "suffix"),
    [
        ("data_GT", "boundary_GT", "124084.jpg", "bmp"),
        ("images", "masks", "100007.jpg", "png"),
        ("img", "gt", "bear_00012.png", "png"),
        ("JPEGImages", "Annotations", "480p/bear/00000.jpg", "png"),
    ],
)
def test_reads_masks_in_a_sibling_folder(
    tmp_path: Path,
    pictures: str,
    masks: str,
    name: str,
    suffix: str,
) -> None:
    # given
    write_picture(tmp_path / "set" / pictures / name)
    write_mask((tmp_path / "set" / masks / name).with_suffix(f".{suffix}"), box(3, 4, 50, 20))
    # when
    dataset = open_dataset([tmp_path / "set"])
    # then
    assert dataset.sources == ["set"]
    assert dataset[0].key == name.rpartition(".")[0].replace("/", "-")
    assert np.array_equal(dataset[0].mask(1), box(3, 4, 50, 20))


def test_two_folders_may_be_named(tmp_path: Path) -> None:
    write_picture(tmp_path / "photos" / "a.webp")
    write_mask(tmp_path / "drawn" / "a.png", box(0, 0, 9, 9))
    place = "folder:.?pictures=photos&masks=drawn&source=mine"
    dataset = open_dataset([place], root=tmp_path)
    assert dataset.sources == ["mine"]
    assert dataset[0].source == "mine"
    assert dataset[0].mask(1).sum() == 81


def test_a_text_beside_a_picture_is_its_phrase(tmp_path: Path) -> None:
    # given
    for name in ("one", "two"):
        write_picture(tmp_path / f"{name}.jpg")
        write_mask(tmp_path / f"{name}.png", box(0, 0, 9, 9))
    (tmp_path / "one.txt").write_text("the red flower\n\n  flower \n", encoding="utf-8")
    # when
    dataset = FolderDataset(tmp_path)
    # then
    assert dataset.objects(0)[0].phrases == ("the red flower", "flower")
    assert dataset[0].objects[0].phrases == ("the red flower", "flower")
    assert dataset.objects(1)[0].phrases == ()


def test_reads_masks_of_ones_of_colours_and_of_palettes(tmp_path: Path) -> None:
    # given: 0 and 1; the dark red of label maps; a palette that says grey 128 for void
    mask = box(5, 5, 25, 25)
    coloured = np.zeros((40, 60, 3), np.uint8)
    coloured[mask] = (128, 0, 0)
    indices = mask.astype(np.uint8)
    indices[:2] = 2
    paletted = Image.fromarray(indices)
    paletted.putpalette([0, 0, 0, 255, 255, 255, 128, 128, 128])
    for name, picture in (
        ("a", Image.fromarray(mask.astype(np.uint8))),
        ("b", Image.fromarray(coloured)),
        ("c", paletted),
    ):
        write_picture(tmp_path / f"{name}.jpg")
        picture.save(tmp_path / f"{name}.png")
    # when
    dataset = FolderDataset(tmp_path)
    # then
    for index in range(3):
        assert np.array_equal(dataset[index].mask(1), mask)
    assert [int(dataset[i].void.sum()) for i in range(3)] == [0, 0, 120]


@pytest.mark.parametrize(("suffix", "turned"), [("jpg", True), ("webp", False)])
def test_a_picture_is_turned_where_browsers_turn_it(
    tmp_path: Path, suffix: str, turned: bool
) -> None:
    # given: a picture that asks viewers to turn it by 90 degrees, a mask over what they show
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = write_picture(tmp_path / "a.png")
    Image.fromarray(stored).save(tmp_path / f"a.{suffix}", exif=exif, lossless=True)
    width, height = (40, 60) if turned else (60, 40)
    write_mask(tmp_path / "a.png", box(0, 0, 20, 10, width=width, height=height))
    # when
    dataset = FolderDataset(tmp_path)
    # then
    assert dataset.size(0) == (width, height)
    assert dataset[0].image.shape == (height, width, 3)
    assert turned or np.array_equal(dataset[0].image, stored)


def test_what_does_not_fit_is_left_out_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # given
    for name in ("good", "alone", "odd", "torn"):
        write_picture(tmp_path / f"{name}.jpg")
    for name in ("good", "torn"):
        write_mask(tmp_path / f"{name}.png", box(0, 0, 9, 9))
    write_mask(tmp_path / "odd.png", box(0, 0, 9, 9, width=61))
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    # when
    with caplog.at_level(logging.WARNING):
        dataset = FolderDataset(tmp_path)
    # then
    assert len(dataset) == 1
    assert dataset.skipped == 3
    assert "alone.jpg has no mask" in caplog.text
    assert "odd.png: the masks measure 61x40, the picture 60x40" in caplog.text
    assert "torn.jpg cannot be decoded" in caplog.text


def test_names_the_picture_that_changed_after_opening(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg")
    write_mask(tmp_path / "a.png", box(0, 0, 9, 9))
    dataset = FolderDataset(tmp_path)
    write_picture(tmp_path / "a.jpg", width=70)
    with pytest.raises(DataError, match=r"a\.png: the masks measure 60x40, the picture 70x40"):
        dataset[0]
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png is missing"):
        dataset[0]


def test_says_what_a_folder_must_hold(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"expected name\.jpg \+ name\.png"):
        open_dataset([f"folder:{tmp_path}"])


def test_a_long_list_of_gaps_is_named_in_part_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # given
    write_picture(tmp_path / "good.jpg")
    write_mask(tmp_path / "good.png", box(0, 0, 9, 9))
    for number in range(30):
        (tmp_path / f"{number}.jpg").write_bytes(b"nothing")
    # when
    with caplog.at_level(logging.WARNING):
        dataset = FolderDataset(tmp_path)
    # then
    assert dataset.skipped == 30
    assert len(caplog.records) == 21
    assert "left out 30 in all" in caplog.text
