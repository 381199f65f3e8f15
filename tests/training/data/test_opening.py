"""A place of data is understood, or the error says what was expected there."""

from pathlib import Path

import pytest
from PIL import Image

from tests.training.data.conftest import write_picture
from training.data import FORMATS, Concatenated, Without, open_dataset
from training.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures with masks."""
    for name in ("a", "b"):
        write_picture(tmp_path / "davis" / f"{name}.jpg", width=50 if name == "b" else 60)
        size = (50 if name == "b" else 60, 40)
        Image.new("L", size, 255).save(tmp_path / "davis" / f"{name}.png")
    return tmp_path / "davis"


def test_several_places_are_one_data_set(shard: Path, folder: Path) -> None:
    # when
    dataset = open_dataset([shard, str(folder)])
    # then
    assert isinstance(dataset, Concatenated)
    assert len(dataset) == 8
    assert dataset.sources == ["voc"] * 6 + ["davis"] * 2
    assert [dataset[i].key for i in (0, 5, 6, 7)] == ["picture-0", "picture-5", "a", "b"]
    assert [dataset.size(i) for i in (5, 6, 7)] == [(160, 120), (60, 40), (50, 40)]
    assert len(dataset.objects(5)) == 3
    assert len(dataset.objects(6)) == 1
    assert dataset.expressions(0) == dataset.expressions(7) == ()
    with pytest.raises(IndexError):
        dataset[8]


def test_paths_start_from_the_root(shard: Path) -> None:
    assert len(open_dataset([shard.name, f"pack:{shard.name}"], root=shard.parent)) == 12
    assert len(open_dataset([str(shard)], root="/nowhere")) == 6


def test_a_source_may_get_another_name(shard: Path) -> None:
    dataset = open_dataset([f"{shard}?source=mine"])
    assert set(dataset.sources) == {"mine"}
    assert dataset[3].source == "mine"
    assert dataset[3].key == "picture-3"
    assert dataset.size(3) == (160, 120)
    assert [o.category for o in dataset.objects(3)] == ["dog", "dog", "cat"]


def test_pictures_may_be_left_out(shard: Path) -> None:
    # when
    dataset = Without(open_dataset([shard]), [0, 4])
    # then
    assert len(dataset) == len(dataset.sources) == 4
    assert [dataset[i].key for i in range(4)] == [f"picture-{n}" for n in (1, 2, 3, 5)]
    assert dataset.size(3) == (160, 120)
    assert len(dataset.objects(3)) == 3
    assert dataset.expressions(3) == ()


@pytest.mark.parametrize("name", ["refcoco", "refcoco+", "refcocog", "grefcoco"])
def test_all_sets_of_referring_expressions_are_one_format(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected refs\(umd\)\.p"):
        open_dataset([f"{name}:{tmp_path}?split=val&by=umd&pictures=train2014"])


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("gone.tar", r"gone\.tar is missing"),
        ("vot:somewhere", "'vot' in 'vot:somewhere' is none of the formats pack, refcoco, voc"),
        ("davis?split=", "'split=' in 'davis.split=' is not an option"),
        ("davis?split=val", "a folder data set has no option split, only pictures, masks"),
        ("", "is not a data set"),
        ("empty", "a known data set. Expected one of pack: a WebDataset shard"),
    ],
)
def test_says_what_was_expected(folder: Path, place: str, complaint: str) -> None:
    (folder.parent / "empty").mkdir()
    with pytest.raises(DataError, match=complaint):
        open_dataset([place], root=folder.parent)


def test_an_unknown_folder_raises_an_error_with_every_format(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        open_dataset([tmp_path])
    for name, kind in FORMATS.items():
        assert f"{name}: {kind.expects}" in str(error.value)


def test_asks_for_a_place_at_all() -> None:
    with pytest.raises(DataError, match="No data set was named"):
        open_dataset([])
