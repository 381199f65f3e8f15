"""Pictures that were made to do harm: slow, huge, many at a time. None takes the server down."""

import gc
import io
import resource
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from backend.errors import PictureAwayError, PictureFormatError
from backend.images import child
from backend.images.budget import MemoryBudget
from backend.images.child import decode_apart
from backend.images.decode import Decoder, decode_here

MIB = 1 << 20
MEGAPIXELS = 100_000_000


def file_of(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def progressive_jpeg(scans: int, size: tuple[int, int] = (640, 480)) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    content = file_of(Image.new("RGB", size, "red"), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * scans + content[-2:]


def transparent_png(side: int) -> bytes:
    """A PNG of one colour with transparency, written row by row: tiny file, large picture."""
    compress = zlib.compressobj(9)
    row = b"\0" + b"\0\0\0\0" * side
    data = b"".join(compress.compress(row) for _ in range(side)) + compress.flush()

    def chunk(kind: bytes, body: bytes) -> bytes:
        checked = kind + body
        return len(body).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + bytes([8, 6, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_a_progressive_jpeg_with_thousands_of_scans_is_refused_unread() -> None:
    content = progressive_jpeg(5_000)
    assert len(content) < MIB
    started = time.process_time()

    with pytest.raises(PictureFormatError, match="progressive JPEG with 5"):
        Decoder(MEGAPIXELS)(content)

    assert time.process_time() - started < 2


def test_an_ordinary_progressive_jpeg_is_read_and_its_preview_is_no_scan() -> None:
    preview = file_of(Image.new("RGB", (160, 120)), "JPEG", progressive=True) * 30
    exif = b"Exif\0\0" + preview[:60_000]
    content = file_of(Image.new("RGB", (640, 480), "red"), "JPEG", progressive=True)
    length = (len(exif) + 2).to_bytes(2, "big")
    content = content[:2] + b"\xff\xe1" + length + exif + content[2:]

    assert Decoder(MEGAPIXELS)(content).shape == (480, 640, 3)


def test_scans_count_for_more_on_large_pictures() -> None:
    # given 60 scans, which a small picture may have, of 64 megapixels: the header says so
    content = bytearray(progressive_jpeg(60))
    frame = content.index(b"\xff\xc2")
    content[frame + 5 : frame + 9] = (8_000).to_bytes(2, "big") * 2

    with pytest.raises(PictureFormatError, match="scans"):
        Decoder(MEGAPIXELS)(bytes(content))


def test_what_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a picture whose decoding does not end within the limit
    monkeypatch.setattr(child, "_WALL_S", 0.05)

    with pytest.raises(PictureFormatError, match="takes more than"):
        decode_apart(file_of(Image.new("RGB", (40, 24)), "TIFF"), MEGAPIXELS, 64 * MIB)


def test_what_takes_too_much_memory_is_ended() -> None:
    # given less than Python itself takes
    with pytest.raises(PictureFormatError, match="too much memory"):
        decode_apart(file_of(Image.new("RGB", (400, 400)), "TIFF"), MEGAPIXELS, -600 * MIB)


def test_a_picture_decoded_apart_is_the_same_and_says_the_same() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 400, 3), dtype=np.uint8)
    content = file_of(Image.fromarray(noise), "TIFF")

    assert np.array_equal(decode_apart(content, MEGAPIXELS, 64 * MIB), noise)
    with pytest.raises(PictureFormatError, match="its file is damaged"):
        decode_apart(content[:100], MEGAPIXELS, 64 * MIB)


@pytest.mark.parametrize(
    "make",
    [
        lambda: transparent_png(3_000),
        lambda: file_of(Image.new("F", (3_000, 3_000), 0.5), "TIFF", compression="tiff_deflate"),
        lambda: file_of(Image.new("I;16", (3_000, 3_000), 900), "PNG"),
    ],
    ids=["transparent", "float", "deep"],
)
def test_decoding_takes_little_more_than_the_picture(make: Callable[[], bytes]) -> None:
    """Measured on 9 megapixels: 36 MB in Pillow and 27 MB as an array."""
    content = make()
    decode_here(content, MEGAPIXELS)  # loads the decoder
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    array = decode_here(content, MEGAPIXELS)

    assert array.shape == (3_000, 3_000, 3)
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024
    assert more < 160 * MIB


def test_threads_share_one_budget_and_all_of_them_finish() -> None:
    # given a budget for one of these pictures at a time
    content = transparent_png(1_600)
    budget = MemoryBudget(220 * MIB)
    least = budget.free
    decode = Decoder(MEGAPIXELS, budget)

    def read(_: int) -> tuple[int, ...]:
        nonlocal least
        shape = decode(content).shape
        least = min(least, budget.free)
        return shape

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(read, range(4))) == {(1_600, 1_600, 3)}
    gc.collect()

    assert least > -100 * MIB
    assert budget.free == budget.total


def test_the_bytes_of_an_unused_picture_are_freed() -> None:
    budget = MemoryBudget(100 * MIB)
    picture = Decoder(MEGAPIXELS, budget)(file_of(Image.new("RGB", (400, 200)), "PNG"))
    assert budget.free == budget.total - 400 * 200 * 3

    del picture
    gc.collect()
    assert budget.free == budget.total


def test_a_budget_that_stays_taken_is_a_sentence() -> None:
    budget = MemoryBudget(100, wait_s=0.05)
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with budget.take(100):
            entered.set()
            leave.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(10)
    with pytest.raises(PictureAwayError, match="Too many large pictures"), budget.take(1):
        pass
    leave.set()
    holder.join()
