"""Files that may keep a decoder busy: recognised by their blocks, opened in a process of their own.

Pillow reads the blocks around the pixels in Python. A file of a few MB with a million of them, or
with fill bytes between them, keeps it busy for minutes, before the size of the picture is known.
Here the walk over the blocks ends at a bound. What is not ordinary is not refused, but opened in a
process that can be ended.

``python -m backend.images.child`` reads one picture's file from standard input. Its pixels are
written to the file descriptor that is the first argument; if decoding takes more memory than was
given, that is printed instead. The process has limits of CPU time and memory; what goes beyond them
ends it and nothing else. Clicks go first: it is nice, and there are only a few of them at a time.
"""

import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import PictureAwayError, PictureError, PictureFormatError

# Cameras and programs write some dozens of blocks; a panorama or depth map in Extended XMP some
# hundred. The bounds are a choice: Pillow takes 4 to 35 us for each block.
_MAX_BLOCKS = 1_000
# Libraries write the pixels of a PNG in blocks of 8 kB or more.
_PNG_BLOCK = 4_096
_MAX_METADATA = 16 << 20
# Tags of EXIF may all refer to the same bytes, each as a copy of its own. One block of a JPEG holds
# no more than this.
_MAX_EXIF = 65_536


def is_ordinary(content: bytes) -> bool:
    """Whether Pillow opens the file within milliseconds. False for formats that are not known here.

    JPEG, PNG, WebP, and BMP without compression (Pillow decodes a compressed one in Python).
    """
    try:
        if content.startswith(b"\xff\xd8"):
            return first_scan(content) is not None
        if content.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(content)
        if content.startswith(b"BM"):
            header, compression = struct.unpack_from("<I12xI", content, 14)
            return header == 12 or compression in (0, 3)  # plain, or plain with masks of bits
    except struct.error:
        # The file ends within its blocks; what is left of it is within the bounds.
        return True
    return content.startswith(b"RIFF") and content[8:12] == b"WEBP"


def first_scan(content: bytes) -> int | None:
    """Where the first scan of a JPEG begins, after which Pillow reads no blocks: the file's end if
    there is none, None where Pillow would take long to get there."""
    at, exif = 2, 0
    for _ in range(_MAX_BLOCKS):
        block = content[at : at + 4]
        if len(block) < 4:
            return len(content)
        mark, marker, length = struct.unpack(">BBH", block)
        if marker == 0xDA and mark == 0xFF:
            return at
        exif += marker == 0xE1 and content.startswith(b"Exif\0", at + 4)
        # 0x00 and 0xFF are fill bytes.
        if mark != 0xFF or marker in (0x00, 0xFF) or exif > 1 or at > _MAX_METADATA:
            return None
        at += 2 + length
    return None


def _png(content: bytes) -> bool:
    at, others, pixels, metadata = 8, 0, 0, 0
    while at < len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"IEND":
            return True
        if kind == b"IDAT":
            pixels += 1
        else:
            others += 1
            metadata += size
        if kind == b"eXIf" and size > _MAX_EXIF:
            return False
        if others > _MAX_BLOCKS or pixels > _MAX_BLOCKS + len(content) // _PNG_BLOCK:
            return False
        if metadata > _MAX_METADATA:
            return False
        at += 12 + size
    return True


# For pictures of the largest size that is allowed: a JPEG of 100 megapixels takes some 2 s.
CPU_S = 20
# To read the header, of which Python's own start is most.
_SURVEY_CPU_S = 4
# On a machine that is busy with other things, the same takes longer.
_WALL_S = 60.0
# Python, NumPy and Pillow themselves; most of it is address space that is never used.
_BASE_BYTES = 700 << 20

# Each keeps one core busy.
_AT_ONCE = max(2, (os.cpu_count() or 1) // 2)
_processes = threading.BoundedSemaphore(_AT_ONCE)
# Threads that wait for their turn; the others are for ordinary pictures.
_waiting = threading.BoundedSemaphore(_AT_ONCE + 8)
_TURN_S = 30.0
_NICE = 10

_BUSY = "Too many unusual pictures are read at the same time. Try again in a minute."
_TOO_LONG = (
    f"The picture could not be read: decoding it takes more than {CPU_S} s or too much memory. Its "
    "file is damaged, or was made to do harm. Save it again in another program."
)


def decode_apart(content: bytes, max_pixels: int, max_bytes: int) -> NDArray[np.uint8] | int:
    """As ``decode.decode_here``, in a process that is ended when it takes too long or too much.

    max_bytes: memory for the decoding itself. If ``decode.survey`` finds that it takes more, that
    number is returned instead. Raises PictureFormatError, or PictureAwayError if other pictures
    take all processes.
    """
    with _turn(), tempfile.TemporaryFile() as picture, tempfile.TemporaryFile() as result:
        picture.write(content)
        picture.seek(0)
        number = result.fileno()
        try:
            done = subprocess.run(
                [sys.executable, "-m", __name__, str(number), str(max_pixels), str(max_bytes)],
                stdin=picture,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(number,),
                env=_environment(),
                timeout=_WALL_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PictureFormatError(_TOO_LONG) from None
        # Nothing if a limit ended it.
        answer: dict[str, Any] = json.loads(done.stdout or b"{}")
        if done.returncode != 0:
            raise PictureFormatError(answer.get("error", _TOO_LONG))
        if "cost" in answer:
            return int(answer["cost"])
        result.seek(0)
        array: NDArray[np.uint8] = np.load(result)
        return array


@contextmanager
def _turn() -> Iterator[None]:
    if not _waiting.acquire(blocking=False):
        raise PictureAwayError(_BUSY)
    try:
        if not _processes.acquire(timeout=_TURN_S):
            raise PictureAwayError(_BUSY)
        try:
            yield
        finally:
            _processes.release()
    finally:
        _waiting.release()


def _environment() -> dict[str, str]:
    """Only what Python needs: no settings, and no secrets in them."""
    kept = {
        name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ
    }
    # NumPy would otherwise set memory aside for a thread on every core.
    return kept | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}


def main(number: int, max_pixels: int, max_bytes: int) -> int:
    """Read standard input; the exit status is 0, or 1 with a sentence as JSON."""
    from backend.images.decode import decode_here, survey

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (_SURVEY_CPU_S, CPU_S + 1))
    memory = _BASE_BYTES + max_bytes
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    try:
        content = sys.stdin.buffer.read()
        cost, _ = survey(content, max_pixels)
        if cost > max_bytes:
            print(json.dumps({"cost": cost}))
            return 0
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 1))
        with open(number, "wb") as result:
            np.save(result, decode_here(content, max_pixels))
    except PictureError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    except MemoryError:
        return 1
    return 0


if __name__ == "__main__":
    os.nice(_NICE)
    sys.exit(main(*map(int, sys.argv[1:])))
