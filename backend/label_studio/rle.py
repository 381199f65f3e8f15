"""Masks as bytes: Label Studio's run-length encoding, and the packed bits of the database.

Every click encodes a mask and many decode one, so this must be fast. Both directions work on runs
of pixels and never build the RGBA picture that the format describes.

The stream, bits from the highest down: 32 bits number of values, 5 bits word size - 1, four times
4 bits run size - 1; then, until all values are there, tokens of

    1 bit   1 = one value repeated, 0 = that many values in a row
    2 bits  which of the four run sizes the length has
    n bits  length - 1
    w bits  the value, once, or `length` values

The values are an RGBA picture, row by row; only its alpha says where the mask is.

The database stores masks with one bit per pixel, lightly compressed: zlib's lowest level already
takes the long runs out of a mask, and higher ones cost ten times as much for a few percent. IoU is
computed on the packed bits, eight pixels at a time.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.errors import RequestError

# As Label Studio's page and its SDK write them; the reader takes them from the header.
_WORD_SIZE = 8
_RUN_SIZES = (3, 4, 8, 16)
_LONGEST = 1 << _RUN_SIZES[-1]
_CHANNELS = 4

# 16k x 16k: far above any picture that is served, far below what would exhaust memory.
MAX_PIXELS = 1 << 28
# Pixels of a side of any picture that is served: browsers show none that is longer.
MAX_SIDE = 100_000
# Bytes of the stream unpacked at once, which bounds memory.
_BLOCK = 1 << 16
_WINDOW_BITS = (1 << 64) - 1


def encode(mask: NDArray[np.bool_]) -> list[int]:
    """Bytes of ``mask`` (H,W bool) as Label Studio's page and SDK write them."""
    if mask.ndim != 2 or mask.dtype != np.bool_ or mask.size == 0:
        raise ValueError(f"a mask is H,W of bool, not {mask.shape} of {mask.dtype}")
    flat = np.ascontiguousarray(mask).reshape(-1)
    if flat.size * _CHANNELS >= 1 << 32:
        raise ValueError("a mask of more than 2^30 pixels has no brush code")

    ends = np.append(_changes(flat), flat.size)
    lengths = np.diff(ends, prepend=0) * _CHANNELS
    values = np.where((np.arange(ends.size) & 1) == int(not flat[0]), 255, 0)
    if int(lengths.max()) > _LONGEST:
        lengths, values = _split(lengths, values)

    # A run of 4 to 8 values takes the first size, up to 16 the second, up to 256 the third.
    size_index = np.searchsorted([1 << size for size in _RUN_SIZES], lengths)
    size = np.take(_RUN_SIZES, size_index)
    tokens = ((((4 | size_index) << size) | (lengths - 1)) << _WORD_SIZE) | values
    header = [flat.size * _CHANNELS, _WORD_SIZE - 1, *(size - 1 for size in _RUN_SIZES)]
    return _pack(
        np.concatenate((header, tokens)),
        np.concatenate(((32, 5, 4, 4, 4, 4), 3 + size + _WORD_SIZE)),
    )


def decode(rle: Sequence[int], width: int, height: int) -> NDArray[np.bool_]:
    """The mask (H,W bool) in ``rle``, a brush region of a ``width`` x ``height`` picture.

    Soft edges, which some brushes draw, count as inside from half opacity on. Any word size and run
    sizes are read. Raises RequestError.
    """
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise RequestError(f"A brush mask of {width}x{height} pixels cannot be read.")
    stream = _bytes(rle)
    if len(stream) * 8 < 53:
        raise RequestError("A brush mask in the request is cut off: its code is too short.")
    header = int.from_bytes(stream[:7], "big") >> 3
    count = header >> 21
    word = (header >> 16 & 31) + 1
    sizes = [(header >> shift & 15) + 1 for shift in (12, 8, 4, 0)]
    if count != width * height * _CHANNELS:
        raise RequestError(
            f"A brush mask in the request is not one of a {width}x{height} picture: "
            f"its code holds {count} values instead of {width * height * _CHANNELS}."
        )
    # Even runs of the greatest length need this much, so this rejects a wrong header.
    shortest = -(-count // (1 << max(sizes))) * (4 + min(sizes))
    if shortest > len(stream) * 8:
        raise RequestError("A brush mask in the request is cut off: its code is too short.")

    alpha = np.zeros(width * height, dtype=np.bool_)
    _read_tokens(stream, count, word, sizes, alpha)
    return alpha.reshape(height, width)


def _changes(flat: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Places in ``flat`` that differ from the one before, ascending."""
    # Eight pixels in one comparison: most words of a mask are even, and alike the word before.
    whole = flat.size // 8 * 8
    words = flat[:whole].view(np.uint64)
    if words.size < 64:
        return np.flatnonzero(flat[1:] != flat[:-1]) + 1
    differs = words[1:] != words[:-1]
    # A word differs from the one before wherever a change lies in it or at its start, and an
    # uneven word after one alike (a pattern that repeats) is uneven itself.
    uneven = (words != 0) & (words != np.uint64(0x0101010101010101))
    uneven[1:] |= differs
    at = np.flatnonzero(uneven)
    places = at[:, None] * 8 + np.arange(8)
    before = flat[np.maximum(places - 1, 0)]
    changes = places[flat[places] != before]
    tail = np.flatnonzero(flat[whole:] != flat[whole - 1 : -1]) + whole
    return np.concatenate((changes, tail))


def _split(
    lengths: NDArray[np.int64], values: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Runs longer than a token allows, as several full ones and a rest."""
    parts = -(-lengths // _LONGEST)
    last = np.cumsum(parts) - 1
    split = np.full(int(parts.sum()), _LONGEST, dtype=np.int64)
    split[last] = lengths - (parts - 1) * _LONGEST
    return split, np.repeat(values, parts)


def _pack(codes: NDArray[np.int64], bits: NDArray[np.int64]) -> list[int]:
    """``codes`` in sequence, each of the given number of ``bits`` (at most 32), as bytes."""
    ends = np.cumsum(bits)
    starts = ends - bits
    # Each code falls into one 32-bit word and at most the next one. Codes do not overlap, so
    # adding is as good as "or"; sums stay below 2^32, which float64 holds exactly.
    shifted = codes.astype(np.uint64) << (64 - (starts & 31) - bits).astype(np.uint64)
    word = starts >> 5
    total = int(ends[-1])
    words = (total >> 5) + 2
    packed = np.bincount(
        word, weights=(shifted >> np.uint64(32)).astype(np.float64), minlength=words
    )
    low = (shifted & np.uint64(0xFFFFFFFF)).astype(np.float64)
    packed += np.bincount(word + 1, weights=low, minlength=words)
    # The SDK ends with 1 to 8 zero bits, a whole zero byte where none is needed. So do we.
    return list(packed.astype(">u4").tobytes()[: total // 8 + 1])


def _bytes(rle: Sequence[int]) -> bytes:
    if not isinstance(rle, (list, tuple, bytes)):
        raise RequestError("A brush mask in the request is not a list of numbers.")
    try:
        return bytes(rle)
    except (TypeError, ValueError):
        raise RequestError(
            "A brush mask in the request holds something else than numbers from 0 to 255."
        ) from None


def _read_tokens(
    stream: bytes, count: int, word: int, sizes: list[int], alpha: NDArray[np.bool_]
) -> None:
    """Write every token's opaque pixels into ``alpha`` (flat, all False)."""
    # By the token's first three bits: how far to shift its 64-bit window for the length, for the
    # value, and how long it is.
    length_shift = [61 - sizes[tag & 3] for tag in range(8)]
    length_mask = [(1 << sizes[tag & 3]) - 1 for tag in range(8)]
    value_shift = [61 - sizes[tag & 3] - word for tag in range(8)]
    token_bits = [3 + sizes[tag & 3] + word for tag in range(8)]
    opaque_bit = 1 << (word - 1)  # a value of half opacity or more has its highest bit set

    end_of_stream = len(stream) * 8
    bit = 53
    done = 0
    while done < count:
        if bit >= end_of_stream:
            raise RequestError("A brush mask in the request is cut off before its end.")
        windows = _windows(stream, bit >> 3)
        first = bit & ~7
        last = first + (len(windows) << 3)
        while done < count and bit < last:
            window = (windows[(bit - first) >> 3] << (bit & 7)) & _WINDOW_BITS
            tag = window >> 61
            length = (window >> length_shift[tag] & length_mask[tag]) + 1
            end = done + length
            if end > count:
                raise RequestError("A brush mask in the request runs past the picture's end.")
            if tag & 4 or length == 1:
                bit += token_bits[tag]
                if bit > end_of_stream:
                    raise RequestError("A brush mask in the request is cut off before its end.")
                if window >> value_shift[tag] & opaque_bit:
                    # Pixel i's alpha is value 4 i + 3, so e values hold e // 4 alphas.
                    alpha[done >> 2 : end >> 2] = True
            else:
                start = bit + token_bits[tag] - word
                bit = start + length * word
                if bit > end_of_stream:
                    raise RequestError("A brush mask in the request is cut off before its end.")
                opaque = _top_bits(stream, start, length, word)
                alpha[done >> 2 : end >> 2] = opaque[(3 - done) % _CHANNELS :: _CHANNELS]
            done = end


def _windows(stream: bytes, base: int) -> list[int]:
    """64 bits of ``stream`` from each byte of the block at ``base`` on, zeros past its end."""
    block = stream[base : base + _BLOCK + 7]
    size = min(len(stream) - base, _BLOCK)
    padded = np.frombuffer(block + bytes(size + 7 - len(block)), dtype=np.uint8)
    pairs = np.lib.stride_tricks.sliding_window_view(padded, 8)
    windows: list[int] = pairs.copy().view(">u8")[:, 0].tolist()
    return windows


def _top_bits(stream: bytes, start: int, length: int, word: int) -> NDArray[np.bool_]:
    """Highest bit of each of the ``length`` words that begin at bit ``start``."""
    at = start + np.arange(length, dtype=np.int64) * word
    octets = np.frombuffer(stream, dtype=np.uint8)[at >> 3]
    tops: NDArray[np.bool_] = (octets >> (7 - (at & 7)).astype(np.uint8) & 1).astype(np.bool_)
    return tops


@dataclass(frozen=True)
class PackedMask:
    """``data`` is zlib level 1 of the mask's bits, row by row without padding between rows."""

    width: int
    height: int
    data: bytes

    @classmethod
    def pack(cls, mask: np.ndarray) -> "PackedMask":
        """From H,W bool."""
        height, width = mask.shape
        bits = np.packbits(mask.astype(bool, copy=False))
        return cls(width, height, zlib.compress(bits.tobytes(), 1))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.height, self.width

    def bits(self) -> np.ndarray:
        """The packed bits, uint8."""
        return np.frombuffer(zlib.decompress(self.data), dtype=np.uint8)

    def unpack(self) -> np.ndarray:
        """H,W bool."""
        flat = np.unpackbits(self.bits(), count=self.width * self.height)
        return flat.reshape(self.height, self.width).view(bool)

    def iou(self, other: "PackedMask") -> float:
        """Intersection over union; 1 for two empty masks, 0 for masks of different sizes."""
        if (self.width, self.height) != (other.width, other.height):
            return 0.0
        ours, theirs = self.bits(), other.bits()
        union = int(np.bitwise_count(ours | theirs).sum())
        return int(np.bitwise_count(ours & theirs).sum()) / union if union else 1.0
