"""A picture that breaks in the middle of a run is passed over, not run into."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from training.data import FolderDataset, Tolerant

Write = Callable[..., NDArray[np.uint8]]


def test_a_broken_picture_is_none_and_is_named_once(
    tmp_path: Path, write_picture: Write, caplog: pytest.LogCaptureFixture
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


def test_an_index_that_is_none_is_still_an_error(tmp_path: Path, write_picture: Write) -> None:
    write_picture(tmp_path / "a.jpg")
    Image.new("L", (60, 40), 255).save(tmp_path / "a.png")
    with pytest.raises(IndexError):
        Tolerant(FolderDataset(tmp_path)).get(5)
