"""Decodes one picture in a process of its own: ``python -m backend.images.child``.

The picture's file is read from standard input. Its pixels are written to the file descriptor that
is the first argument, after a line with width and height. The process has limits of CPU time and
memory; what goes beyond them ends it and nothing else.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from typing import IO

import numpy as np
from numpy.typing import NDArray

from backend.errors import PictureError, PictureFormatError

# For pictures of the largest size that is allowed: a JPEG of 100 megapixels takes some 2 s.
CPU_S = 20
# On a machine that is busy with other things, the same takes longer.
_WALL_S = 60.0
# Python, NumPy and Pillow themselves; most of it is address space that is never used.
_BASE_BYTES = 700 << 20

_TOO_LONG = (
    f"The picture could not be read: decoding it takes more than {CPU_S} s or too much memory. Its "
    "file is damaged, or was made to do harm. Save it again in another program."
)


def decode_apart(content: bytes, max_pixels: int, max_bytes: int) -> NDArray[np.uint8]:
    """As ``decode.decode_here``, in a process that is ended when it takes too long or too much.

    max_bytes: memory for the decoding itself. Raises PictureFormatError.
    """
    with tempfile.TemporaryFile() as picture, tempfile.TemporaryFile() as pixels:
        picture.write(content)
        picture.seek(0)
        number = pixels.fileno()
        try:
            done = subprocess.run(
                [sys.executable, "-m", __name__, str(number), str(max_pixels), str(max_bytes)],
                stdin=picture,
                capture_output=True,
                pass_fds=(number,),
                env=_environment(),
                timeout=_WALL_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PictureFormatError(_TOO_LONG) from None
        if done.returncode != 0:
            raise PictureFormatError(_reason(done.stdout))
        pixels.seek(0)
        return _read(pixels)


def _read(pixels: IO[bytes]) -> NDArray[np.uint8]:
    width, height = json.loads(pixels.readline())
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
    """Decode standard input; the exit status is 0, or 1 with a sentence as JSON."""
    from backend.images.decode import decode_here

    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory = _BASE_BYTES + max_bytes
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    try:
        array = decode_here(sys.stdin.buffer.read(), max_pixels)
    except PictureError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    except MemoryError:
        return 1
    height, width = array.shape[:2]
    with open(number, "wb") as pixels:
        pixels.write(json.dumps([width, height]).encode() + b"\n")
        pixels.write(array.data.cast("B"))
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
