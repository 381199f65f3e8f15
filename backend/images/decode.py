"""From a file's bytes to an upright RGB picture, as the annotator's browser shows it.

Masks are drawn over what the page shows, so this follows Chromium: EXIF orientation is applied in
JPEG and PNG and ignored in WebP and AVIF (observed in Chromium, with files by Pillow); transparent
pixels show the page's white; of an animation the first frame is labeled. A JPEG or PNG that ends
early is shown as far as it goes, the rest grey; side blocks that are broken or huge are skipped.

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
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from backend.errors import PictureAwayError, PictureFormatError
from backend.images.child import decode_apart, is_ordinary
from backend.label_studio.rle import MAX_SIDE

_BUSY = "Too many large pictures are read at the same time. Try again in a minute."


class MemoryBudget:
    """A number of bytes. Thread-safe."""

    def __init__(self, total: int, wait_s: float = 30.0) -> None:
        self.total = total
        self._free = total
        self._wait_s = wait_s
        # Reentrant: an array may be collected while this thread holds the lock.
        self._changed = threading.Condition(threading.RLock())

    @property
    def free(self) -> int:
        """Bytes that nobody holds."""
        return self._free

    @contextmanager
    def take(self, size: int) -> Iterator[None]:
        """Hold ``size`` bytes within the block; more than all count as all.

        Raises PictureAwayError if they do not become free in time.
        """
        size = min(size, self.total)
        ends = time.monotonic() + self._wait_s
        with self._changed:
            while self._free < size:
                left = ends - time.monotonic()
                if left <= 0:
                    raise PictureAwayError(_BUSY)
                self._changed.wait(min(left, 1.0))
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
_FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "TIFF", "BMP", "DIB", "AVIF", "JPEG2000", "PPM")
_IGNORE_ORIENTATION = frozenset({"WEBP", "AVIF"})
_ORIENTATION = 0x0112
_WHITE = (255, 255, 255, 255)
# For what a file that ends early lacks, by mode.
_GREY: dict[str, int | tuple[int, ...]] = {
    "L": 128,
    "RGB": (128, 128, 128),
    "RGBA": (128, 128, 128, 255),
}
# For the whole process: what is missing at a file's end, or too large beside the picture, is no
# error.
ImageFile.LOAD_TRUNCATED_IMAGES = True
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# The progressive JPEGs of cameras and programs have about ten scans. Each scan passes over all
# pixels once more, so that a file of 0.9 MB can take minutes.
_MAX_SCANS = 100
_MAX_SCANNED_PIXELS = 3_000_000_000
# Above these, decoding takes more than about a second: in a process of its own, which takes a
# quarter of a second more.
_FEW_SCANS = 20
_ORDINARY_PIXELS = 36_000_000
_ORDINARY = frozenset({"JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "DIB"})
# Rows are converted in bands of about this many pixels, so that a picture of another mode does not
# need its memory several times.
_BAND_PIXELS = 2_000_000
# A decoder needs some memory however small the picture is.
_LEAST_APART = 128 << 20
# Bytes of a pixel in Pillow, by mode; all others take one.
_DEEP = {"RGB": 4, "RGBA": 4, "RGBX": 4, "RGBa": 4, "CMYK": 4, "YCbCr": 4, "LAB": 4, "HSV": 4}
_DEEP |= {"I": 4, "F": 4, "LA": 4, "PA": 4, "La": 4, "I;16": 2, "I;16B": 2, "I;16L": 2}

_init_lock = threading.Lock()
_known: list[str] = []


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


def decode(content: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """As a ``Decoder`` with a budget of its own."""
    return Decoder(max_pixels)(content)


def decode_here(content: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """The picture in ``content``, H,W,3 uint8 RGB, decoded in this thread without a limit of time.

    Raises PictureFormatError.
    """
    try:
        with _open(io.BytesIO(content), max_pixels) as image:
            _load(image)
            return _upright(_rgb(image), _transpose_of(image))
    except (PictureFormatError, MemoryError):
        raise
    except Exception as error:
        # Decoders raise all kinds of errors on damaged files.
        raise _unreadable(content) from error


def survey(content: bytes, max_pixels: int) -> tuple[int, bool]:
    """Bytes that decoding will take at most, and whether it is quick; reads the header only.

    Raises PictureFormatError.
    """
    try:
        with _open(io.BytesIO(content), max_pixels) as image:
            pixels = image.width * image.height
            mode, file_format = image.mode, image.format
    except (PictureFormatError, MemoryError):
        raise
    except Exception as error:
        raise _unreadable(content) from error
    scans = _scans(content) if file_format in ("JPEG", "MPO") else 1
    if scans > _MAX_SCANS or scans * pixels > _MAX_SCANNED_PIXELS:
        raise PictureFormatError(
            f"The picture is a progressive JPEG with {scans} scans, which would take minutes to "
            "decode. Save it again in another program."
        )
    # Pillow's picture, ours, and a turned copy or some bands; a decoder's own buffers besides.
    cost = pixels * (_DEEP.get(mode, 1) + 6) + 64 * _BAND_PIXELS
    ordinary = file_format in _ORDINARY and pixels <= _ORDINARY_PIXELS and scans <= _FEW_SCANS
    return (cost if pixels > _BAND_PIXELS else pixels * 64), ordinary


def _scans(content: bytes) -> int:
    """Number of scans of a JPEG; those of a preview inside its metadata do not count."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xDA:
            # Inside a scan's data, 0xFF is always followed by 0 or a restart marker.
            return content.count(b"\xff\xda", at)
        if marker == 0xFF:
            at += 1
            continue
        at += 2 + struct.unpack_from(">H", content, at + 2)[0]
    return content.count(b"\xff\xda")


def _load(image: Image.Image) -> None:
    """Decode the pixels. Those that a JPEG or PNG lacks stay grey."""
    grey = _GREY.get(image.mode)
    if image.format in ("JPEG", "MPO", "PNG") and grey is not None:
        image.im = Image.new(image.mode, image.size, grey).im  # the decoder writes into it
    image.load()


def _open(file: IO[bytes], max_pixels: int) -> Image.Image:
    # Pillow's own limit would refuse what an admin allowed. It only warns up to twice its limit,
    # so it stays on as a second check.
    if (Image.MAX_IMAGE_PIXELS or 0) < max_pixels:
        Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        image = Image.open(file, formats=_formats())
    except Image.DecompressionBombError:
        raise _too_large(max_pixels) from None
    # Read from the header, before pixels take memory.
    if image.width * image.height > max_pixels:
        size = image.size
        image.close()
        raise _too_large(max_pixels, size)
    if max(image.size) > MAX_SIDE:
        width, height = image.size
        image.close()
        raise PictureFormatError(
            f"The picture of {width}x{height} pixels has a side of more than {MAX_SIDE:,} pixels, "
            "which no browser shows."
        )
    return image


def _formats() -> list[str]:
    with _init_lock:
        if not _known:
            Image.init()
            _known.extend(name for name in _FORMATS if name in Image.OPEN)
    return _known


def _transpose_of(image: Image.Image) -> Image.Transpose | None:
    """What turns ``image`` upright, by its EXIF orientation; XMP is ignored, as in browsers."""
    raw = image.info.get("exif")
    if not raw or image.format in _IGNORE_ORIENTATION:
        return None
    exif = Image.Exif()
    try:
        exif.load(raw)
        return _TRANSPOSES.get(exif.get(_ORIENTATION, 1))
    except Exception:
        # Damaged EXIF: a browser shows the picture unrotated.
        return None


def _upright(array: NDArray[np.uint8], method: Image.Transpose | None) -> NDArray[np.uint8]:
    if method is None:
        return array
    flipped = {
        Image.Transpose.FLIP_LEFT_RIGHT: lambda: array[:, ::-1],
        Image.Transpose.FLIP_TOP_BOTTOM: lambda: array[::-1],
        Image.Transpose.ROTATE_180: lambda: array[::-1, ::-1],
        Image.Transpose.ROTATE_90: lambda: array.transpose(1, 0, 2)[::-1],
        Image.Transpose.ROTATE_270: lambda: array.transpose(1, 0, 2)[:, ::-1],
        Image.Transpose.TRANSPOSE: lambda: array.transpose(1, 0, 2),
        Image.Transpose.TRANSVERSE: lambda: array.transpose(1, 0, 2)[::-1, ::-1],
    }
    return np.ascontiguousarray(flipped[method]())


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """``image`` in RGB: deep values scaled, transparent pixels white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return np.array(image)
    width, height = image.size
    array = np.empty((height, width, 3), np.uint8)
    deep = image.mode.startswith("I") or image.mode == "F"
    scale = _scale_of(image) if deep else None
    rows = max(1, _BAND_PIXELS // max(width, 1))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        band = image.crop((0, top, width, bottom))
        if scale is not None:
            array[top:bottom] = scale(np.asarray(band))[:, :, None]
            continue
        if image.has_transparency_data:
            # A crop keeps the palette and the transparent colour, which is in ``info``.
            band.info = dict(image.info)
            band = band.convert("RGBA")
            white = Image.new("RGBA", band.size, _WHITE)
            band = Image.alpha_composite(white, band)
        array[top:bottom] = np.asarray(band.convert("RGB"))
    return array


def _scale_of(image: Image.Image) -> Callable[[NDArray[Any]], NDArray[np.uint8]]:
    """What scales grey values of more than 8 bits to 0..255 (Pillow alone would clip them at 255).

    Browsers show a 16-bit PNG over its whole range. TIFF, which they do not show, often has 10 or
    12 bits in 16, so the smallest usual depth that fits the brightest pixel is used. Floats are
    taken as 0..1 or 0..255 if they fit, and otherwise stretched from darkest to brightest.
    """
    if image.mode == "F":
        low, high = _range_of(image, _finite)

        def scaled_float(values: NDArray[Any]) -> NDArray[np.uint8]:
            values = _finite(values)
            if low < 0 or high > 255:
                values = (values - low) / ((high - low) or 1.0) * 255
            elif high <= 1:
                values = values * 255
            scaled: NDArray[np.uint8] = np.rint(values).astype(np.uint8)
            return scaled

        return scaled_float
    bits = 16
    if image.format == "TIFF":
        used = int(max(0, _range_of(image, np.asarray)[1])).bit_length()
        bits = next(depth for depth in (8, 10, 12, 14, 16, 24, 32) if used <= depth)

    def scaled_integer(values: NDArray[Any]) -> NDArray[np.uint8]:
        scaled: NDArray[np.uint8] = (np.maximum(values, 0) >> (bits - 8)).astype(np.uint8)
        return scaled

    return scaled_integer


def _range_of(
    image: Image.Image, read: Callable[[NDArray[Any]], NDArray[Any]]
) -> tuple[float, float]:
    """The smallest and the largest value, found in bands."""
    width, height = image.size
    rows = max(1, _BAND_PIXELS // max(width, 1))
    low, high = float("inf"), float("-inf")
    for top in range(0, height, rows):
        band = read(np.asarray(image.crop((0, top, width, min(top + rows, height)))))
        low, high = min(low, float(band.min())), max(high, float(band.max()))
    return low, high


def _finite(values: NDArray[Any]) -> NDArray[Any]:
    return np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)


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
