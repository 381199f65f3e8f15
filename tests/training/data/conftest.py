"""Builders of pictures and masks for small copies of the data sets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.data.voc import CATEGORIES

PERSON, DOG = 1, 18


def corners(left: float, top: float, right: float, bottom: float) -> list[float]:
    """The polygon of a rectangle, as COCO writes it."""
    return [left, top, right, top, right, bottom, left, bottom]


def annotation(number: int, image: int, segmentation: Any, **more: Any) -> dict[str, Any]:
    """An annotation of a dog as in an instances JSON."""
    return {
        "id": number,
        "image_id": image,
        "category_id": DOG,
        "iscrowd": 0,
        "bbox": [0, 0, 1, 1],
        "area": 1,
        "segmentation": segmentation,
        **more,
    }


def write_instances(
    path: Path,
    names: Mapping[int, str],
    annotations: Sequence[Mapping[str, Any]],
    size: tuple[int, int] = (60, 40),
) -> Path:
    """An instances JSON of pictures (file name by id) of one width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "info": {"description": "made by a test"},
        "licenses": [],
        "images": [
            {"id": number, "file_name": name, "width": size[0], "height": size[1]}
            for number, name in names.items()
        ],
        "annotations": list(annotations),
        "categories": [
            {"id": PERSON, "name": "person", "supercategory": "person"},
            {"id": DOG, "name": "dog", "supercategory": "animal"},
        ],
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def ref(number: int, image: int, annotation: Any, split: str, *texts: str) -> dict[str, Any]:
    """What people said of an annotation (or several), as in RefCOCO's pickles."""
    sentences = [
        {"tokens": text.split(), "raw": text.upper(), "sent_id": 100 * number + i, "sent": text}
        for i, text in enumerate(texts)
    ]
    return {
        "ref_id": number,
        "ann_id": annotation,
        "image_id": image,
        "category_id": 1,
        "split": split,
        "file_name": f"COCO_train2014_{image:012d}_{number}.jpg",
        "sent_ids": [sentence["sent_id"] for sentence in sentences],
        "sentences": sentences,
    }


def write_picture(
    path: Path, width: int = 60, height: int = 40, seed: int = 0
) -> NDArray[np.uint8]:
    """Write a colourful picture; returns it as it is read again."""
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 6, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return np.asarray(Image.open(path).convert("RGB"))


def box(
    left: int, top: int, right: int, bottom: int, width: int = 60, height: int = 40
) -> NDArray[np.bool_]:
    """A mask that is one rectangle: left, top, right, bottom (the last two not in it)."""
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    return mask


VOC_NAMES = ("2007_000032", "2008_000123", "2010_000999")


def voc_maps() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Two persons and a dog between them, with undecided borders: objects and classes."""
    objects = np.zeros((40, 60), np.uint8)
    classes = np.zeros((40, 60), np.uint8)
    for number, kind, mask in (
        (1, "person", box(2, 2, 18, 38)),
        (2, "dog", box(22, 20, 36, 34)),
        (3, "person", box(40, 2, 58, 38)),
    ):
        objects[mask], classes[mask] = number, CATEGORIES.index(kind) + 1
    for border in (box(18, 2, 20, 38), box(36, 20, 38, 34)):
        objects[border] = classes[border] = 255
    return objects, classes


def write_labels(path: Path, labels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(labels)
    # Colours that say nothing of the numbers, as VOC's do not.
    picture.putpalette([(37 * place) % 256 for place in range(768)])
    picture.save(path)


def write_voc(data: Path) -> Path:
    """VOCdevkit/VOC2012 with two pictures to train on and one to validate."""
    root = data / "VOCdevkit" / "VOC2012"
    for place, name in enumerate(VOC_NAMES):
        write_picture(root / "JPEGImages" / f"{name}.jpg", seed=place)
        for folder, labels in zip(
            ("SegmentationObject", "SegmentationClass"), voc_maps(), strict=True
        ):
            write_labels(root / folder / f"{name}.png", labels)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, names in (("train", VOC_NAMES[:2]), ("val", VOC_NAMES[2:]), ("trainval", VOC_NAMES)):
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
    return root


REFS = [
    ref(0, 9, 501, "train", "the left man", "man in café"),
    ref(1, 9, 502, "train", "right man"),
    ref(2, 25, 503, "val", "only dog"),
    ref(3, 30, 504, "testA", "woman"),
    ref(4, 9, 501, "train", "guy on left"),
]


def write_refer_instances(folder: Path) -> None:
    """instances.json: two persons and a dog in the first picture, one thing in the others."""
    about = [(501, 9, 0), (502, 9, 40), (503, 25, 10), (504, 30, 30), (505, 9, 20)]
    annotations = [
        annotation(number, image, [corners(left, 5, left + 20, 25)], category_id=kind)
        for (number, image, left), kind in zip(
            about, (PERSON, PERSON, DOG, PERSON, DOG), strict=True
        )
    ]
    names = {number: f"COCO_train2014_{number:012d}.jpg" for number in (9, 25, 30)}
    write_instances(folder / "instances.json", names, annotations)
