"""Which way up a picture is shown, as observed in Chromium.

EXIF counts in JPEG and PNG, not in WebP. Of an AVIF the container's own turn counts, which Pillow
writes into ``info["exif"]``.
"""

import io

from PIL import Image, TiffTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2

_TAG = 0x0112
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
    if not raw:
        # Browsers take any byte for the second zero after "Exif".
        blocks = (data for name, data in getattr(image, "applist", ()) if name == "APP1")
        raw = next((data for data in blocks if data.startswith(b"Exif\0")), None)
    if not raw or image.format == "WEBP":
        return None
    file = io.BytesIO(raw[6:] if raw.startswith(b"Exif\0") else raw)
    try:
        tags = ImageFileDirectory_v2(file.read(8))
        file.seek(tags.next)
        tags.load(file)
        # As a number of another size, browsers ignore it.
        return _TRANSPOSES.get(tags[_TAG]) if tags.tagtype[_TAG] == TiffTags.SHORT else None
    except Exception:
        return None
