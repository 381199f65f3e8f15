"""From a file's bytes to an upright RGB picture, as the annotator's browser shows it.

Masks are drawn over what the page shows, so this follows Chromium: pictures are turned as it turns
them (``model.orientation``); transparent pixels show the page's white; of an animation the first
frame is labeled. A JPEG or PNG that ends early is shown as far as it goes, the rest grey; side
blocks that are broken or huge are skipped.

Anyone who imports a task chooses its picture, so a file may be made to do harm. Ordinary pictures
are decoded in the thread that needs them. Large ones, JPEGs with many scans, and files or formats
that can keep Pillow busy for long are opened in a process that can be ended
(``backend.images.child``). All threads share one budget of memory.

A picture of 0.4 MB can decode to 400 MB. One is within the limit of pixels, sixteen at the same
time are not within the memory. So each thread takes the bytes that it will need before it decodes,
and waits where they are not free. What the picture itself takes is given back when the array is no
longer used, wherever that is.
"""

import io
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.PngImagePlugin import Blend, PngImageFile

from backend.errors import PictureAwayError, PictureFormatError
from backend.images.child import decode_apart, first_scan, is_ordinary
from backend.label_studio.rle import MAX_SIDE
from model.colours import BAND_PIXELS, as_rgb
from model.orientation import transpose_of

_BUSY = "Too many large pictures are read at the same time. Try again in a minute."
# Of some forty threads that answer requests.
_MOST_WAITING = 16


class MemoryBudget:
    """A number of bytes. Thread-safe.

    An eighth of it is only for ordinary pictures, so that these never wait for large ones; and of
    large ones only some may wait, so that threads are left for clicks.
    """

    def __init__(self, total: int, wait_s: float = 30.0) -> None:
        self.total = total
        self._free = total
        self._wait_s = wait_s
        self._waiting = 0  # for large pictures
        # Reentrant: an array may be collected while this thread holds the lock.
        self._changed = threading.Condition(threading.RLock())

    @property
    def free(self) -> int:
        return self._free

    @contextmanager
    def take(self, size: int) -> Iterator[None]:
        """Hold ``size`` bytes within the block; more than all count as all.

        Raises PictureAwayError if they do not become free in time, or too many wait.
        """
        large = size > self.total // 16
        reserve = self.total // 8 if large else 0
        size = min(size, self.total - reserve)
        with self._changed:
            if large and self._waiting >= _MOST_WAITING:
                raise PictureAwayError(_BUSY)
            self._waiting += large
            try:
                free = self._changed.wait_for(lambda: self._free >= size + reserve, self._wait_s)
            finally:
                self._waiting -= large
            if not free:
                raise PictureAwayError(_BUSY)
            self._free -= size
        try:
            yield
        finally:
            self._give(size)

    def keep(self, array: NDArray[np.uint8]) -> None:
        """Hold the bytes of an array for as long as it is used; never waits."""
        with self._changed:
            self._free -= array.nbytes
        weakref.finalize(array, self._give, array.nbytes).atexit = False

    def _give(self, size: int) -> None:
        with self._changed:
            self._free += size
            self._changed.notify_all()


# Formats that annotators label. Not PostScript or PDF, which run programs.
_FORMATS = [
    "JPEG",
    "MPO",
    "PNG",
    "GIF",
    "WEBP",
    "TIFF",
    "BMP",
    "DIB",
    "AVIF",
    "ICO",
    "JPEG2000",
    "PPM",
]
_ORDINARY = frozenset({"JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB"})
# For what a file that ends early lacks, by mode.
_GREY: dict[str, int | tuple[int, ...]] = {
    "L": 128,
    "RGB": (128, 128, 128),
    "RGBA": (128, 128, 128, 255),
}
_LEAST_APP = 11  # bytes that Pillow reads of the blocks of JFIF and Adobe
_LEAST_SPARE = 1_000
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_BLOCKS = frozenset(b"IHDR PLTE tRNS IDAT eXIf acTL fcTL fdAT IEND".split())
# For the whole process: what is missing at a file's end, or too large beside the picture, is no
# error.
ImageFile.LOAD_TRUNCATED_IMAGES = True
Image.init()
_FORMATS = [name for name in _FORMATS if name in Image.OPEN]

# The progressive JPEGs of cameras and programs have about ten scans. Each scan passes over all
# pixels once more, so that a file of 0.9 MB can take minutes.
_MAX_SCANS = 100
_MAX_SCANNED_PIXELS = 3_000_000_000
# Tables, and the header of a scan.
_BETWEEN_SCANS = (b"\xff\xc4", b"\xff\xdb", b"\xff\xdd", b"\xff\xda")
# Above these, decoding takes more than about a second: in a process of its own, which takes a
# quarter of a second more.
_FEW_SCANS = 20
_ORDINARY_PIXELS = 36_000_000
# A decoder needs some memory however small the picture is.
_LEAST_APART = 128 << 20
# Modes of which Pillow keeps a pixel in one byte; others take up to four.
_ONE_BYTE = frozenset({"1", "L", "P"})


@dataclass(frozen=True)
class Decoder:
    """Decodes pictures of at most ``max_pixels``, all threads together within ``budget``."""

    max_pixels: int
    budget: MemoryBudget = field(default_factory=lambda: MemoryBudget(1 << 30))

    def __call__(self, content: bytes) -> NDArray[np.uint8]:
        """The picture in ``content``, H,W,3 uint8 RGB, read-only.

        Raises PictureFormatError, or PictureAwayError if the budget stays taken by others.
        """
        # How much a file takes that is opened apart is known only there.
        cost, quick = _LEAST_APART + len(content), False
        if is_ordinary(content):
            cost, quick = survey(content, self.max_pixels)
        array = self._decoded(content, cost, quick)
        if isinstance(array, int):
            array = self._decoded(content, array, quick)
        assert not isinstance(array, int), "the second time, it may take what it needs"
        self.budget.keep(array)
        # Shared by all threads that need this picture at the same time.
        array.flags.writeable = False
        return array

    def _decoded(self, content: bytes, cost: int, quick: bool) -> NDArray[np.uint8] | int:
        """The picture, or the bytes that decoding it takes if these are more than ``cost``."""
        with self.budget.take(cost):
            if quick:
                return decode_here(content, self.max_pixels)
            return decode_apart(content, self.max_pixels, max(cost, _LEAST_APART))


def decode_here(content: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """The picture in ``content``, H,W,3 uint8 RGB, decoded in this thread without a limit of time.

    Raises PictureFormatError.
    """
    with _opened(_whole_blocks(content), max_pixels) as image:
        grey = _GREY.get(image.mode)
        if image.format in ("JPEG", "MPO", "PNG") and grey is not None:
            # The decoder writes into it, as far as the file goes.
            image.im = Image.new(image.mode, image.size, grey).im
        # Before the rest is read: browsers ignore EXIF behind the pixels of a PNG.
        transpose = transpose_of(image)
        image.load()
        if isinstance(image, PngImageFile) and image.default_image:
            # The still of an animation, for programs that show none, is no frame of it.
            image.seek(1)
            image.im, image.blend_op = Image.new(image.mode, image.size).im, Blend.OP_SOURCE
            image.load()
        upright = image if transpose is None else image.transpose(transpose)
        array = as_rgb(upright, image.format)
        if isinstance(image, GifImageFile) and image.dispose_extent:
            _clear_around(array, image.dispose_extent)
        return array


def _clear_around(array: NDArray[np.uint8], box: tuple[int, int, int, int]) -> None:
    """Make white what is outside of a box: left, top, right, bottom. A frame that is smaller than
    its GIF leaves the page's white around it."""
    left, top, right, bottom = box
    for outside in array[:top], array[bottom:], array[:, :left], array[:, right:]:
        outside[:] = 255


def _whole_blocks(content: bytes) -> bytes:
    """A JPEG that ends within a block behind its first scan, without what there is of that block:
    the decoder would take the end of the file for its rest, and show nothing of a progressive one.
    """
    first = first_scan(content) if content.startswith(b"\xff\xd8") else None
    if first is None or content.rfind(b"\xff\xd9", first) >= 0:
        return content
    last = max(content.rfind(marker, first + 2) for marker in _BETWEEN_SCANS)
    ends = last + 2 + int.from_bytes(content[last + 2 : last + 4].ljust(2, b"\xff"))
    return content[:last] if last >= 0 and ends > len(content) else content


def survey(content: bytes, max_pixels: int) -> tuple[int, bool]:
    """Bytes that decoding will take at most, and whether it is quick; reads the header only.

    Raises PictureFormatError.
    """
    with _opened(content, max_pixels) as image:
        pixels = image.width * image.height
        mode, file_format = image.mode, image.format
    scans = 1
    if file_format in ("JPEG", "MPO"):
        # Inside a scan's data, 0xFF is always followed by 0 or a restart marker.
        scans = content.count(b"\xff\xda", first_scan(content) or 0)
    if scans > _MAX_SCANS or scans * pixels > _MAX_SCANNED_PIXELS:
        raise PictureFormatError(
            f"The picture is a progressive JPEG with {scans} scans, which would take minutes to "
            "decode. Save it again in another program."
        )
    # Pillow's picture, a turned copy, ours, and some bands; a decoder's own buffers besides.
    cost = pixels * (2 * (1 if mode in _ONE_BYTE else 4) + 3) + 64 * BAND_PIXELS
    quick = file_format in _ORDINARY and pixels <= _ORDINARY_PIXELS and scans <= _FEW_SCANS
    return (cost if pixels > BAND_PIXELS else pixels * 64), quick


@contextmanager
def _opened(content: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """The picture, of which only the header was read: too many pixels take no memory."""
    # Pillow's own limit would refuse what an admin allowed. It only warns up to twice its limit,
    # so it stays on as a second check.
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, max_pixels)
    try:
        file = io.BytesIO(_without_side_blocks(content))
        with Image.open(file, formats=_FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise _too_large(max_pixels, image.size)
            if max(image.size) > MAX_SIDE:
                raise PictureFormatError(
                    f"The picture of {width}x{height} pixels has a side of more than "
                    f"{MAX_SIDE:,} pixels, which no browser shows."
                )
            yield image
    except (PictureFormatError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise _too_large(max_pixels) from None
    except Exception as error:
        # Decoders raise all kinds of errors on damaged files.
        raise _unreadable(content) from error


def _without_side_blocks(content: bytes) -> bytes:
    """A JPEG or PNG without the blocks that its pixels do not need: Pillow refuses a file for a
    broken colour profile or text, which browsers skip."""
    if content.startswith(b"\xff\xd8") and (first := first_scan(content)) is not None:
        return content[:2] + b"".join(_jpeg_blocks(content, first)) + content[first:]
    if content.startswith(b"RIFF"):
        return _with_spare_bytes(content)
    if not content.startswith(_PNG):
        return content
    kept, at = [_PNG], len(_PNG)
    while at < len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4])
        if content[at + 4 : at + 8] in _PNG_BLOCKS:
            kept.append(content[at:end])
        at = end
    return b"".join(kept)


def _with_spare_bytes(content: bytes) -> bytes:
    """A WebP with zeros behind its pixels' code: damage in the code may ask for more than there is,
    where browsers show what is above, and the decoder refuses the whole file."""
    at = 12
    while content[at : at + 4] not in (b"VP8 ", b""):
        at += 8 + int.from_bytes(content[at + 4 : at + 8], "little")
        at += at % 2
    size = int.from_bytes(content[at + 4 : at + 8], "little")
    end, spare = at + 8 + size, size + size % 2 + _LEAST_SPARE
    if not size or end > len(content):
        return content
    whole = (int.from_bytes(content[4:8], "little") + spare).to_bytes(4, "little")
    code = (size + spare).to_bytes(4, "little") + content[at + 8 : end] + bytes(spare)
    return content[:4] + whole + content[8 : at + 4] + code + content[end:]


def _jpeg_blocks(content: bytes, first: int) -> Iterator[bytes]:
    """What stands before the first scan, of side blocks only EXIF and those about colour spaces."""
    at = 2
    while at < first:
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4])
        marker = content[at + 1]
        whole = marker == 0xE1 or (marker in (0xE0, 0xEE) and end - at >= _LEAST_APP)
        if whole or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            yield content[at : min(end, first)]
        at = end


def _too_large(max_pixels: int, size: tuple[int, int] | None = None) -> PictureFormatError:
    dimensions = f" of {size[0]}x{size[1]} pixels" if size else ""
    return PictureFormatError(
        f"The picture{dimensions} is larger than the {max_pixels // 1_000_000} megapixels that are "
        "allowed. The admin can raise PHRASECLICK_PICTURE_MAX_PIXELS."
    )


def _unreadable(content: bytes) -> PictureFormatError:
    start = content[:512].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"{")):
        return PictureFormatError(
            "The picture could not be read: its address returned a web page or a message. "
            "Ask the admin to run phraseclick doctor."
        )
    return PictureFormatError(
        "The picture could not be read: its file is damaged, or its format is not supported "
        "(JPEG, PNG, WebP, AVIF, GIF, TIFF and BMP are)."
    )
