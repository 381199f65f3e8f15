"""Exports accepted samples as a shard of the pack's format, to train with them elsewhere.

A shard is a WebDataset tar (see ``training.data.pack``): picture, map of object ids, JSON. The map
has one id per pixel, so overlapping objects get records of their own, with the picture again. A few
border pixels that two masks share go to the smaller one.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.samples.dataset import AcceptedSamples
from backend.samples.rules import Split
from model.files import atomic_file
from training.data.masks import layered
from training.data.sample import Sample
from training.data.wrappers import shrunk
from training.errors import DataError

# Share of the smaller mask: the strokes of neighbours may meet in a few pixels.
_SHARED = 0.05
# 255 is void in the pack's format.
_MOST_OBJECTS = 254
# WebP's own limit; larger pictures are written as PNG.
_WEBP_SIDE = 16383
# Looks the same; lossless would be ten times as large.
_QUALITY = 95

Mask = NDArray[np.bool_]


def export(
    dataset: AcceptedSamples,
    path: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    only: Sequence[int] | None = None,
    longest: int | None = None,
) -> tuple[int, list[str]]:
    """Write samples to ``path``, atomically.

    Args:
        only: indices of the samples to write; None: all.
        longest: shrink pictures to this side, in pixels; None: keep their size.

    Returns:
        The number of objects written, and a sentence for each sample that could not be read.
    """
    wanted = range(len(dataset)) if only is None else only
    missing: list[str] = []
    written = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file, tarfile.open(fileobj=file, mode="w") as archive:
        for done, index in enumerate(wanted, 1):
            try:
                sample = dataset[index]
            except DataError as error:
                missing.append(str(error))
            else:
                if longest is not None:
                    sample = shrunk(sample, longest)
                written += _add(archive, sample, dataset.split(index))
            progress(done, len(wanted))
    return written, missing


def _add(archive: tarfile.TarFile, sample: Sample, split: Split) -> int:
    masks = {one.id: sample.mask(one.id) for one in sample.objects}
    suffix, picture = _picture(sample.image)
    written = 0
    alone = len(masks) <= _MOST_OBJECTS and not sample.masks
    for number, layer in enumerate([set(masks)] if alone else _layers(masks)):
        # In the format, the first dot ends the name.
        name = f"{sample.key}-{number}".replace(".", "_").replace("/", "_")
        about = {
            "source": sample.source,
            "split": split,
            "objects": [
                {
                    "id": order,
                    "category": one.category,
                    "semantic": one.semantic,
                    "phrases": list(one.phrases),
                    "clicks": [[round(x, 2), round(y, 2), good] for x, y, good in one.clicks],
                    "box": [round(side, 2) for side in one.box] if one.box else None,
                }
                for order, one in enumerate((o for o in sample.objects if o.id in layer), 1)
            ],
        }
        ordered = {order: masks[one] for order, one in enumerate(sorted(layer), 1)}
        instances, _ = layered(ordered, sample.instances.shape)
        _member(archive, f"{name}.{suffix}", picture)
        _member(archive, f"{name}.inst.png", _png(instances.astype(np.uint8)))
        _member(archive, f"{name}.json", json.dumps(about, ensure_ascii=False).encode())
        written += len(layer)
    return written


def _layers(masks: Mapping[int, Mask]) -> Iterator[set[int]]:
    """Groups of objects that do not overlap, greedily."""
    left = dict(masks)
    while left:
        layer: set[int] = set()
        for number, mask in left.items():
            if len(layer) < _MOST_OBJECTS and not any(
                _overlap(mask, left[other]) for other in layer
            ):
                layer.add(number)
        yield layer
        left = {number: mask for number, mask in left.items() if number not in layer}


def _overlap(one: Mask, other: Mask) -> bool:
    return int((one & other).sum()) > _SHARED * min(int(one.sum()), int(other.sum()))


def _picture(image: NDArray[np.uint8]) -> tuple[str, bytes]:
    if max(image.shape[:2]) > _WEBP_SIDE:
        return "png", _png(image)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "WEBP", quality=_QUALITY)
    return "webp", stream.getvalue()


def _png(image: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def _member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
