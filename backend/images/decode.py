"""From a file's bytes to an upright RGB picture, as the annotator's browser shows it.

Masks are drawn over what the page shows, so this follows Chromium: EXIF orientation is applied in
JPEG and PNG and ignored in WebP and AVIF (observed in Chromium, with files by Pillow); transparent
pixels show the page's white; of an animation the first frame is labeled. A JPEG or PNG that ends
early is shown as far as it goes, the rest grey; side blocks that are broken or huge are skipped.
"""

import io
import threading
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from backend.errors import PictureFormatError

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

_init_lock = threading.Lock()
_known: list[str] = []


def decode(content: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """The picture in ``content``, H,W,3 uint8 RGB, read-only. Raises PictureFormatError."""
    try:
        with _open(io.BytesIO(content), max_pixels) as image:
            _load(image)
            array = np.asarray(_rgb(_upright(image), image.format))
    except PictureFormatError:
        raise
    except Exception as error:
        # Decoders raise all kinds of errors on damaged files.
        raise _unreadable(content) from error
    # Shared by all threads that need this picture at the same time.
    array.flags.writeable = False
    return array


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
    return image


def _formats() -> list[str]:
    with _init_lock:
        if not _known:
            Image.init()
            _known.extend(name for name in _FORMATS if name in Image.OPEN)
    return _known


def _upright(image: Image.Image) -> Image.Image:
    """``image`` rotated by its EXIF orientation; XMP is ignored, as in browsers."""
    method = None
    exif = Image.Exif()
    raw = image.info.get("exif")
    if raw and image.format not in _IGNORE_ORIENTATION:
        try:
            exif.load(raw)
            method = _TRANSPOSES.get(exif.get(_ORIENTATION, 1))
        except Exception:
            # Damaged EXIF: a browser shows the picture unrotated.
            method = None
    return image.transpose(method) if method is not None else image


def _rgb(image: Image.Image, file_format: str | None) -> Image.Image:
    """``image`` in RGB: deep values scaled, transparent pixels white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bits(image, file_format)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image, file_format: str | None) -> NDArray[np.uint8]:
    """Grey values of more than 8 bits, scaled to 0..255 (Pillow alone would clip them at 255).

    Browsers show a 16-bit PNG over its whole range. TIFF, which they do not show, often has 10 or
    12 bits in 16, so the smallest usual depth that fits the brightest pixel is used. Floats are
    taken as 0..1 or 0..255 if they fit, and otherwise stretched from darkest to brightest.
    """
    values = np.asarray(image)
    if values.dtype.kind == "f":
        values = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 255:
            values = (values - low) / ((high - low) or 1.0) * 255
        elif high <= 1:
            values = values * 255
        return np.rint(values).astype(np.uint8)
    values = np.maximum(values, 0)
    bits = 16
    if file_format == "TIFF":
        used = int(values.max()).bit_length()
        bits = next(depth for depth in (8, 10, 12, 14, 16, 24, 32) if used <= depth)
    scaled: NDArray[np.uint8] = (values >> (bits - 8)).astype(np.uint8)
    return scaled


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
