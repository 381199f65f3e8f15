"""Large pictures are kept at the size that training sees, within bounds of memory."""

import numpy as np
import pytest

from training.data.sample import VOID, Expression, Sample, SampleObject
from training.data.shrunk import Shrunk, shrunk


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


class Counted:
    """A data set that counts how often its pictures are read."""

    def __init__(self, count: int) -> None:
        self.sources = ["team"] * count
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> Sample:
        self.read.append(index)
        return large(index)

    def size(self, index: int) -> tuple[int, int]:
        return 400, 200

    def objects(self, index: int) -> tuple[SampleObject, ...]:
        return large(index).objects

    def expressions(self, index: int) -> tuple[Expression, ...]:
        return ()


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
    counted = Counted(3)
    one = shrunk(large(), 100)
    room = 2 * (one.image.nbytes + one.instances.nbytes + one.masks[1].nbytes)
    kept = Shrunk(counted, longest=100, kept_bytes=room)
    # when / then
    for index in (0, 1, 0, 1):
        assert kept[index].key == f"picture-{index}"
    assert counted.read == [0, 1]
    # and the one that was not asked for the longest goes first
    assert [kept[index].key for index in (0, 2, 0, 1)] == [
        "picture-0", "picture-2", "picture-0", "picture-1",
    ]  # fmt: skip
    assert counted.read == [0, 1, 2, 1]
