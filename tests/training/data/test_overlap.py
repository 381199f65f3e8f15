"""Pictures of one set are found in another, however they were saved; others are not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from skimage import data

from training.data import FolderDataset, Without, overlapping
from training.data.wrappers import perceptual_hash, plain_name

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")


def photograph(name: str) -> Image.Image:
    return Image.fromarray(getattr(data, name)()).convert("RGB")


def write(folder: Path, pictures: dict[str, Image.Image], suffix: str = "jpg") -> FolderDataset:
    folder.mkdir()
    for name, picture in pictures.items():
        picture.save(folder / f"{name}.{suffix}")
        Image.new("L", picture.size, 255).save(folder / f"{name}.png")
    return FolderDataset(folder)


def halved(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // 2, picture.height // 2))


def mirrored(picture: Image.Image) -> Image.Image:
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def brightened(picture: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(1.2)


@pytest.fixture
def train(tmp_path: Path) -> FolderDataset:
    """All photographs, under names of their own."""
    return write(tmp_path / "train", {f"t-{name}": photograph(name) for name in PHOTOGRAPHS})


@pytest.mark.parametrize("change", [halved, mirrored, brightened])
def test_finds_a_copy_that_was_changed(
    tmp_path: Path, train: FolderDataset, change: Callable[[Image.Image], Image.Image]
) -> None:
    # given
    test = write(
        tmp_path / "test",
        {"x": change(photograph("chelsea")), "y": change(photograph("rocket"))},
        "webp",
    )
    # when
    same = overlapping(train, test)
    # then
    assert [train[index].key for index in same] == ["t-chelsea", "t-rocket"]
    left = Without(train, same)
    assert [left[i].key for i in range(len(left))] == ["t-astronaut", "t-coffee"]
    assert overlapping(left, test) == []


def test_the_same_name_makes_a_crop_a_copy_but_not_another_picture(tmp_path: Path) -> None:
    # given: a crop that the hash alone would not be sure of
    coffee = photograph("coffee")
    crop = coffee.crop((30, 20, coffee.width - 30, coffee.height - 20))
    grey = [np.asarray(picture.convert("L")) for picture in (coffee, crop)]
    differing = int((perceptual_hash(grey[0]) != perceptual_hash(grey[1])).sum())
    assert 10 < differing <= 20
    train = write(tmp_path / "train", {"voc-2008_000123": coffee, "0001": photograph("rocket")})
    # when
    named = write(tmp_path / "named", {"2008_000123": crop})
    unnamed = write(tmp_path / "unnamed", {"other": crop})
    homonym = write(tmp_path / "homonym", {"0001": photograph("chelsea")})
    # then
    assert [train[i].key for i in overlapping(train, named)] == ["voc-2008_000123"]
    assert overlapping(train, unnamed) == []
    assert overlapping(train, homonym) == []


def test_pictures_that_cannot_be_read_are_passed_over(tmp_path: Path, train: FolderDataset) -> None:
    # given
    test = write(tmp_path / "test", {"a": photograph("chelsea"), "b": photograph("coffee")})
    torn = tmp_path / "train" / "t-chelsea.jpg"
    torn.write_bytes(torn.read_bytes()[:2000])
    # when
    same = overlapping(train, test)
    # then
    assert [train[index].key for index in same] == ["t-coffee"]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("voc-2008_000123", "2008_000123"),
        ("2008_000123", "2008_000123"),
        ("COCO_train2014_000000000009", "000000000009"),
        ("coco-000000000009", "000000000009"),
        ("camvid-0016E5_07740", "camvid-0016E5_07740"),
        ("480p-bear-00000", "480p-bear-00000"),
    ],
)
def test_a_photograph_has_one_name_wherever_it_is(key: str, name: str) -> None:
    assert plain_name(key) == name
