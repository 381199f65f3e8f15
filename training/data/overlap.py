"""Pictures of one data set that are also in another, to keep test pictures out of training.

Data sets share photographs under other names, sizes and compressions (VOC in SBD, BSDS in Berkeley,
Flickr in many), so names and perceptual hashes are compared. The hash has the signs of the lowest
frequencies of the grey picture: 64 bits that survive scaling, re-encoding and brightening (as in
http://www.phash.org, Zauner 2010).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from training.data.sample import Dataset
from training.data.wrappers import Tolerant

Hash = NDArray[np.bool_]

# Bits that may differ between two copies of one photograph. Measured on 900 photographs: scaled and
# recompressed copies differ in at most 2 bits, crops by 5 % mostly in up to 10; of 400,000 pairs of
# different photographs only neighbouring video frames are below 12. With equal names more bits may
# differ, but not any number, since not every "0001" is the same picture.
DISTANCE = 10
NAMED_DISTANCE = 20
SIDE = 32
LOW = 8


def overlapping(train: Dataset, test: Dataset) -> list[int]:
    """The indices of the pictures of ``train`` that also occur in ``test``.

    Their hashes, as they are or mirrored, differ in at most `DISTANCE` of 64 bits, or in at most
    `NAMED_DISTANCE` for equal names. Unreadable pictures are skipped.
    """
    known = _fingerprints(test)
    hashes = np.array([one for _, _, both in known for one in both], bool)
    named: dict[str, list[Hash]] = {}
    for _, name, both in known:
        named.setdefault(name, []).extend(both)
    return [
        index
        for index, name, (ours, _) in _fingerprints(train)
        if _nearest(ours, hashes) <= DISTANCE
        or _nearest(ours, named.get(name, ())) <= NAMED_DISTANCE
    ]


def _fingerprints(dataset: Dataset) -> list[tuple[int, str, tuple[Hash, Hash]]]:
    """Of each readable picture its index, its name, and its hash as it is and mirrored."""
    samples = Tolerant(dataset)

    def one(index: int) -> tuple[int, str, tuple[Hash, Hash]] | None:
        sample = samples.get(index)
        if sample is None:
            return None
        grey = np.asarray(Image.fromarray(sample.image).convert("L"))
        hashes = perceptual_hash(grey), perceptual_hash(grey[:, ::-1])
        return index, plain_name(sample.key), hashes

    with ThreadPoolExecutor(4) as pool:
        return [made for made in pool.map(one, range(len(dataset))) if made is not None]


def perceptual_hash(grey: NDArray[np.uint8]) -> Hash:
    """64 bool of an H,W picture: which low frequencies are above their median."""
    small = Image.fromarray(np.ascontiguousarray(grey)).resize(
        (SIDE, SIDE), Image.Resampling.LANCZOS
    )
    frequencies = dctn(np.asarray(small, np.float64), norm="ortho")[:LOW, :LOW].ravel()
    # The first one is the overall brightness, which is ignored.
    bits: Hash = frequencies > np.median(frequencies[1:])
    return bits


def plain_name(key: str) -> str:
    """The name of a photograph: its number in VOC or COCO if the key contains one, else the key.

    "voc-2008_000123" equals "2008_000123", "COCO_train2014_000000000009" equals "000000000009".
    """
    number = re.search(r"(?<!\d)((?:19|20)\d\d_\d{6}|\d{12})(?!\d)", key)
    return number[1] if number else key


def _nearest(ours: Hash, others: Hash | Sequence[Hash]) -> int:
    """The number of bits by which the nearest of the other hashes differs."""
    return int((np.asarray(others) != ours).sum(1).min()) if len(others) else LOW * LOW
