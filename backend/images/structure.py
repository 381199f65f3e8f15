"""Whether a picture's file is built in an ordinary way, read from its blocks alone.

Pillow reads the blocks around the pixels in Python. A file of a few MB with a million of them, or
with fill bytes between them, keeps it busy for minutes, before the size of the picture is known.
Here the walk over the blocks ends at a bound. What is not ordinary is not refused, but opened in a
process that can be ended.
"""

import struct

# Cameras and programs write some dozens of blocks; a panorama or depth map in Extended XMP some
# hundred. The bounds are a choice: Pillow takes 4 to 35 us for each block.
_MAX_BLOCKS = 1_000
# Libraries write the pixels of a PNG in blocks of 8 kB or more.
_PNG_BLOCK = 4_096
_MAX_METADATA = 16 << 20
# Tags of EXIF may all refer to the same bytes, each as a copy of its own. One block of a JPEG holds
# no more than this.
_MAX_EXIF = 65_536


def is_ordinary(content: bytes) -> bool:
    """Whether Pillow opens the file within milliseconds. False for formats that are not known here.

    JPEG, PNG, GIF, WebP, and BMP without compression (Pillow decodes a compressed one in Python).
    """
    try:
        if content.startswith(b"\xff\xd8"):
            return _jpeg(content)
        if content.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(content)
        if content.startswith((b"GIF87a", b"GIF89a")):
            return _gif(content)
        if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
            return True
        if content.startswith(b"BM"):
            header, compression = struct.unpack_from("<I12xI", content, 14)
            return header == 12 or compression in (0, 3)  # plain, or plain with masks of bits
    except (struct.error, IndexError):
        # The file ends within its blocks; what is left of it is within the bounds.
        return True
    return False


def _jpeg(content: bytes) -> bool:
    """Segments up to the first scan, after which Pillow reads none."""
    at, exif = 2, 0
    for _ in range(_MAX_BLOCKS):
        if content[at] != 0xFF or at > _MAX_METADATA:
            return False
        marker = content[at + 1]
        if marker == 0xDA:
            return True
        if marker in (0x00, 0xFF):  # fill bytes
            return False
        if marker == 0xE1 and content.startswith(b"Exif\0", at + 4):
            exif += 1
        if exif > 1:
            return False
        at += 2 + int(struct.unpack_from(">H", content, at + 2)[0])
    return False


def _png(content: bytes) -> bool:
    """Chunks of the whole file."""
    at, others, pixels, metadata = 8, 0, 0, 0
    while at < len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"IEND":
            return True
        if kind == b"IDAT":
            pixels += 1
        else:
            others += 1
            metadata += size
        if kind == b"eXIf" and size > _MAX_EXIF:
            return False
        if others > _MAX_BLOCKS or pixels > _MAX_BLOCKS + len(content) // _PNG_BLOCK:
            return False
        if metadata > _MAX_METADATA:
            return False
        at += 12 + size
    return True


def _gif(content: bytes) -> bool:
    """Blocks up to the first frame, after which Pillow reads none."""
    at = 13
    if content[10] & 0x80:
        at += 3 << ((content[10] & 7) + 1)
    blocks = 0
    while blocks < _MAX_BLOCKS:
        kind = content[at]
        if kind == 0x2C:
            return True
        if kind != 0x21:
            return False
        at += 2
        while (length := content[at]) and blocks < _MAX_BLOCKS:
            at += 1 + length
            blocks += 1
        at += 1
        blocks += 1
    return False
