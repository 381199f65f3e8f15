"""WebDataset shards: tar files whose neighbouring members with one stem make a sample.

A sample is ``<key>.webp`` (or .jpg, .png), ``<key>.inst.png`` (object id per pixel, 0 background,
255 void) and ``<key>.json`` (``source``, ``objects: [{id, category, semantic}]``). The compressed
bytes stay in memory (the whole pack is smaller than one decoded thousandth of COCO); pictures are
decoded when asked for, which costs a few milliseconds.
"""

from __future__ import annotations

import io
import json
import logging
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from training.datasets.sample import VOID, Sample, SampleObject
from training.errors import DataError

log = logging.getLogger(__name__)

PICTURE_SUFFIXES = ("webp", "jpg", "jpeg", "png")
PACK_VOID = 255


@dataclass(frozen=True)
class _Record:
    key: str
    source: str
    objects: tuple[SampleObject, ...]
    picture: bytes
    instances: bytes


class PackDataset:
    """All samples of some shards. Broken members are skipped, counted in `skipped` and logged."""

    def __init__(self, shards: Sequence[Path | str]) -> None:
        if not shards:
            raise DataError("No shard was named: give the .tar files of the pack.")
        self.skipped = 0
        self._records: list[_Record] = []
        for shard in shards:
            self._records.extend(self._read_shard(Path(shard)))
        if not self._records:
            raise DataError(f"No whole sample in {', '.join(str(s) for s in shards)}.")

    @property
    def sources(self) -> list[str]:
        return [record.source for record in self._records]

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Sample:
        record = self._records[index]
        try:
            image = np.asarray(Image.open(io.BytesIO(record.picture)).convert("RGB"))
            raw = np.asarray(Image.open(io.BytesIO(record.instances)))
        except (UnidentifiedImageError, OSError) as error:
            raise DataError(f"Sample {record.key} cannot be decoded: {error}") from error
        if raw.shape != image.shape[:2]:
            raise DataError(
                f"Sample {record.key}: the masks measure {raw.shape[1]}x{raw.shape[0]}, "
                f"the picture {image.shape[1]}x{image.shape[0]}."
            )
        instances = raw.astype(np.int16)
        instances[raw == PACK_VOID] = VOID
        return Sample(record.key, record.source, image, instances, record.objects)

    def size(self, index: int) -> tuple[int, int]:
        with Image.open(io.BytesIO(self._records[index].instances)) as picture:
            return picture.size

    def objects(self, index: int) -> tuple[SampleObject, ...]:
        return self._records[index].objects

    def _read_shard(self, path: Path) -> Iterator[_Record]:
        if not path.is_file():
            raise DataError(f"The shard {path} is missing.")
        members: dict[str, bytes] = {}
        current = ""
        try:
            with tarfile.open(path) as archive:
                for member in archive:
                    if not member.isfile():
                        continue
                    key, _, suffix = member.name.rpartition("/")[2].partition(".")
                    if key != current and members:
                        yield from self._record(current, members)
                        members = {}
                    current = key
                    stream = archive.extractfile(member)
                    members[suffix] = stream.read() if stream else b""
        except tarfile.TarError as error:
            raise DataError(f"{path} is not a whole tar file: {error}") from error
        if members:
            yield from self._record(current, members)

    def _record(self, key: str, members: dict[str, bytes]) -> Iterator[_Record]:
        picture = next((members[s] for s in PICTURE_SUFFIXES if s in members), None)
        try:
            if picture is None or "inst.png" not in members:
                raise ValueError("picture or masks missing")
            about = json.loads(members["json"])
            objects = tuple(
                SampleObject(
                    int(each["id"]),
                    each["category"],
                    bool(each.get("semantic", False)),
                    tuple(each.get("phrases", ())),
                )
                for each in about["objects"]
            )
            source = str(about["source"])
        except (KeyError, TypeError, ValueError) as error:
            self.skipped += 1
            log.warning("Sample %s is skipped: %s", key, error)
            return
        yield _Record(key, source, objects, picture, members["inst.png"])
