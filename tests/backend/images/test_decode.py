"""Every format a browser shows comes out as it shows it; the rest is refused in words."""

import io
import struct
import time
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from backend.errors import PictureFormatError
from backend.images.decode import Decoder, decode_here
from tests.backend.images.conftest import chunk, file_of, png_of_zeros

MEGAPIXEL = 1_000_000


def decode(content: bytes, max_pixels: int = MEGAPIXEL) -> NDArray[np.uint8]:
    return Decoder(max_pixels)(content)


def quarters(width: int = 40, height: int = 24) -> NDArray[np.uint8]:
    """A picture whose four quarters differ: red, green, blue and grey."""
    array = np.full((height, width, 3), (120, 120, 120), np.uint8)
    array[: height // 2, : width // 2] = (220, 20, 20)
    array[: height // 2, width // 2 :] = (20, 200, 20)
    array[height // 2 :, : width // 2] = (20, 20, 210)
    return array


TURNED = Image.Exif()
TURNED[0x0112] = 6


def assert_alike(one: NDArray[np.uint8], other: NDArray[np.uint8], tolerance: int = 0) -> None:
    assert one.shape == other.shape
    assert one.dtype == np.uint8
    difference = np.abs(one.astype(int) - other.astype(int))
    # Lossy formats blur colour over edges: away from them the picture is as it was.
    assert np.percentile(difference, 80 if tolerance else 100) <= tolerance


@pytest.mark.parametrize(
    ("file_format", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95}, 4),
        ("JPEG", {"quality": 95, "progressive": True}, 4),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 8),
        ("AVIF", {"quality": 95}, 8),
        ("GIF", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("PPM", {}, 0),
        ("ICO", {"sizes": [(40, 24)]}, 0),
        ("JPEG2000", {"irreversible": False}, 0),
    ],
)
def test_colour_pictures_of_every_format(
    file_format: str, options: dict[str, Any], tolerance: int
) -> None:
    content = file_of(Image.fromarray(quarters()), file_format, **options)

    array = decode(content)

    assert_alike(array, quarters(), tolerance)
    assert not array.flags.writeable


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "AVIF"])
def test_exif_orientation_is_applied(file_format: str, orientation: int) -> None:
    # given a file that lies as a camera held that way stores the upright picture
    upright = quarters(64, 32)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if file_format in ("JPEG", "AVIF") else {}
    camera = Image.fromarray(upright)
    camera.getexif()[0x0112] = {6: 8, 8: 6}.get(orientation, orientation)
    stored = ImageOps.exif_transpose(camera)
    content = file_of(stored, file_format, exif=exif, **options)

    assert_alike(decode(content), upright, 4 if options else 0)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(
    ("file_format", "exif"), [("WEBP", TURNED), ("JPEG", b"Exif\0\0MM\0*\xff\xff\xff\xff\x01")]
)
def test_exif_that_is_damaged_or_in_a_webp_is_ignored(file_format: str, exif: object) -> None:
    assert decode(file_of(Image.fromarray(quarters()), file_format, exif=exif)).shape == (24, 40, 3)


@pytest.mark.parametrize(
    ("fill", "orientation", "turned"),
    [
        (b"\0", struct.pack(">HHIHH", 0x112, 3, 1, 6, 0), True),
        (b"\xff", struct.pack(">HHIHH", 0x112, 3, 1, 6, 0), True),
        (b"\0", struct.pack(">HHII", 0x112, 4, 1, 6), False),
    ],
    ids=["usual", "other fill byte", "32 bits"],
)
def test_odd_exif_is_read_as_browsers_read_it(
    fill: bytes, orientation: bytes, turned: bool
) -> None:
    block = b"Exif\0" + fill + b"MM\0*\0\0\0\x08\0\x01" + orientation + bytes(4)
    plain = file_of(Image.fromarray(quarters()), "JPEG")
    content = plain[:2] + struct.pack(">HH", 0xFFE1, len(block) + 2) + block + plain[2:]

    assert (decode(content).shape == (40, 24, 3)) == turned


def test_exif_behind_the_pixels_of_a_png_is_ignored() -> None:
    content = file_of(Image.fromarray(quarters()), "PNG", exif=TURNED)
    at = content.index(b"eXIf") - 4
    chunk = content[at : at + 12 + int.from_bytes(content[at : at + 4])]
    plain = content.replace(chunk, b"")

    assert decode(plain[:-12] + chunk + plain[-12:]).shape == (24, 40, 3)


GREY = Image.fromarray(np.tile(np.arange(0, 240, 6, dtype=np.uint8), (24, 1)))
BITS = Image.fromarray(np.indices((24, 40)).sum(0) % 3 == 0)
PALETTE = Image.fromarray(quarters()).quantize(16)


@pytest.mark.parametrize(
    ("image", "file_format"),
    [
        *((GREY, name) for name in ("JPEG", "PNG", "TIFF", "BMP", "GIF")),
        *((BITS, name) for name in ("PNG", "TIFF", "BMP")),
        *((PALETTE, name) for name in ("PNG", "GIF", "TIFF", "BMP")),
    ],
)
def test_grey_black_and_white_and_palette_pictures(image: Image.Image, file_format: str) -> None:
    array = decode(file_of(image, file_format))

    assert_alike(array, np.asarray(image.convert("RGB")), 3 if file_format == "JPEG" else 0)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_transparent_pixels_are_white(file_format: str) -> None:
    alpha = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (24, 1))
    rgba = np.dstack((quarters(), alpha))
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}

    array = decode(file_of(Image.fromarray(rgba), file_format, **options))

    part = alpha[:, :, None] / 255
    assert_alike(array, np.rint(quarters() * part + 255 * (1 - part)).astype(np.uint8), 1)
    assert (array[:, 0] == 255).all()


@pytest.mark.parametrize("kind", ["grey with alpha", "palette", "one colour", "one grey"])
def test_other_kinds_of_transparency(kind: str) -> None:
    # given pictures whose left half, or top left quarter, is transparent
    image = Image.fromarray(quarters())
    if kind == "grey with alpha":
        alpha = Image.fromarray((np.indices((24, 40))[1] >= 20).astype(np.uint8) * 255)
        content = file_of(Image.merge("LA", (image.convert("L"), alpha)), "PNG")
    elif kind == "palette":
        palette = image.quantize(4)
        content = file_of(palette, "PNG", transparency=palette.getpixel((0, 0)))
    elif kind == "one colour":
        content = file_of(image, "PNG", transparency=(220, 20, 20))
    else:
        grey = image.convert("L")
        content = file_of(grey, "PNG", transparency=grey.getpixel((0, 0)))

    array = decode(content)

    assert array[3, 3].tolist() == [255, 255, 255]
    assert array[3, 37].tolist() != [255, 255, 255]


def test_sixteen_bits_in_png_are_scaled_not_clipped() -> None:
    deep = (np.arange(24 * 40).reshape(24, 40) * 68).astype(np.uint16)

    array = decode(file_of(Image.fromarray(deep), "PNG"))

    assert_alike(array, np.repeat((deep >> 8).astype(np.uint8)[:, :, None], 3, axis=2))
    assert array.max() == 254


def test_sixteen_bit_colour() -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, quarters().astype(np.uint16) * 257, photometric="rgb")

    assert_alike(decode(file.getvalue()), quarters())


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(0, 1, "<f4"), (-5, 5, "<f4"), (300, 9000, "<f4"), (0, 4095, "<u2"), (0, 65535, ">u2")],
)
def test_deep_tiffs_are_stretched(low: float, high: float, dtype: str) -> None:
    values = np.linspace(low, high, 24 * 40).reshape(24, 40).astype(dtype)
    file = io.BytesIO()
    tifffile.imwrite(file, values, byteorder=dtype[0])

    array = decode(file.getvalue())

    expected = np.rint(np.linspace(0, 255, 24 * 40)).reshape(24, 40).astype(np.uint8)
    assert np.abs(array[:, :, 0].astype(int) - expected).max() <= 1


def test_floats_that_are_not_finite_or_all_equal() -> None:
    for values in (np.full((4, 4), np.nan), np.full((4, 4), np.inf), np.full((4, 4), -7.0)):
        file = io.BytesIO()
        tifffile.imwrite(file, values.astype(np.float32))

        assert (decode(file.getvalue()) == 0).all()


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_cmyk_pictures(file_format: str) -> None:
    # given CMYK: a JPEG of it is inverted, as Adobe's are
    image = Image.fromarray(quarters()).convert("CMYK")
    options = {"quality": 95} if file_format == "JPEG" else {}
    content = file_of(image, file_format, **options)
    assert (b"Adobe" in content) == (file_format == "JPEG")

    assert_alike(decode(content), quarters(), 6 if options else 0)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_the_first_frame_of_an_animation(file_format: str) -> None:
    first, second = Image.fromarray(quarters()), Image.new("RGB", (40, 24), (255, 255, 0))
    options = {"lossless": True} if file_format == "WEBP" else {}
    content = file_of(first, file_format, save_all=True, append_images=[second], **options)
    with Image.open(io.BytesIO(content)) as image:
        assert getattr(image, "n_frames", 1) == 2

    assert_alike(decode(content), quarters(), 12 if file_format == "AVIF" else 0)


def test_a_still_that_is_no_frame_of_its_animation_is_not_shown() -> None:
    array = np.zeros((24, 40, 4), np.uint8)
    array[4:20, 4:30] = (10, 20, 230, 128)
    still, frame = Image.fromarray(quarters()).convert("RGBA"), Image.fromarray(array)
    options: dict[str, Any] = {"append_images": [frame, still], "blend": 1, "default_image": True}
    content = file_of(still, "PNG", save_all=True, **options)

    assert_alike(decode(content), decode(file_of(frame, "PNG")))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_a_file_that_ends_early_is_shown_as_far_as_it_goes(file_format: str) -> None:
    # given a file of which the last half is missing
    noise = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
    content = file_of(Image.fromarray(noise), file_format)
    # when it is decoded
    array = decode(content[: len(content) // 2])
    # then the picture has its size, and what is missing is grey
    assert array.shape == (60, 90, 3)
    assert not (array[0] == 128).all()
    assert (array[-1] == 128).all()
    # and two missing bytes cost hardly anything
    whole = decode(content)
    assert (decode(content[:-2])[:40] == whole[:40]).all()


def test_a_webp_with_damaged_code_is_shown_as_far_as_it_goes() -> None:
    # given a file with a wrong byte, from which on the code asks for more than there is
    y, x = np.mgrid[:120, :160]
    content = file_of(Image.fromarray(np.stack([x, y, x + y], 2).astype(np.uint8)), "WEBP")
    damaged = bytearray(content)
    damaged[len(content) // 2] = 0
    with pytest.raises(OSError, match="frame"), Image.open(io.BytesIO(damaged)) as image:
        image.load()
    # when it is decoded
    array, whole = decode(bytes(damaged)), decode(content)
    # then what is above the damage is as it was
    assert array.shape == (120, 160, 3)
    assert (array[:8] == whole[:8]).all()


def test_around_a_frame_that_is_smaller_than_its_gif_is_the_pages_white() -> None:
    content = bytearray(file_of(Image.fromarray(quarters()), "GIF"))
    content[6:10] = struct.pack("<HH", 60, 50)
    frame = content.index(b"\x2c\0\0\0\0")
    content[frame + 1 : frame + 5] = struct.pack("<HH", 10, 20)

    array = decode(bytes(content))

    assert_alike(array[20:44, 10:50], quarters())
    assert (array[:20] == 255).all()
    assert (array[:, 50:] == 255).all()


def test_a_progressive_jpeg_is_shown_as_far_as_it_goes_wherever_it_ends() -> None:
    content = file_of(Image.fromarray(quarters(64, 48)), "JPEG", progressive=True)
    second_scan = content.index(b"\xff\xda", content.index(b"\xff\xda") + 2)

    for end in range(second_scan - 40, len(content)):
        array = decode(content[:end])
        assert np.abs(array[::8, ::8].astype(int) - quarters(64, 48)[::8, ::8]).mean() < 60, end


@pytest.mark.parametrize(
    "broken", [b"\xe0\0\6JFIF", b"\xee\0\7Adobe", b"\xe2\0\x0eICC_PROFILE\0"], ids=["0", "14", "2"]
)
def test_broken_blocks_before_the_pixels_of_a_jpeg_are_skipped(broken: bytes) -> None:
    content = file_of(Image.fromarray(quarters()), "JPEG", quality=95)

    assert_alike(decode(content[:2] + b"\xff" + broken + content[2:]), quarters(), 4)


@pytest.mark.parametrize("broken", [b"iCCP", b"iCCPa", b"iCCPa\0\5xx", b"zTXta\0\7zz"])
@pytest.mark.parametrize("at", [33, -12], ids=["before", "behind"])
def test_broken_blocks_beside_the_pixels_of_a_png_are_skipped(broken: bytes, at: int) -> None:
    content = file_of(Image.fromarray(quarters()), "PNG")
    block = chunk(broken[:4], broken[4:])

    assert_alike(decode(content[:at] + block + content[at:]), quarters(), 0)


@pytest.mark.parametrize("chunk", ["tEXt", "zTXt"])
def test_a_huge_text_beside_the_picture_is_skipped(chunk: str) -> None:
    about = PngInfo()
    about.add_text("Comment", "x" * 3_000_000, zip=chunk == "zTXt")
    content = file_of(Image.fromarray(quarters()), "PNG", pnginfo=about)
    assert_alike(decode(content), quarters(), 0)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF"])
def test_a_file_without_a_header_is_refused(file_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
    content = file_of(Image.fromarray(noise), file_format)
    for length in (30, 3):
        with pytest.raises(PictureFormatError):
            decode(content[:length])


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")
def test_damaged_files_are_refused_or_read_but_raise_nothing_else() -> None:
    # given files with bytes that were hit at random
    rng = np.random.default_rng(1)
    noise = Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8))
    for file_format in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"):
        content = np.frombuffer(file_of(noise, file_format), np.uint8)
        for _ in range(40):
            damaged = content.copy()
            damaged[rng.integers(0, min(200, damaged.size), 3)] = rng.integers(0, 255, 3)
            with suppress(PictureFormatError):
                height, width, _ = decode_here(damaged.tobytes(), 10_000).shape
                assert height * width <= 10_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        *(
            (content, "damaged, or its format is not supported")
            for content in (b"", b"\0", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg/>")
        ),
        (b"<!DOCTYPE html><html>", "web page"),
        (b'\n {"detail": "no"}', "web page"),
    ],
)
def test_a_file_that_is_not_a_picture_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(PictureFormatError, match=said):
        decode(content)


def test_a_side_that_no_browser_shows_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(PictureFormatError, match="more than 100,000 pixels"):
        decode(png_of_zeros(900_000, 1))


@pytest.mark.timed
@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (1001, 1000), (60_000, 60_000)])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(width: int, height: int) -> None:
    content = png_of_zeros(width, height, rows=3_000)
    start = time.perf_counter()

    with pytest.raises(PictureFormatError, match="larger than the 1 megapixels"):
        decode(content)

    assert time.perf_counter() - start < 0.5


def test_an_admin_may_allow_more_than_pillow_does(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a picture that Pillow itself would refuse: more than twice its limit
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    content = file_of(Image.fromarray(quarters()), "PNG")

    with pytest.raises(PictureFormatError, match="larger"):
        decode(content, 100)
    assert decode(content, 1000).shape == (24, 40, 3)
