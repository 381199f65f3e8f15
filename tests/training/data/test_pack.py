"""Shards are read as they are, and what is broken in them is named."""

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.conftest import members, write_shard
from training.data import VOID, PackDataset
from training.data.pack import QUALITIES, reencode
from training.errors import DataError


def test_reads_pictures_objects_and_void(shard: Path) -> None:
    # given / when
    dataset = PackDataset([shard])
    sample = dataset[2]
    # then
    assert len(dataset) == 6
    assert dataset.sources == ["voc"] * 6
    assert dataset.size(2) == (160, 120)
    assert sample.key == "picture-2"
    assert sample.image.shape == (120, 160, 3)
    assert [o.category for o in dataset.objects(2)] == ["dog", "dog", "cat"]
    assert (sample.instances[:4] == VOID).all()
    assert sample.void[:4].all()
    assert not sample.void[4:].any()
    assert set(np.unique(sample.instances)) == {VOID, 0, 1, 2, 3}
    assert sample.mask(1, 2).sum() == sample.mask(1).sum() + sample.mask(2).sum()


def test_skips_and_counts_a_sample_without_masks(tmp_path: Path) -> None:
    # given
    grey = np.full((20, 30, 3), 99, np.uint8)
    ids = np.ones((20, 30), np.uint8)
    whole = members(grey, ids, [(1, "cat", False)])
    broken = {name: data for name, data in whole.items() if name != "inst.png"}
    unreadable = {**whole, "json": b"{"}
    # when
    dataset = PackDataset(
        [write_shard(tmp_path / "made.tar", [("a", broken), ("b", whole), ("c", unreadable)])]
    )
    # then
    assert len(dataset) == 1
    assert dataset.skipped == 2
    assert dataset[0].key == "b"


def test_names_the_sample_that_cannot_be_read(tmp_path: Path) -> None:
    # given masks of another size than the picture, and a torn picture
    grey = np.full((20, 30, 3), 99, np.uint8)
    odd, torn = (
        members(grey, np.ones((height, 30), np.uint8), [(1, "cat", False)]) for height in (21, 20)
    )
    torn["webp"] = torn["webp"][:20]
    dataset = PackDataset([write_shard(tmp_path / "made.tar", [("odd", odd), ("torn", torn)])])
    for index, message in enumerate((r"odd.*30x21.*30x20", "torn")):
        with pytest.raises(DataError, match=message):
            dataset[index]


def test_reads_jpeg_and_phrases_of_people_too(tmp_path: Path) -> None:
    # given
    grey = np.full((20, 30, 3), 99, np.uint8)
    sample = members(grey, np.ones((20, 30), np.uint8), [(1, None, False)])
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "JPEG")
    del sample["webp"]
    about = json.loads(sample["json"])
    about["objects"][0]["phrases"] = ["the grey wall"]
    sample = {"jpg": stream.getvalue(), **sample, "json": json.dumps(about).encode()}
    # when
    read = PackDataset([write_shard(tmp_path / "made.tar", [("j", sample)])])[0]
    # then
    assert read.objects[0].phrases == ("the grey wall",)
    assert abs(int(read.image.mean()) - 99) <= 1


def test_pictures_look_as_the_server_shows_them(tmp_path: Path) -> None:
    # given grey values of 16 bits, and pixels that are transparent
    deep = np.full((20, 30), 0x4000, np.uint16)
    hidden = np.zeros((20, 30, 4), np.uint8)
    samples = []
    for array in (deep, hidden):
        stream = io.BytesIO()
        Image.fromarray(array).save(stream, "PNG")
        empty = np.zeros((20, 30, 3), np.uint8)
        sample = members(empty, np.ones((20, 30), np.uint8), [(1, "cat", False)])
        del sample["webp"]
        samples.append((f"p{len(samples)}", {"png": stream.getvalue(), **sample}))
    # when
    dataset = PackDataset([write_shard(tmp_path / "made.tar", samples)])
    # then they are scaled, not clipped, and show the page's white
    assert (dataset[0].image == 0x40).all()
    assert (dataset[1].image == 255).all()


@pytest.mark.parametrize(
    "content", [None, b"this is no tar file", b"", gzip.compress(bytes(range(256)) * 99)[:200]]
)
def test_says_which_shard_is_missing_or_broken(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "gone.tar"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"gone\.tar"):
        PackDataset([path])


@pytest.mark.parametrize("damage", ["cut", "zeros"])
def test_a_shard_that_ends_too_early_is_not_read_as_a_smaller_one(shard: Path, damage: str) -> None:
    content = shard.read_bytes()
    half = len(content) // 1024 * 512
    rest = b"" if damage == "cut" else bytes(2048) + content[half + 2048 :]
    shard.write_bytes(content[:half] + rest)
    with pytest.raises(DataError, match="not a whole tar file"):
        PackDataset([shard])


class TestReencode:
    def test_pictures_shrink_and_annotations_stay(self, shard: Path, tmp_path: Path) -> None:
        # given
        before = PackDataset([shard])
        # when
        quality, size = reencode([shard], tmp_path / "small", longest=80, most_bytes=200_000)
        # then
        after = PackDataset([tmp_path / "small" / shard.name])
        assert quality == QUALITIES[0]
        assert size == (tmp_path / "small" / shard.name).stat().st_size <= 200_000
        assert len(after) == len(before)
        assert [after.size(i) for i in range(len(after))] == [(80, 60)] * len(before)
        assert [after.objects(i) for i in range(6)] == [before.objects(i) for i in range(6)]
        assert set(np.unique(after[0].instances)) == set(np.unique(before[0].instances))

    def test_what_cannot_fit_is_refused(self, shard: Path, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="lower the longest side"):
            reencode([shard], tmp_path / "small", longest=80, most_bytes=2_000)

    def test_no_shard_is_overwritten(self, shard: Path) -> None:
        with pytest.raises(DataError, match="exists"):
            reencode([shard], shard.parent, longest=80, most_bytes=200_000)
