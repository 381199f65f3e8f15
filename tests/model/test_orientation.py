"""Which way up a picture is shown."""

import io
from typing import Any

import pytest
from PIL import Image

from model.orientation import transpose_of

SIDEWAYS = Image.Exif()
SIDEWAYS[0x0112] = 6
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/"><rdf:Description tiff:Orientation="6"/>'
    b"</x:xmpmeta>"
)


@pytest.mark.parametrize(
    ("file_format", "options", "turned"),
    [
        ("JPEG", {"exif": SIDEWAYS}, Image.Transpose.ROTATE_270),
        ("PNG", {"exif": SIDEWAYS}, Image.Transpose.ROTATE_270),
        ("WEBP", {"exif": SIDEWAYS}, None),
        ("PNG", {"exif": b"damaged"}, None),
        ("JPEG", {"xmp": XMP}, None),
        ("JPEG", {}, None),
    ],
)
def test_a_picture_is_turned_as_browsers_turn_it(
    file_format: str, options: dict[str, Any], turned: Image.Transpose | None
) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (6, 4)).save(stream, file_format, **options)

    assert transpose_of(Image.open(stream)) == turned
