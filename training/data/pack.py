"""WebDataset shards: tar files whose neighbouring members with one stem make a sample.

A sample is ``<key>.webp`` (or .jpg, .png), ``<key>.inst.png`` (object id per pixel, 0 background,
255 void) and ``<key>.json``: ``source``, ``objects: [{id, category, semantic, phrases, clicks}]``,
``expressions: [{text, ids}]`` (``semantic``, ``phrases``, ``clicks`` and ``expressions`` may be
left out; a click is x, y, positive in pixels). The compressed bytes stay in memory (the whole pack
is smaller than one decoded thousandth of COCO); pictures are decoded when asked for, which costs a
few milliseconds.
"""

from __future__ import annotations

import json
import logging
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.reading import decode_labels, decode_picture, picture_size, same_size
from training.data.sample import VOID, Expression, Sample, SampleObject
from training.errors import DataError

log = logging.getLogger(__name__)

PICTURE_SUFFIXES = ("webp", "jpg", "jpeg", "png")
PACK_VOID = 255


@dataclass(frozen=True)
class _Record:
    key: str
    source: str
    objects: tuple[SampleObject, ...]
    expressions: tuple[Expression, ...]
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
        name = f"sample {record.key}"
        image = decode_picture(record.picture, name)
        raw = decode_labels(record.instances, name)
        same_size(raw, image, name)
        instances = raw.astype(np.int16)
        instances[raw == PACK_VOID] = VOID
        return Sample(
            record.key, record.source, image, instances, record.objects, record.expressions
        )

    def size(self, index: int) -> tuple[int, int]:
        record = self._records[index]
        return picture_size(record.instances, f"sample {record.key}")

    def objects(self, index: int) -> tuple[SampleObject, ...]:
        return self._records[index].objects

    def expressions(self, index: int) -> tuple[Expression, ...]:
        return self._records[index].expressions

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
                    tuple((float(x), float(y), bool(p)) for x, y, p in each.get("clicks", ())),
                )
                for each in about["objects"]
            )
            expressions = tuple(
                Expression(each["text"], tuple(int(number) for number in each["ids"]))
                for each in about.get("expressions", ())
            )
            source = str(about["source"])
        except (KeyError, TypeError, ValueError) as error:
            self.skipped += 1
            log.warning("Sample %s is skipped: %s", key, error)
            return
        yield _Record(key, source, objects, expressions, picture, members["inst.png"])
