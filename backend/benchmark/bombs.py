"""Pictures of at most some MB that once took a decoder minutes, or the machine its memory."""

import io
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from backend.settings import MIB


def make_bombs(folder: Path) -> None:
    """Write them into a new folder, as ``bomb-…``."""
    folder.mkdir(parents=True)
    files: Mapping[str, Callable[[], bytes]] = {
        "scans.jpg": _many_scans,
        "large.png": lambda: _one_colour(10_000),
        "float.tif": lambda: _file(Image.new("F", (5_000, 5_000), 0.5), "TIFF"),
        "chunks.png": lambda: _many_chunks(1_000_000),
        "fill.jpg": lambda: _file(Image.new("RGB", (8, 8)), "JPEG").replace(
            b"\xff\xd8", b"\xff\xd8" + b"\xff" * 4 * MIB, 1
        ),
    }
    for name, make in files.items():
        (folder / f"bomb-{name}").write_bytes(make())


def _file(image: Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def _many_scans() -> bytes:
    """A progressive JPEG of nine megapixels whose last scan comes 4,000 times."""
    content = _file(Image.new("RGB", (3_000, 3_000), "red"), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * 4_000 + content[-2:]


def _chunk(kind: bytes, body: bytes = b"") -> bytes:
    checked = kind + body
    return len(body).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")


def _png(side: int, chunks: bytes) -> bytes:
    compress = zlib.compressobj(9)
    row = bytes(1 + 4 * side)
    data = b"".join(compress.compress(row) for _ in range(side)) + compress.flush()
    header = side.to_bytes(4, "big") * 2 + bytes([8, 6, 0, 0, 0])
    ends = _chunk(b"IDAT", data) + _chunk(b"IEND")
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + chunks + ends


def _one_colour(side: int) -> bytes:
    return _png(side, b"")


def _many_chunks(count: int) -> bytes:
    return _png(8, _chunk(b"teSt") * count)
