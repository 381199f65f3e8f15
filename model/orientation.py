"""Which way up a picture is shown: browsers follow EXIF in JPEG and PNG, and nothing else."""

from PIL import Image

_TAG = 0x0112
# Observed in Chromium, with files by Pillow.
_IGNORED_IN = frozenset({"WEBP", "AVIF"})
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = frozenset(transpose for tag, transpose in _TRANSPOSES.items() if tag >= 5)


def transpose_of(image: Image.Image) -> Image.Transpose | None:
    """What turns an opened picture upright; XMP and damaged EXIF are ignored, as in browsers."""
    raw = image.info.get("exif")
    if not raw or image.format in _IGNORED_IN:
        return None
    exif = Image.Exif()
    try:
        exif.load(raw)
        return _TRANSPOSES.get(exif.get(_TAG, 1))
    except Exception:
        return None
