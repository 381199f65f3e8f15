"""Brush masks: the SDK is the oracle both ways, and no stream may hang or hurt the server."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from label_studio_sdk.converter import brush as sdk
from numpy.typing import NDArray

from backend.errors import RequestError
from backend.label_studio import rle

PAYLOADS = Path(__file__).parents[2] / "payloads"

Mask = NDArray[np.bool_]
# The SDK has types, this function has none.
sdk_encode: Callable[[NDArray[np.uint8]], list[int]] = sdk.mask2rle

Token = tuple[int, bool, list[int]]  # which run size, repeated?, values

# Other work on this machine is no fault of the code.
unhurried = settings(deadline=None)
masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40))


def blob(height: int, width: int) -> Mask:
    """An object as annotators make them: round, with a wavy edge and a hole."""
    y, x = np.mgrid[:height, :width]
    y, x = y - height / 2, x - width / 2
    radius = np.hypot(y, x)
    outside = min(height, width) * (0.3 + 0.05 * np.sin(9 * np.arctan2(y, x)))
    mask: Mask = (radius < outside) & (radius > min(height, width) * 0.1)
    return mask


def write(width: int, height: int, word: int, sizes: list[int], tokens: list[Token]) -> list[int]:
    """A stream written bit by bit after the description of the format, without an encoder."""
    bits = f"{width * height * 4:032b}{word - 1:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    for which, repeated, values in tokens:
        bits += f"{repeated:b}{which:02b}{len(values) - 1:0{sizes[which]}b}"
        bits += "".join(f"{value:0{word}b}" for value in values[: 1 if repeated else None])
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


@st.composite
def foreign_streams(draw: st.DrawFn) -> tuple[list[int], Mask, int]:
    """What another encoder may write: any word and run sizes, runs that cut through pixels."""
    width, height = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    word = draw(st.integers(1, 32))
    sizes = draw(st.lists(st.integers(1, 16), min_size=4, max_size=4))
    tokens: list[Token] = []
    values: list[int] = []
    left = width * height * 4
    while left:
        which = draw(st.integers(0, 3))
        length = draw(st.integers(1, min(left, 1 << sizes[which])))
        repeated = draw(st.booleans())
        word_values = st.integers(0, 2**word - 1)
        if repeated:
            run = [draw(word_values)] * length
        else:
            run = draw(st.lists(word_values, min_size=length, max_size=length))
        tokens.append((which, repeated, run))
        values += run
        left -= length
    alpha = np.array(values, dtype=np.uint64).reshape(height, width, 4)[:, :, 3]
    return write(width, height, word, sizes, tokens), alpha >= 2 ** (word - 1), word


@unhurried
@given(masks)
def test_the_sdk_reads_what_we_write(mask: Mask) -> None:
    height, width = mask.shape

    values = sdk.decode_rle(rle.encode(mask))

    rgba = values.reshape(height, width, 4)
    assert np.array_equal(rgba, np.repeat(np.where(mask, 255, 0)[:, :, None], 4, axis=2))


@unhurried
@given(masks)
def test_we_read_what_the_sdk_writes(mask: Mask) -> None:
    height, width = mask.shape

    stream = sdk_encode(mask.astype(np.uint8) * 255)

    assert np.array_equal(rle.decode(stream, width, height), mask)


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((1, 1), bool),
        np.ones((1, 1), bool),
        np.ones((1, 777), bool),
        np.arange(777)[None] % 3 == 0,
        np.arange(777)[:, None] % 5 < 2,
        np.zeros((200, 301), bool),
        np.ones((301, 200), bool),
        np.indices((101, 99)).sum(0) % 2 == 0,
        np.indices((64, 64)).sum(0) % 2 == 1,
        np.indices((160, 160)).sum(0) // 8 % 2 == 1,  # even words of eight, alternating
        np.indices((99, 160))[1] % 16 < 9,  # the same uneven word again and again
        blob(133, 257),
        blob(257, 134).T,
        blob(300, 300)[::2, ::-1],
    ],
)
def test_our_stream_is_the_sdks_byte_for_byte(mask: Mask) -> None:
    height, width = mask.shape

    stream = rle.encode(mask)

    assert stream == sdk_encode(mask.astype(np.uint8) * 255)
    assert np.array_equal(rle.decode(stream, width, height), mask)


@unhurried
@given(foreign_streams())
def test_streams_of_other_encoders_are_read(stream: tuple[list[int], Mask, int]) -> None:
    data, mask, word = stream
    height, width = mask.shape

    decoded = rle.decode(data, width, height)

    assert np.array_equal(decoded, mask)
    if word == 8:
        assert np.array_equal(
            decoded, sdk.decode_rle(data).reshape(height, width, 4)[:, :, 3] > 127
        )


def regions(node: Any) -> Iterator[dict[str, Any]]:
    """Every region with a brush code in a recorded request."""
    if isinstance(node, dict):
        if isinstance(node.get("value"), dict) and "rle" in node["value"]:
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from regions(child)


@pytest.mark.parametrize("path", sorted(PAYLOADS.glob("*.json")), ids=lambda path: path.stem)
def test_masks_that_the_page_sent_are_read(path: Path) -> None:
    # given a request of Label Studio 1.23, as recorded
    for region in regions(json.loads(path.read_text())):
        data = region["value"]["rle"]
        width, height = region["original_width"], region["original_height"]
        values = sdk.decode_rle(data)
        if values.size != width * height * 4:
            # one that was answered with the size of another picture
            with pytest.raises(RequestError, match=f"{width}x{height}"):
                rle.decode(data, width, height)
            continue

        mask = rle.decode(data, width, height)

        # then it is what the SDK sees in it, and its code is ours
        assert mask.any()
        assert np.array_equal(mask, values.reshape(height, width, 4)[:, :, 3] > 127)
        assert rle.encode(mask) == data


def test_only_alpha_counts_and_soft_edges_from_half_opacity_on() -> None:
    # given red pixels of rising opacity
    values = [value for alpha in (0, 1, 127, 128, 254, 255) for value in (255, 0, 0, alpha)]
    data = write(6, 1, 8, [3, 4, 8, 16], [(2, False, values)])

    mask = rle.decode(data, 6, 1)

    assert mask.tolist() == [[False, False, False, True, True, True]]


def test_a_mask_that_is_a_view_or_spans_many_blocks_is_whole() -> None:
    # given noise, whose stream is longer than what is unpacked at a time
    mask = np.random.default_rng(0).random((700, 611)) < 0.5

    stream = rle.encode(mask.T)

    assert len(stream) > 4 * 65536
    assert np.array_equal(rle.decode(stream, 700, 611), mask.T)


def test_a_long_literal_is_read() -> None:
    # given a stream of single values only, as for a photograph
    values = np.random.default_rng(1).integers(0, 256, 128 * 128 * 4)
    data = write(128, 128, 8, [3, 4, 8, 16], [(3, False, values.tolist())])

    mask = rle.decode(data, 128, 128)

    assert np.array_equal(mask, values.reshape(128, 128, 4)[:, :, 3] > 127)


@unhurried
@given(masks, st.data())
def test_a_stream_that_is_cut_off_is_refused(mask: Mask, data: st.DataObject) -> None:
    # given the stream without its last bytes (the very last one can be filling alone)
    stream = rle.encode(mask)
    short = stream[: data.draw(st.integers(0, len(stream) - 2))]

    with pytest.raises(RequestError):
        rle.decode(short, mask.shape[1], mask.shape[0])


@unhurried
@given(st.binary(max_size=200), st.integers(1, 30), st.integers(1, 30), st.booleans())
def test_garbage_is_refused_or_read_but_never_hangs(
    garbage: bytes, width: int, height: int, right_count: bool
) -> None:
    if right_count:
        garbage = (width * height * 4).to_bytes(4, "big") + garbage

    with contextlib.suppress(RequestError):
        assert rle.decode(list(garbage), width, height).shape == (height, width)


@pytest.mark.timed
@pytest.mark.parametrize(
    ("data", "width", "height"),
    [
        ([], 2, 2),
        ([0] * 6, 2, 2),
        ("abc", 2, 2),
        ({"0": 1}, 2, 2),
        (12, 2, 2),
        ([0, 0, 0, 256] + [0] * 20, 2, 2),
        ([0, 0, 0, -1] + [0] * 20, 2, 2),
        ([0.5] * 20, 2, 2),
        ([None] * 20, 2, 2),
        (rle.encode(np.ones((2, 2), bool)), 2, 3),
        (rle.encode(np.ones((2, 2), bool)), 0, 4),
        (rle.encode(np.ones((2, 2), bool)), -2, -2),
        # ten bytes that claim a picture of 2^28 pixels, or more than there can be
        ([0x40, 0, 0, 0, 57, 27, 255, 255, 255, 0], 1 << 14, 1 << 14),
        ([0x40, 0, 0, 0, 57, 27, 255, 255, 255, 0], 1 << 20, 1 << 20),
        # a run of eight values in a picture of four
        (write(1, 1, 8, [3, 4, 8, 16], [(0, True, [255] * 8)]), 1, 1),
    ],
)
def test_a_bad_stream_is_refused_at_once(data: Any, width: int, height: int) -> None:
    start = time.perf_counter()

    with pytest.raises(RequestError):
        rle.decode(data, width, height)

    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize(
    "mask", [np.zeros((2, 2, 4), bool), np.zeros((0, 3), bool), np.zeros((2, 2), np.uint8)]
)
def test_only_a_mask_is_encoded(mask: Any) -> None:
    with pytest.raises(ValueError, match="mask"):
        rle.encode(mask)


def best_ms(call: Callable[[], object], times: int) -> float:
    """Least milliseconds of several runs: what is left is the work, not the neighbours."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken) * 1000


@pytest.mark.timed
def test_encoding_and_decoding_are_five_times_as_fast_as_the_sdk() -> None:
    # given an object in a picture of six megapixels
    mask = blob(2000, 3000)
    picture = mask.astype(np.uint8) * 255
    stream = rle.encode(mask)

    ours, theirs = best_ms(lambda: rle.encode(mask), 15), best_ms(lambda: sdk_encode(picture), 5)
    print(f"encode: {ours:.1f} ms, SDK {theirs:.1f} ms")
    assert ours < 10
    assert theirs / ours > 5

    ours = best_ms(lambda: rle.decode(stream, 3000, 2000), 15)
    theirs = best_ms(lambda: sdk.decode_rle(stream), 5)
    print(f"decode: {ours:.1f} ms, SDK {theirs:.1f} ms")
    assert theirs / ours > 5


# -- masks of the database


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (480, 640), (2000, 3000)])
def test_packed_masks_come_back_bit_for_bit(shape: tuple[int, int]) -> None:
    one, two = np.random.default_rng(7).random((2, *shape)) > 0.4
    packed = rle.PackedMask.pack(one)
    assert (packed.unpack() == one).all()
    expected = (one & two).sum() / (one | two).sum()
    assert packed.iou(rle.PackedMask.pack(two)) == pytest.approx(expected)
    assert packed.iou(rle.PackedMask.pack(np.ones((shape[0] + 1, shape[1]), bool))) == 0.0


@pytest.mark.timed
def test_six_megapixels_are_packed_and_unpacked_within_milliseconds() -> None:
    mask = blob(2000, 3000)
    packed = rle.PackedMask.pack(mask)
    assert best_ms(lambda: rle.PackedMask.pack(mask), 7) < 10
    assert best_ms(packed.unpack, 7) < 10
