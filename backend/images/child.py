"""Files that may keep a decoder busy: recognised by their blocks, opened in a process of their own.

Pillow reads the blocks around the pixels in Python. A file of a few MB with a million of them, or
with fill bytes between them, keeps it busy for minutes, before the size of the picture is known.
Here the walk over the blocks ends at a bound. What is not ordinary is not refused, but opened in a
process that can be ended.

``python -m backend.images.child`` reads one picture's file from standard input. Its pixels are
written to the file descriptor that is the first argument, after a line with width and height; or
only the memory that decoding takes, if that is more than was given. The process has limits of CPU
time and memory; what goes beyond them ends it and nothing else. Clicks go first: it is
nice, and there are only a few of them at a time.
"""

import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import threading
from typing import IO

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

    JPEG, PNG, GIF, WebP, and BMP without compression (Pillow decodes a compressed one in Python).
    """
    try:
        if content.startswith(b"\xff\xd8"):
            return _jpeg(content)
        if content.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(content)
        if content.startswith((b"GIF87a", b"GIF89a")):
            return _gif(content)
        if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
            return True
        if content.startswith(b"BM"):
            header, compression = struct.unpack_from("<I12xI", content, 14)
            return header == 12 or compression in (0, 3)  # plain, or plain with masks of bits
    except (struct.error, IndexError):
        # The file ends within its blocks; what is left of it is within the bounds.
        return True
    return False


def _jpeg(content: bytes) -> bool:
    """Segments up to the first scan, after which Pillow reads none."""
    at, exif = 2, 0
    for _ in range(_MAX_BLOCKS):
        if content[at] != 0xFF or at > _MAX_METADATA:
            return False
        marker = content[at + 1]
        if marker == 0xDA:
            return True
        if marker in (0x00, 0xFF):  # fill bytes
            return False
        if marker == 0xE1 and content.startswith(b"Exif\0", at + 4):
            exif += 1
        if exif > 1:
            return False
        at += 2 + int(struct.unpack_from(">H", content, at + 2)[0])
    return False


def _png(content: bytes) -> bool:
    """Chunks of the whole file."""
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


def _gif(content: bytes) -> bool:
    """Blocks up to the first frame, after which Pillow reads none."""
    at = 13
    if content[10] & 0x80:
        at += 3 << ((content[10] & 7) + 1)
    blocks = 0
    while blocks < _MAX_BLOCKS:
        kind = content[at]
        if kind == 0x2C:
            return True
        if kind != 0x21:
            return False
        at += 2
        while (length := content[at]) and blocks < _MAX_BLOCKS:
            at += 1 + length
            blocks += 1
        at += 1
        blocks += 1
    return False


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
    if not _waiting.acquire(blocking=False):
        raise PictureAwayError(_BUSY)
    try:
        return _decode_apart(content, max_pixels, max_bytes)
    finally:
        _waiting.release()


def _decode_apart(content: bytes, max_pixels: int, max_bytes: int) -> NDArray[np.uint8] | int:
    with tempfile.TemporaryFile() as picture, tempfile.TemporaryFile() as result:
        picture.write(content)
        picture.seek(0)
        number = result.fileno()
        if not _processes.acquire(timeout=_TURN_S):
            raise PictureAwayError(_BUSY)
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
        finally:
            _processes.release()
        if done.returncode != 0:
            raise PictureFormatError(_reason(done.stdout))
        result.seek(0)
        return _read(result)


def _read(pixels: IO[bytes]) -> NDArray[np.uint8] | int:
    first = json.loads(pixels.readline())
    if isinstance(first, int):
        return first
    width, height = first
    array: NDArray[np.uint8] = np.empty((height, width, 3), np.uint8)
    view = array.data.cast("B")
    filled = 0
    while filled < len(view):
        count = pixels.readinto(view[filled:])  # type: ignore[attr-defined]
        if not count:
            raise PictureFormatError(_TOO_LONG)
        filled += count
    return array


def _reason(stdout: bytes) -> str:
    """The child's own sentence; none if a limit ended it."""
    try:
        return str(json.loads(stdout)["error"])
    except (ValueError, KeyError, TypeError):
        return _TOO_LONG


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
        with open(number, "wb") as result:
            cost, _ = survey(content, max_pixels)
            if cost > max_bytes:
                result.write(b"%d\n" % cost)
                return 0
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 1))
            array = decode_here(content, max_pixels)
            height, width = array.shape[:2]
            result.write(json.dumps([width, height]).encode() + b"\n")
            result.write(array.data.cast("B"))
    except PictureError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    except MemoryError:
        return 1
    return 0


if __name__ == "__main__":
    os.nice(_NICE)
    sys.exit(main(*map(int, sys.argv[1:])))
