"""Builders of pictures and masks for small copies of the data sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Box = Callable[..., NDArray[np.bool_]]
Write = Callable[..., NDArray[np.uint8]]
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


@pytest.fixture
def write_picture() -> Write:
    """Write a colourful picture of this size to a path; returns it as arrays."""

    def write(path: Path, width: int = 60, height: int = 40, seed: int = 0) -> NDArray[np.uint8]:
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 255, (5, 6, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
        return np.asarray(Image.open(path).convert("RGB"))

    return write


@pytest.fixture
def box() -> Box:
    """A mask that is one rectangle: left, top, right, bottom (the last two not in it)."""

    def make(
        left: int, top: int, right: int, bottom: int, width: int = 60, height: int = 40
    ) -> NDArray[np.bool_]:
        mask = np.zeros((height, width), bool)
        mask[top:bottom, left:right] = True
        return mask

    return make
