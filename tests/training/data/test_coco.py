"""COCO's instances JSON, written here in its true form: polygons, run lengths, crowds."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.data.conftest import (
    PERSON,
    annotation,
    box,
    corners,
    write_instances,
    write_picture,
)
from training.data import open_dataset
from training.data.coco import open_coco
from training.errors import DataError


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """annotations/instances_val2017.json with val2017/ beside it, as COCO unpacks."""
    for number in (9, 25):
        write_picture(tmp_path / "val2017" / f"{number:012d}.jpg", seed=number)
    crowd = {"size": [40, 60], "counts": [60 * 40 - 400, 400]}
    return write_instances(
        tmp_path / "annotations" / "instances_val2017.json",
        {9: "000000000009.jpg", 25: "000000000025.jpg"},
        [
            annotation(900100, 9, [corners(0, 0, 30, 40)]),
            annotation(900101, 9, [corners(20, 10, 40, 20)], category_id=PERSON),
            annotation(900102, 9, crowd, iscrowd=1, category_id=PERSON),
            annotation(900103, 25, [corners(5, 5, 10, 10), corners(50, 30, 60, 40)]),
        ],
    )


def test_reads_pictures_categories_and_masks(coco: Path) -> None:
    # when
    dataset = open_coco(coco)
    first, second = dataset[0], dataset[1]
    # then
    assert dataset.sources == ["coco", "coco"]
    assert dataset.skipped == 0
    assert first.key == "000000000009"
    assert dataset.size(0) == (60, 40)
    assert [o.category for o in dataset.objects(0)] == ["dog", "person", "person"]
    assert np.array_equal(first.mask(1), box(0, 0, 30, 40))
    assert np.array_equal(first.mask(2), box(20, 10, 40, 20))
    assert np.array_equal(second.mask(1), box(5, 5, 10, 10) | box(50, 30, 60, 40))
    assert not first.void.any()
    picture = np.asarray(Image.open(coco.parents[1] / "val2017" / "000000000025.jpg"))
    assert np.array_equal(second.image, picture)


def test_the_smaller_of_two_is_on_top_and_the_larger_stays_whole(coco: Path) -> None:
    # when
    sample = open_coco(coco)[0]
    # then
    small, large = box(20, 10, 40, 20), box(0, 0, 30, 40)
    assert np.array_equal(sample.instances == 2, small)
    assert np.array_equal(sample.instances == 1, large & ~small)
    assert np.array_equal(sample.mask(1), large)
    assert np.array_equal(sample.mask(1, 2), large | small)
    assert set(sample.masks) == {1}


def test_a_crowd_is_a_semantic_region_under_everything(coco: Path) -> None:
    # given: the last 400 pixels down the columns, an object of 20 x 20 over its lower half
    content = json.loads(coco.read_text())
    content["annotations"].append(annotation(900104, 9, [corners(40, 20, 60, 40)]))
    coco.write_text(json.dumps(content))
    # when
    sample = open_coco(coco)[0]
    # then
    crowd = box(50, 0, 60, 40)
    assert [o.semantic for o in sample.objects] == [False, False, True, False]
    assert np.array_equal(sample.mask(3), crowd)
    assert np.array_equal(sample.instances == 4, box(40, 20, 60, 40))
    assert np.array_equal(sample.instances == 3, box(50, 0, 60, 20))


@pytest.mark.parametrize(
    ("file", "names", "pictures", "source"),
    [
        ("mine/result.json", ("images/a.jpg", "images/b.jpg"), "mine/images", "mine"),
        ("mine/_annotations.coco.json", ("a.jpg", "b.jpg"), "mine", "mine"),
        ("cvat/annotations/instances_default.json", ("a.jpg", "b.jpg"), "cvat/images", "cvat"),
        ("win/result.json", ("images\\a.jpg", "images\\b.jpg"), "win/images", "win"),
        ("annotations/instances_train2014.json", ("a.jpg", "b.jpg"), "images/train2014", "coco"),
    ],
)
def test_finds_the_pictures_of_any_project(
    tmp_path: Path,
    file: str,
    names: tuple[str, str],
    pictures: str,
    source: str,
) -> None:
    # given
    for name in ("a.jpg", "b.jpg"):
        write_picture(tmp_path / pictures / name)
    whole = [corners(1, 1, 9, 9)]
    about = [annotation(1, 9, whole), annotation(2, 25, whole)]
    written = write_instances(tmp_path / file, dict(zip((9, 25), names, strict=True)), about)
    # when
    dataset = open_coco(written)
    # then
    assert [dataset[i].key for i in range(len(dataset))] == ["a", "b"]
    assert set(dataset.sources) == {source}


def test_the_folder_and_a_split_stand_for_the_file(coco: Path) -> None:
    assert len(open_dataset([f"{coco.parents[1]}?split=val2017"])) == 2
    assert len(open_dataset([coco.parents[1]])) == 2
    with pytest.raises(DataError, match="one of val2017"):
        open_dataset([f"coco:{coco.parents[1]}?split=test"])


def test_what_is_broken_is_left_out_counted_and_named(
    coco: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # given
    content = json.loads(coco.read_text())
    content["annotations"] += [
        annotation(7001, 9, {"size": [41, 60], "counts": [2460]}),
        annotation(7002, 9, [[1, 2]]),
        annotation(7003, 404, [corners(1, 1, 5, 5)]),
    ]
    content["images"].append({"id": 77, "width": 60, "height": 40})
    (coco.parents[1] / "val2017" / "000000000025.jpg").unlink()
    coco.write_text(json.dumps(content))
    # when
    with caplog.at_level(logging.WARNING):
        dataset = open_coco(coco)
    # then
    assert len(dataset) == 1
    assert dataset.skipped == 5
    assert len(dataset.objects(0)) == 3
    for name in ("7001: the mask measures 60x41", "7002", "404", "77", "000000000025.jpg"):
        assert name in caplog.text


def test_a_picture_of_another_size_or_torn_is_named_when_it_is_read(coco: Path) -> None:
    # given
    pictures = coco.parents[1] / "val2017"
    write_picture(pictures / "000000000009.jpg", width=61)
    torn = pictures / "000000000025.jpg"
    torn.write_bytes(torn.read_bytes()[:300])
    dataset = open_coco(coco)
    # when / then
    with pytest.raises(DataError, match=r"000000000009\.jpg: .*60x40, the picture 61x40"):
        dataset[0]
    with pytest.raises(DataError, match=r"000000000025\.jpg cannot be decoded"):
        dataset[1]


def test_run_lengths_that_fit_nothing_are_named_when_they_are_drawn(coco: Path) -> None:
    content = json.loads(coco.read_text())
    content["annotations"][0]["segmentation"] = {"size": [40, 60], "counts": "00"}
    coco.write_text(json.dumps(content))
    dataset = open_coco(coco)
    with pytest.raises(DataError, match=r"000000000009\.jpg, annotation 900100: the runs"):
        dataset[0]


def test_says_where_it_looked_for_pictures(coco: Path) -> None:
    (coco.parents[1] / "val2017").rename(coco.parents[1] / "elsewhere")
    with pytest.raises(DataError, match=r"000000000009\.jpg in .*\?pictures=FOLDER"):
        open_coco(coco)
    assert len(open_dataset([f"{coco}?pictures={coco.parents[1] / 'elsewhere'}"])) == 2


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"images": 3, "annotations": []}'])
def test_says_which_file_is_no_instances_json(tmp_path: Path, content: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"odd\.json"):
        open_coco(path)


def test_sizes_that_the_json_lacks_come_from_the_pictures(coco: Path) -> None:
    # given
    content = json.loads(coco.read_text())
    del content["images"][1]["width"], content["images"][1]["height"]
    half = {"size": [40, 60], "counts": [0, 1200, 1200]}
    content["annotations"].append(annotation(900105, 25, half))
    coco.write_text(json.dumps(content))
    # when
    dataset = open_coco(coco)
    # then
    assert dataset.size(1) == (60, 40)
    assert dataset[1].mask(1).sum() == 25 + 100
    assert dataset[1].mask(2)[:, :30].all()
    assert dataset[1].mask(2).sum() == 1200
