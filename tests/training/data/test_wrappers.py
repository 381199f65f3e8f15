"""Data sets made from other data sets."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.conftest import Pictures
from tests.training.data.conftest import write_picture
from training.data import Concatenated, FolderDataset, Tolerant, Without
from training.data.sample import VOID, Record, RecordDataset, Sample, SampleObject
from training.data.synthetic import SyntheticDataset
from training.data.transforms import whole_view
from training.data.wrappers import (
    Downscaled,
    Renamed,
    Turned,
    categories_by_source,
    endless,
    quarter_turn,
    shrunk,
)


class DogPictures(RecordDataset[Record]):
    """Two pictures of dogs."""

    def __init__(self, source: str = "voc") -> None:
        objects = SampleObject(1, "dog"), SampleObject(2, None)
        super().__init__(source, [Record(str(n), (9, 8), objects) for n in range(2)])


def test_the_maker_is_found_in_derived_data_sets() -> None:
    made = SyntheticDataset(count=2)
    dataset = Without(Concatenated([DogPictures(), Renamed(made, "scenes")]), [0])

    assert [endless(dataset, index) for index in range(len(dataset))] == [None, made, made]


def test_all_that_may_be_made_counts_as_a_category_of_its_source() -> None:
    made = SyntheticDataset(count=2)
    dataset = Concatenated([DogPictures(), Renamed(made, "scenes")])

    assert categories_by_source(dataset) == {"voc": {"dog"}, "scenes": set(made.categories)}


def test_a_picture_made_at_the_size_of_its_view_is_shown_as_it_is() -> None:
    sample = SyntheticDataset().made(3, 32, 64)
    view = whole_view(sample)

    assert view.image is sample.image
    assert view.soft_mask((sample.objects[0].id,)).shape == (32, 64)
    assert view.place(10.5, 3.5) == (10.5, 3.5)


def test_a_broken_picture_is_none_and_is_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # given: two pictures, of which one is torn after the set was opened
    for name in ("a", "b"):
        write_picture(tmp_path / f"{name}.jpg")
        Image.new("L", (60, 40), 255).save(tmp_path / f"{name}.png")
    samples = Tolerant(FolderDataset(tmp_path))
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[:400])
    # when
    with caplog.at_level(logging.WARNING):
        seen = [samples.get(index) for index in (0, 1, 0, 0)]
    # then
    assert [sample is None for sample in seen] == [True, False, True, True]
    assert list(samples.broken) == [0]
    assert len(caplog.records) == 1
    assert "a.jpg" in caplog.text
    # and: it counts again when it is back
    (tmp_path / "a.jpg").write_bytes(whole)
    assert samples.get(0) is not None


def large(number: int = 0) -> Sample:
    """400 x 200, an object on the left half's middle, clicked in two places, partly covered."""
    instances = np.zeros((200, 400), np.int16)
    instances[50:150, 100:200] = 1
    instances[:10] = VOID
    whole = np.zeros((200, 400), bool)
    whole[50:150, 100:250] = True
    image = np.full((200, 400, 3), 60 + number, np.uint8)
    image[whole] = 200
    about = SampleObject(1, "dog", clicks=((150.0, 100.0, True), (300.0, 20.0, False)))
    return Sample(f"picture-{number}", "team", image, instances, (about,), masks={1: whole})


def test_masks_and_clicks_shrink_with_the_picture() -> None:
    # given / when
    sample = large()
    small = shrunk(sample, 100)
    # then
    assert small.image.shape == (50, 100, 3)
    assert small.instances.shape == (50, 100)
    assert small.objects[0].clicks == ((37.5, 25.0, True), (75.0, 5.0, False))
    assert small.mask(1).sum() == pytest.approx(sample.mask(1).sum() / 16, rel=0.03)
    assert small.void.sum() == pytest.approx(sample.void.sum() / 16, rel=0.3)
    x, y, _ = small.objects[0].clicks[0]
    assert small.mask(1)[int(y), int(x)]
    assert small.image[int(y), int(x)].tolist() == [200, 200, 200]


def test_a_small_picture_stays_as_it_is() -> None:
    sample = large()
    assert shrunk(sample, 400) is sample


def test_pictures_are_read_once_while_there_is_room() -> None:
    # given room for two of them
    counted = Pictures([large(number) for number in range(3)])
    one = shrunk(large(), 100)
    room = 2 * (one.image.nbytes + one.instances.nbytes + one.masks[1].nbytes)
    kept = Downscaled(counted, longest=100, kept_bytes=room)
    # when / then
    for index in (0, 1, 0, 1):
        assert kept[index].key == f"picture-{index}"
    assert counted.read == [0, 1]
    # and the one that was not asked for the longest goes first
    assert [kept[index].key for index in (0, 2, 0, 1)] == [
        "picture-0", "picture-2", "picture-0", "picture-1",
    ]  # fmt: skip
    assert counted.read == [0, 1, 2, 1]


def test_a_turned_picture_keeps_its_clicks_and_boxes_on_the_same_pixels() -> None:
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    about = SampleObject(1, "nucleus", clicks=((4.5, 1.5, True),), box=(1.0, 0.0, 5.0, 3.0))
    sample = Sample("a", "team", image, np.ones((4, 6), np.int16), (about,))

    turned = quarter_turn(sample)

    ((x, y, positive),) = turned.objects[0].clicks
    assert turned.image.shape == (6, 4, 3)
    assert turned.image[int(y), int(x)].tolist() == image[1, 4].tolist()
    assert positive
    left, top, right, bottom = (int(side) for side in turned.objects[0].box or ())
    assert turned.image[top:bottom, left:right].shape == (4, 3, 3)
    assert (turned.image[top:bottom, left:right] == np.rot90(image[0:3, 1:5])).all()


@pytest.mark.parametrize(("category", "views"), [("dog", 6), ("left mirror", 1), ("big dog", 6)])
def test_only_pictures_whose_words_say_where_something_is_are_not_turned(
    category: str, views: int
) -> None:
    pictures = RecordDataset("team", [Record("a", (9, 8), (SampleObject(1, category),))])

    turned = Turned(pictures)

    assert len(turned) == views
    assert {turned.size(index) for index in range(views)} == (
        {(9, 8), (8, 9)} if views > 1 else {(9, 8)}
    )
