"""PASCAL VOC's devkit and SBD's release, written here in their true form."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ImageFile
from scipy.io import savemat
from scipy.sparse import csc_matrix

from model.torchvision_operators import torchvision
from tests.training.data.conftest import (
    VOC_NAMES as NAMES,
)
from tests.training.data.conftest import (
    box,
    voc_maps,
    write_labels,
    write_picture,
    write_voc,
)
from training.data import VOID, open_dataset
from training.data.voc import CATEGORIES
from training.errors import DataError

DOG, PERSON = CATEGORIES.index("dog") + 1, CATEGORIES.index("person") + 1


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    return write_voc(tmp_path)


def write_mat(path: Path, kind: str, labels: NDArray[np.uint8], categories: list[int]) -> None:
    """A struct of SBD: the map, boundaries as a cell of sparse matrices, the categories."""
    boundaries = np.empty((len(categories), 1), object)
    for place in range(len(categories)):
        boundaries[place, 0] = csc_matrix(labels == place + 1)
    about = "Categories" if kind == "GTinst" else "CategoriesPresent"
    fields = {
        "Boundaries": boundaries,
        "Segmentation": labels,
        about: np.array(categories, np.uint8)[:, None],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {kind: fields})


@pytest.fixture
def sbd(tmp_path: Path) -> Path:
    root = tmp_path / "benchmark_RELEASE" / "dataset"
    objects, classes = (
        np.where(labels == 255, 0, labels).astype(np.uint8) for labels in voc_maps()
    )
    for place, name in enumerate(NAMES):
        write_picture(root / "img" / f"{name}.jpg", seed=place)
        write_mat(root / "inst" / f"{name}.mat", "GTinst", objects, [PERSON, DOG, PERSON])
        write_mat(root / "cls" / f"{name}.mat", "GTcls", classes, [DOG, PERSON])
    (root / "train.txt").write_text("\n".join(NAMES[:2]) + "\n")
    (root / "val.txt").write_text(NAMES[2] + "\n")
    return root


def test_reads_objects_categories_and_borders(voc: Path) -> None:
    # when
    dataset = open_dataset([f"{voc}?split=train"])
    sample = dataset[1]
    # then
    assert dataset.sources == ["voc", "voc"]
    assert dataset.size(1) == (60, 40)
    assert sample.key == NAMES[1]
    assert [(o.id, o.category) for o in dataset.objects(1)] == [
        (1, "person"),
        (2, "dog"),
        (3, "person"),
    ]
    assert np.array_equal(sample.mask(2), box(22, 20, 36, 34))
    assert np.array_equal(sample.void, box(18, 2, 20, 38) | box(36, 20, 38, 34))
    assert set(np.unique(sample.instances)) == {VOID, 0, 1, 2, 3}


def test_agrees_with_torchvision_on_names_pictures_and_classes(voc: Path) -> None:
    # given
    theirs = torchvision.datasets.VOCSegmentation(
        str(voc.parents[1]), year="2012", image_set="trainval"
    )
    ours = open_dataset([f"voc:{voc.parent}?split=trainval"])
    # when / then
    assert len(ours) == len(theirs) == 3
    for index in range(3):
        sample = ours[index]
        picture, classes = theirs[index]
        assert np.array_equal(sample.image, np.asarray(picture))
        named = np.zeros(sample.instances.shape, np.uint8)
        for about in sample.objects:
            assert about.category is not None
            named[sample.mask(about.id)] = CATEGORIES.index(about.category) + 1
        named[sample.void] = 255
        assert np.array_equal(named, np.asarray(classes))


def test_the_category_is_that_of_most_pixels(voc: Path) -> None:
    # given: the two maps disagree along an edge, and one object has no category at all
    labels = np.zeros((40, 60), np.uint8)
    labels[:, :20], labels[:, 30:] = 1, 2
    classes = np.zeros((40, 60), np.uint8)
    classes[:, :12], classes[:, 12:20] = DOG, PERSON
    write_labels(voc / "SegmentationObject" / f"{NAMES[0]}.png", labels)
    write_labels(voc / "SegmentationClass" / f"{NAMES[0]}.png", classes)
    # when
    objects = open_dataset([f"{voc}?split=train"]).objects(0)
    # then
    assert [o.category for o in objects] == ["dog", None]


def test_reads_sbd_as_it_is_released(sbd: Path) -> None:
    # when
    dataset = open_dataset([f"{sbd.parent.parent}?split=val"])
    sample = dataset[0]
    # then
    assert dataset.sources == ["sbd"]
    assert sample.key == NAMES[2]
    assert [o.category for o in sample.objects] == ["person", "dog", "person"]
    assert np.array_equal(sample.mask(3), box(40, 2, 58, 38))
    assert not sample.void.any()


def test_agrees_with_torchvision_on_sbd(sbd: Path) -> None:
    theirs = torchvision.datasets.SBDataset(str(sbd), image_set="train", mode="segmentation")
    ours = open_dataset([f"sbd:{sbd}?split=train"])
    assert len(ours) == len(theirs) == 2
    for index in range(2):
        sample = ours[index]
        picture, classes = theirs[index]
        assert np.array_equal(sample.image, np.asarray(picture))
        assert np.array_equal(np.asarray(classes) == DOG, sample.mask(2))
        assert np.array_equal(np.asarray(classes) == PERSON, sample.mask(1, 3))


def test_sbds_maps_may_lie_beside_vocs_pictures(sbd: Path) -> None:
    (sbd / "img").rename(sbd / "JPEGImages")
    assert len(open_dataset([f"{sbd}?split=train"])) == 2


@pytest.mark.parametrize("kind", ["voc", "sbd"])
def test_what_is_broken_is_left_out_counted_and_named(
    request: pytest.FixtureRequest, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    # given: one picture gone and one map torn
    root: Path = request.getfixturevalue(kind)
    pictures, maps, suffix = (
        ("JPEGImages", "SegmentationClass", "png") if kind == "voc" else ("img", "inst", "mat")
    )
    lists = root / "ImageSets" / "Segmentation" if kind == "voc" else root
    (lists / "all.txt").write_text("\n".join(NAMES))
    (root / pictures / f"{NAMES[0]}.jpg").unlink()
    torn = root / maps / f"{NAMES[1]}.{suffix}"
    torn.write_bytes(torn.read_bytes()[:150])
    # when
    with caplog.at_level(logging.WARNING):
        dataset = open_dataset([f"{root}?split=all"])
    # then
    assert [dataset[i].key for i in range(len(dataset))] == [NAMES[2]]
    assert f"{NAMES[0]}.jpg is missing" in caplog.text
    assert f"{NAMES[1]}.{suffix}" in caplog.text
    assert dataset.skipped == 2  # type: ignore[attr-defined]


def test_maps_of_another_size_are_left_out_with_both_sizes(
    voc: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_picture(voc / "JPEGImages" / f"{NAMES[0]}.jpg", width=50)
    with caplog.at_level(logging.WARNING):
        dataset = open_dataset([f"{voc}?split=train"])
    assert len(dataset) == 1
    assert f"{NAMES[0]}.jpg: the masks measure 60x40, the picture 50x40" in caplog.text


@pytest.mark.parametrize("filled_up", [False, True])  # a setting of the whole process
def test_a_picture_torn_inside_is_named_when_it_is_read(
    voc: Path, filled_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", filled_up)
    path = voc / "JPEGImages" / f"{NAMES[0]}.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    dataset = open_dataset([f"{voc}?split=train"])
    with pytest.raises(DataError, match=rf"{NAMES[0]}\.jpg cannot be decoded"):
        dataset[0]


def test_says_which_splits_there_are(voc: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DataError, match="no split 'test', only train, trainval, val"):
        open_dataset([f"{voc}?split=test"])
    with caplog.at_level(logging.WARNING):
        assert len(open_dataset([voc])) == 2
    assert "'train' is used, of train, trainval, val" in caplog.text


def test_says_what_a_devkit_must_hold(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected SegmentationObject/"):
        open_dataset([f"voc:{tmp_path}"])
    with pytest.raises(DataError, match="expected inst/ and cls/"):
        open_dataset([f"sbd:{tmp_path}"])
