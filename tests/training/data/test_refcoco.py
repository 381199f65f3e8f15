"""RefCOCO and its kin in their published form, pickles of Python 2 included."""

from __future__ import annotations

import json
import logging
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.data.conftest import REFS, box, ref, write_picture, write_refer_instances
from training.data import Expression, open_dataset
from training.data.coco import open_refcoco, read_plain_pickle
from training.errors import DataError


class PythonTwo(pickle._Pickler):  # type: ignore[name-defined, misc]
    """Writes str as Python 2 wrote its byte strings: STRING, SHORT_BINSTRING and BINSTRING."""

    dispatch = pickle._Pickler.dispatch.copy()  # type: ignore[attr-defined]

    def save_text(self, text: str) -> None:
        data = text.encode()
        if self.proto == 0:
            quoted = "".join(chr(b) if 32 <= b < 127 else f"\\x{b:02x}" for b in data)
            self.write(b"S'" + quoted.encode() + b"'\n")
        elif len(data) < 256:
            self.write(b"U" + bytes([len(data)]) + data)
        else:
            self.write(b"T" + struct.pack("<i", len(data)) + data)

    dispatch[str] = save_text


def write_pickle(path: Path, content: object, protocol: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        PythonTwo(file, protocol).dump(content)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """data/ with images/mscoco/images/train2014/ in it, as the sets' own tools want it."""
    for number in (9, 25, 30):
        name = f"COCO_train2014_{number:012d}.jpg"
        write_picture(tmp_path / "images/mscoco/images/train2014" / name, seed=number)
    return tmp_path


@pytest.fixture
def refcoco(home: Path) -> Path:
    write_refer_instances(home / "refcoco")
    write_pickle(home / "refcoco" / "refs(unc).p", REFS, 2)
    return home / "refcoco"


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_reads_phrases_objects_and_masks_of_a_split(refcoco: Path, protocol: int) -> None:
    # given
    write_pickle(refcoco / "refs(unc).p", REFS, protocol)
    # when
    dataset = open_refcoco(refcoco, split="train")
    # then
    assert len(dataset) == 1
    assert dataset.sources == ["refcoco"]
    assert dataset.size(0) == (60, 40)
    sample = dataset[0]
    assert sample.key == "COCO_train2014_000000000009"
    assert [o.category for o in sample.objects] == ["person", "person", "dog"]
    assert [o.phrases for o in dataset.objects(0)] == [
        ("the left man", "man in café", "guy on left"),
        ("right man",),
        (),
    ]
    assert np.array_equal(sample.mask(1), box(0, 5, 20, 25))
    assert np.array_equal(sample.mask(2), box(40, 5, 60, 25))
    assert dataset.expressions(0) == ()


def test_splits_are_kept_apart(refcoco: Path) -> None:
    for split, key in (("val", 25), ("testA", 30)):
        dataset = open_dataset([f"{refcoco}?split={split}"])
        assert [dataset[i].key for i in range(len(dataset))] == [f"COCO_train2014_{key:012d}"]
    with pytest.raises(DataError, match="no split 'testB', only testA, train, val"):
        open_refcoco(refcoco, split="testB")


@pytest.mark.parametrize(
    ("name", "place"),
    [("refcoco+", "refcoco+:{}?by=google&split=val"), ("refcocog", "{}?by=umd&split=val")],
)
def test_reads_the_division_that_is_named(home: Path, name: str, place: str) -> None:
    # given: two divisions of one set
    folder = home / name
    write_refer_instances(folder)
    write_pickle(folder / "refs(google).p", [ref(0, 25, 503, "val", "by google")], 2)
    write_pickle(folder / "refs(umd).p", [ref(0, 25, 503, "val", "by umd")], 2)
    # when
    dataset = open_dataset([place.format(folder)])
    # then
    assert dataset.sources == [name]
    by = "google" if "google" in place else "umd"
    assert dataset.objects(0)[0].phrases == (f"by {by}",)
    with pytest.raises(DataError, match=r"refs\(unc\)"):
        open_refcoco(folder, by="unc")


def test_phrases_of_grefcoco_denote_one_several_or_nothing(home: Path) -> None:
    # given
    folder = home / "grefcoco"
    write_refer_instances(folder)
    said = [
        {**ref(0, 9, [501], "train", "left man"), "category_id": [1]},
        {**ref(1, 9, [501, 502], "train", "two men", "the men"), "category_id": [1, 1]},
        {**ref(2, 9, [-1], "train", "a green horse"), "category_id": [-1], "no_target": True},
    ]
    (folder / "grefs(unc).json").write_text(json.dumps(said))
    # when
    dataset = open_dataset([f"{folder}?split=train"])
    sample = dataset[0]
    # then
    assert dataset.sources == ["grefcoco"]
    assert sample.objects[0].phrases == ("left man",)
    assert dataset.expressions(0) == sample.expressions
    assert sample.expressions == (
        Expression("two men", (1, 2)),
        Expression("the men", (1, 2)),
        Expression("a green horse", ()),
    )
    both = box(0, 5, 20, 25) | box(40, 5, 60, 25)
    assert np.array_equal(sample.mask(*sample.expressions[0].ids), both)


def test_what_is_said_of_lost_pictures_and_objects_is_left_out(
    refcoco: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # given
    broken: list[Any] = [
        *REFS,
        ref(5, 404, 501, "train", "nobody's picture"),
        ref(6, 9, 999, "train", "nobody's object"),
        {"ref_id": 7},
        "no ref at all",
        ref(8, 30, 504, "train", "of a lost picture"),
    ]
    write_pickle(refcoco / "refs(unc).p", broken, 2)
    pictures = refcoco.parent / "images/mscoco/images/train2014"
    (pictures / "COCO_train2014_000000000030.jpg").unlink()
    # when
    with caplog.at_level(logging.WARNING):
        dataset = open_refcoco(refcoco, split="train")
    # then
    assert len(dataset) == 1
    assert dataset.skipped == 5
    assert "picture 404" in caplog.text
    assert "object 999" in caplog.text
    assert "000000000030.jpg is missing" in caplog.text


class Harmful:
    """A pickle of this runs a command when it is read as usual."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.unlink, (self.victim,)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_that_names_code_is_refused_and_runs_none(
    refcoco: Path, tmp_path: Path, protocol: int
) -> None:
    # given
    victim = tmp_path / "precious.txt"
    victim.write_text("still here")
    (refcoco / "refs(unc).p").write_bytes(pickle.dumps([Harmful(victim)], protocol))
    # when / then
    with pytest.raises(DataError, match=r"refs\(unc\)\.p is refused: the pickle asks for"):
        open_refcoco(refcoco)
    assert victim.read_text() == "still here"


@pytest.mark.parametrize("content", [b"", b"\x80\x02]q\x00(", b"no pickle", b"(lp0\nS'torn"])
def test_a_torn_pickle_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "refs.p"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"refs\.p is not a complete pickle"):
        read_plain_pickle(path)


def test_a_pickle_of_something_else_is_named(refcoco: Path) -> None:
    (refcoco / "refs(unc).p").write_bytes(pickle.dumps({"refs": []}))
    with pytest.raises(DataError, match=r"expected a list of refs, this is a dict"):
        open_refcoco(refcoco)
