"""Pictures of one data set that are also in another, to keep test pictures out of training.

Data sets share photographs under other names, sizes and compressions (VOC in SBD, BSDS in Berkeley,
Flickr in many), so names and perceptual hashes are compared. The hash has the signs of the lowest
frequencies of the grey picture: 64 bits that survive scaling, re-encoding and brightening (as in
http://www.phash.org, Zauner 2010).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from training.data.sample import Dataset
from training.data.wrappers import Tolerant

Hash = NDArray[np.bool_]
Progress = Callable[[int, int], None]

# Bits that may differ between two copies of one photograph. Measured on 900 photographs: scaled and
# recompressed copies differ in at most 2 bits, crops by 5 % mostly in up to 10; of 400,000 pairs of
# different photographs only neighbouring video frames are below 12. With equal names more bits may
# differ, but not any number, since not every "0001" is the same picture.
DISTANCE = 10
NAMED_DISTANCE = 20
SIDE = 32
LOW = 8


@dataclass(frozen=True)
class Fingerprints:
    """What is compared of N readable pictures: index, name, hash, hash of the mirror image.

    hashes, mirrored: N,64 bool.
    """

    indices: NDArray[np.int64]
    names: list[str]
    hashes: Hash
    mirrored: Hash


def overlapping(
    train: Dataset,
    test: Dataset,
    *,
    distance: int = DISTANCE,
    progress: Progress | None = None,
) -> list[int]:
    """The indices of the pictures of ``train`` that also occur in ``test``.

    Their hashes, as they are or mirrored, differ in at most ``distance`` of 64 bits, or in at most
    `NAMED_DISTANCE` for equal names. Unreadable pictures are skipped. progress: called with the
    number of pictures done and their total.
    """
    known = fingerprints(test)
    ours = fingerprints(train, progress)
    same = np.zeros(len(ours.indices), bool)
    for others in (known.hashes, known.mirrored):
        same |= _nearest(ours.hashes, others) <= distance
    named: dict[str, list[int]] = {}
    for place, name in enumerate(known.names):
        named.setdefault(name, []).append(place)
    for place, name in enumerate(ours.names):
        for others in (known.hashes, known.mirrored):
            theirs = others[named.get(name, [])]
            same[place] |= bool(_nearest(ours.hashes[place, None], theirs)[0] <= NAMED_DISTANCE)
    return [int(index) for index in ours.indices[same]]


def fingerprints(dataset: Dataset, progress: Progress | None = None) -> Fingerprints:
    """The names and hashes of all pictures of a data set."""
    samples = Tolerant(dataset)

    def one(index: int) -> tuple[int, str, Hash, Hash] | None:
        sample = samples.get(index)
        if sample is None:
            return None
        grey = np.asarray(Image.fromarray(sample.image).convert("L"))
        hashes = perceptual_hash(grey), perceptual_hash(grey[:, ::-1])
        return index, plain_name(sample.key), *hashes

    readable = []
    with ThreadPoolExecutor(4) as pool:
        for done, fingerprint in enumerate(pool.map(one, range(len(dataset))), 1):
            if fingerprint is not None:
                readable.append(fingerprint)
            if progress:
                progress(done, len(dataset))
    return Fingerprints(
        np.array([index for index, *_ in readable], np.int64),
        [name for _, name, *_ in readable],
        np.array([own for _, _, own, _ in readable], bool).reshape(-1, LOW * LOW),
        np.array([mirrored for *_, mirrored in readable], bool).reshape(-1, LOW * LOW),
    )


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


def _nearest(ours: Hash, others: Hash) -> NDArray[np.int64]:
    """For each of our N hashes, the number of bits by which the nearest other one differs."""
    if not len(others):
        return np.full(len(ours), LOW * LOW + 1)
    a, b = ours.astype(np.float32), others.astype(np.float32)
    # Differing bits = ones of both minus twice the common ones; in parts, to bound memory.
    parts = [
        (part.sum(1)[:, None] + b.sum(1)[None] - 2 * part @ b.T).min(1)
        for part in np.array_split(a, max(1, len(a) // 4096 + 1))
        if len(part)
    ]
    nearest: NDArray[np.int64] = np.concatenate(parts or [np.empty(0)]).round().astype(np.int64)
    return nearest
