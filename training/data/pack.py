"""WebDataset shards: tar files in which adjacent members with the same stem make a sample.

A sample is ``<key>.webp`` (or .jpg, .png), ``<key>.inst.png`` (object id of each pixel, 0
background, 255 void) and ``<key>.json``: ``source``, ``objects: [{id, category, semantic, phrases,
clicks, box}]``, ``expressions: [{text, ids}]`` (``semantic``, ``phrases``, ``clicks``, ``box`` and
``expressions`` are optional; a click is x, y, positive, a box x1, y1, x2, y2, in pixels). The
compressed bytes stay in memory; pictures are decoded on request, which takes a few milliseconds.
"""

from __future__ import annotations

import io
import itertools
import json
import logging
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel

from training.data.reading import decode_labels, decode_picture, picture_size, same_size
from training.data.sample import VOID, Expression, Record, RecordDataset, Sample, SampleObject
from training.data.wrappers import shrunk
from training.errors import DataError

log = logging.getLogger(__name__)

PICTURE_SUFFIXES = ("webp", "jpg", "jpeg", "png")
PACK_VOID = 255
# WebP's own limit; larger pictures are written as PNG.
WEBP_SIDE = 16383
# WebP qualities that are tried when a pack is made smaller, and every how many samples they are
# tried on.
QUALITIES = (85, 75, 65, 55, 45, 35)
PROBED = 20


class _About(BaseModel):
    """The JSON of a sample."""

    source: str
    objects: tuple[SampleObject, ...]
    expressions: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record(Record):
    """The size is read from the PNG's header on request, since opening must be quick."""

    source: str
    picture: bytes
    instances: bytes


class PackDataset(RecordDataset[_Record]):
    """All samples of some shards. Broken samples are skipped, counted in `skipped` and logged."""

    def __init__(self, shards: Sequence[Path | str]) -> None:
        super().__init__("", [])
        for shard in shards:
            self._records.extend(self._read_shard(Path(shard)))
        if not self._records:
            raise DataError(f"No whole sample in {', '.join(str(s) for s in shards)}.")

    @property
    def sources(self) -> list[str]:
        return [record.source for record in self._records]

    def __getitem__(self, index: int) -> Sample:
        record = self._records[index]
        name = f"sample {record.key}"
        image = decode_picture(record.picture, name)
        raw = decode_labels(record.instances, name)
        same_size(raw.shape, image.shape, name)
        instances = raw.astype(np.int16)
        instances[raw == PACK_VOID] = VOID
        return Sample(
            record.key, record.source, image, instances, record.objects, record.expressions
        )

    def size(self, index: int) -> tuple[int, int]:
        record = self._records[index]
        return picture_size(record.instances, f"sample {record.key}")

    def _read_shard(self, path: Path) -> Iterator[_Record]:
        if not path.is_file():
            raise DataError(f"The shard {path} is missing.")
        try:
            with tarfile.open(path) as archive:
                files = (member for member in archive if member.isfile())
                for key, group in itertools.groupby(files, lambda member: _split(member)[0]):
                    streams = {_split(member)[1]: archive.extractfile(member) for member in group}
                    yield from self._record(key, {s: f.read() for s, f in streams.items() if f})
                _must_have_ended(archive)
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path} is not a whole tar file: {error}") from error

    def _record(self, key: str, members: dict[str, bytes]) -> Iterator[_Record]:
        picture = next((members[s] for s in PICTURE_SUFFIXES if s in members), None)
        try:
            if picture is None or "inst.png" not in members:
                raise ValueError("picture or masks missing")
            about = _About.model_validate_json(members["json"])
        except (KeyError, ValueError) as error:
            self.skipped += 1
            log.warning("Sample %s is skipped: %s", key, error)
            return
        yield _Record(
            key,
            (0, 0),
            about.objects,
            about.expressions,
            source=about.source,
            picture=picture,
            instances=members["inst.png"],
        )


def _must_have_ended(archive: tarfile.TarFile) -> None:
    """A file that was cut off, or that zeros interrupt, reads as a shorter one."""
    stream: Any = archive.fileobj  # what it decompresses, if anything
    stream.seek(archive.offset)
    rest = stream.read()
    if not rest or rest.strip(b"\0"):
        raise tarfile.TarError("it ends too early; copy or download it again")


def _split(member: tarfile.TarInfo) -> tuple[str, str]:
    """The key and the suffix of a file's name."""
    key, _, suffix = member.name.rpartition("/")[2].partition(".")
    return key, suffix


def reencode(
    shards: Sequence[Path], out: Path, *, longest: int, most_bytes: int
) -> tuple[int, int]:
    """Write the shards again, smaller, into a folder; returns the WebP quality and bytes written.

    longest: of each picture's sides, in pixels. most_bytes: of all shards together; the highest of
    QUALITIES that fits is used, judged by every PROBED-th sample. Raises DataError if none fits or
    if a target exists.
    """
    targets = [out / shard.name for shard in shards]
    for target in targets:
        if target.exists():
            raise DataError(f"{target} exists; name another folder.")
    packs = [PackDataset([shard]) for shard in shards]
    probed = [shrunk(pack[i], longest) for pack in packs for i in range(0, len(pack), PROBED)]
    count = sum(len(pack) for pack in packs)
    for quality in QUALITIES:
        size = sum(_size(members_of(sample, quality)) for sample in probed)
        if size * count / len(probed) <= 0.97 * most_bytes:
            break
    else:
        raise DataError(
            f"{count} pictures of {longest} px do not fit into {most_bytes} bytes: lower the "
            "longest side, or name fewer shards."
        )
    out.mkdir(parents=True, exist_ok=True)
    for pack, target in zip(packs, targets, strict=True):
        with tarfile.open(target, "w") as archive:
            for index in range(len(pack)):
                sample = shrunk(pack[index], longest)
                for suffix, data in members_of(sample, quality).items():
                    member = tarfile.TarInfo(f"{sample.key}.{suffix}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return quality, sum(target.stat().st_size for target in targets)


def members_of(sample: Sample, quality: int, **more: object) -> dict[str, bytes]:
    """A sample's files by suffix; its JSON with ``more`` entries."""
    instances = np.where(sample.instances == VOID, PACK_VOID, sample.instances).astype(np.uint8)
    about = _About(source=sample.source, objects=sample.objects, expressions=sample.expressions)
    picture, masks = io.BytesIO(), io.BytesIO()
    suffix = "webp" if max(instances.shape) <= WEBP_SIDE else "png"
    Image.fromarray(sample.image).save(picture, suffix, quality=quality, method=4)
    Image.fromarray(instances).save(masks, "PNG", optimize=True)
    return {
        suffix: picture.getvalue(),
        "inst.png": masks.getvalue(),
        "json": json.dumps({**about.model_dump(), **more}, separators=(",", ":")).encode(),
    }


def _size(members: Mapping[str, bytes]) -> int:
    """Bytes of these files in a tar archive: a header each, and blocks of 512."""
    return sum(512 + -(-len(data) // 512) * 512 for data in members.values())
