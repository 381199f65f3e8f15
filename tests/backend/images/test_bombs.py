"""Pictures that were made to do harm: slow, huge, many at a time. None takes the server down."""

import gc
import resource
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.errors import PictureAwayError, PictureFormatError
from backend.images import child, decode
from backend.images.child import decode_apart, is_ordinary
from backend.images.decode import Decoder, MemoryBudget, decode_here, survey
from tests.backend.images.conftest import chunk, file_of, png_of_zeros

MIB = 1 << 20
MEGAPIXELS = 100_000_000


def progressive_jpeg(scans: int, size: tuple[int, int] = (640, 480)) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    content = file_of(Image.new("RGB", size, "red"), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * scans + content[-2:]


def segment(marker: int, body: bytes = b"") -> bytes:
    """A segment of a JPEG."""
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def tags_of_the_same_bytes(count: int, size: int) -> bytes:
    """A TIFF whose tags all refer to the same bytes, of which Pillow makes a copy for each."""
    shared = 8 + 2 + 12 * count + 4
    entries = b"".join(struct.pack("<HHII", 1_000 + n, 7, size, shared) for n in range(count))
    return b"II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4 + size)


def bmp_of_short_runs(runs: int) -> bytes:
    """A compressed BMP, which Pillow decodes in Python, run by run."""
    data = b"\x01\x05" * runs
    header = struct.pack("<IiiHHIIiiII", 40, 6_000, 6_000, 1, 8, 1, len(data), 0, 0, 256, 0)
    return (
        b"BM" + struct.pack("<IHHI", 1_078 + len(data), 0, 0, 1_078) + header + bytes(1_024) + data
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


MANY = 300_000
SMALL_PNG = file_of(Image.new("RGB", (8, 8)), "PNG")
SMALL_JPEG = file_of(Image.new("RGB", (8, 8)), "JPEG")
# Files of a few MB that keep Pillow busy in Python: each took this process 5 to 100 s.
TANGLED = {
    "PNG, chunks before": SMALL_PNG[:33] + chunk(b"teSt") * MANY + SMALL_PNG[33:],
    "PNG, chunks after": SMALL_PNG[:-12] + chunk(b"teSt") * MANY + SMALL_PNG[-12:],
    "PNG, pixels in crumbs": SMALL_PNG[:33] + chunk(b"IDAT") * MANY + SMALL_PNG[33:],
    "PNG, EXIF of copies": SMALL_PNG[:33]
    + chunk(b"eXIf", tags_of_the_same_bytes(1_000, 8 * MIB))
    + SMALL_PNG[33:],
    "JPEG, segments": SMALL_JPEG[:2] + segment(0xE5) * MANY + SMALL_JPEG[2:],
    "JPEG, fill bytes": SMALL_JPEG[:2] + b"\xff" * 4 * MIB + SMALL_JPEG[2:],
    "JPEG, EXIF that grows": SMALL_JPEG[:2]
    + segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 300
    + SMALL_JPEG[2:],
    "TIFF, tags of copies": tags_of_the_same_bytes(1_000, 8 * MIB),
    "BMP, short runs": bmp_of_short_runs(4 * MIB),
    "PPM, a comment": b"P6\n#" + b"x" * 8 * MIB + b"\n8 8 255\n" + bytes(192),
}


@pytest.mark.parametrize("name", TANGLED)
def test_a_file_of_a_million_blocks_is_not_opened_here(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a file that is opened in a process that can be ended
    apart: list[int] = []

    def decode_apart(*given: object) -> np.ndarray[Any, Any]:
        apart.append(1)
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(decode, "decode_apart", decode_apart)
    started = time.process_time()
    # when
    Decoder(MEGAPIXELS)(TANGLED[name])
    # then this process has hardly looked at it
    assert apart
    assert time.process_time() - started < 0.5


def test_such_a_file_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    # given one that takes Pillow two minutes of CPU
    monkeypatch.setattr(child, "_WALL_S", 3.0)

    with pytest.raises(PictureFormatError, match="takes more than"):
        Decoder(MEGAPIXELS)(SMALL_JPEG[:2] + b"\xff" * 16 * MIB + SMALL_JPEG[2:])


def test_copies_of_the_same_bytes_are_ended_for_memory() -> None:
    with pytest.raises(PictureFormatError):
        Decoder(MEGAPIXELS)(TANGLED["TIFF, tags of copies"])


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "MPO"])
def test_what_programs_write_is_opened_here(file_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    details = {"exif": exif} if file_format not in ("BMP", "MPO") else {}

    assert is_ordinary(file_of(Image.fromarray(noise), file_format, **details))


def test_what_takes_more_than_was_given_says_how_much() -> None:
    content = file_of(Image.new("RGB", (400, 400)), "TIFF")

    needed = decode_apart(content, MEGAPIXELS, 1_000)

    assert needed == survey(content, MEGAPIXELS)[0] > 400 * 400 * 3


def test_a_picture_decoded_apart_is_the_same_and_says_the_same() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 400, 3), dtype=np.uint8)
    content = file_of(Image.fromarray(noise), "TIFF")

    assert np.array_equal(decode_apart(content, MEGAPIXELS, 64 * MIB), noise)
    with pytest.raises(PictureFormatError, match="its file is damaged"):
        decode_apart(content[:100], MEGAPIXELS, 64 * MIB)


@pytest.mark.parametrize(
    "make",
    [
        lambda: png_of_zeros(3_000, 3_000, 4),
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
    content = png_of_zeros(1_600, 1_600, 4)
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


@contextmanager
def held(budget: MemoryBudget, size: int, times: int = 1) -> Iterator[None]:
    """So many threads that take this size, or wait for it, within the block."""
    leave = threading.Event()

    def hold() -> None:
        with suppress(PictureAwayError), budget.take(size):
            leave.wait(10)

    with ThreadPoolExecutor(times) as pool:
        for _ in range(times):
            pool.submit(hold)
        time.sleep(0.1)
        try:
            yield
        finally:
            leave.set()


def test_a_budget_that_stays_taken_is_a_sentence() -> None:
    budget = MemoryBudget(100, wait_s=0.05)
    busy = pytest.raises(PictureAwayError, match="Too many large pictures")
    with held(budget, 100), busy, budget.take(100):
        pass


def test_an_ordinary_picture_does_not_wait_for_large_ones() -> None:
    budget = MemoryBudget(100)
    with held(budget, 1_000, times=3), budget.take(6), budget.take(6):
        assert budget.free == 0


def test_of_large_pictures_only_some_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    # given one that is read, and as many as may wait
    monkeypatch.setattr(decode, "_MOST_WAITING", 2)
    budget = MemoryBudget(100)
    busy = pytest.raises(PictureAwayError, match="Too many large pictures")
    # then the next is refused at once
    with held(budget, 100, times=3), busy, budget.take(100):
        pass
