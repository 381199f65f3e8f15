"""Decode picture files, and report what a reader has to skip.

Every way to fail becomes a DataError that names the file. Pictures are turned upright by their EXIF
orientation where browsers do that, so that masks fit that were drawn over what a page showed: in
JPEG and PNG, not in WebP.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image, ImageFile

from model.colours import as_rgb
from model.orientation import SIDEWAYS, transpose_of
from training.errors import DataError

log = logging.getLogger(__name__)

# The markers at the start and the end of the last part of a complete file.
_LAST = {"JPEG": (b"\xff\xda", b"\xff\xd9"), "PNG": (b"IDAT", b"IEND")}

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def decode_picture(source: Path | str | bytes, name: str) -> NDArray[np.uint8]:
    """H,W,3 uint8, RGB, upright, as the server shows it to the network. Raises DataError with the
    name if it cannot be decoded."""
    with _opened(source, name) as picture:
        return as_rgb(_upright(picture), picture.format)


def decode_mask(source: Path | str | bytes, name: str) -> NDArray[np.uint8]:
    """H,W,3 uint8: the colours of a mask as they are stored, upright. Raises DataError."""
    with _opened(source, name) as picture:
        return np.asarray(_upright(picture).convert("RGB"))


def decode_labels(source: Path | str | bytes, name: str) -> NDArray[np.uint8]:
    """H,W uint8: the stored numbers of a label map, palette or grey. Raises DataError."""
    with _opened(source, name) as picture:
        if picture.mode not in ("L", "P"):
            raise DataError(
                f"{name}: a label map has one channel of 8 bits, but this is {picture.mode}."
            )
        return np.asarray(picture)


def _upright(picture: Image.Image) -> Image.Image:
    transpose = transpose_of(picture)
    return picture if transpose is None else picture.transpose(transpose)


def picture_size(source: Path | str | bytes, name: str) -> tuple[int, int]:
    """Width and height of the upright picture, from the header alone. Raises DataError."""
    with _opened(source, name, whole=False) as picture:
        width, height = picture.size
        return (height, width) if transpose_of(picture) in SIDEWAYS else (width, height)


def same_size(masks: tuple[int, ...], picture: tuple[int, ...], name: str) -> None:
    """Raises DataError with both sizes, (height, width), unless the masks fit the picture."""
    if masks[:2] != picture[:2]:
        raise DataError(
            f"{name}: the masks measure {masks[1]}x{masks[0]}, "
            f"the picture {picture[1]}x{picture[0]}."
        )


def read_json(file: Path) -> Any:
    """The content of a JSON file. Raises DataError."""
    try:
        return orjson.loads(file.read_bytes())
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.") from error
    except orjson.JSONDecodeError as error:
        raise DataError(f"{file} is not JSON: {error}.") from error


def pictures_in(folder: Path) -> dict[str, Path]:
    """All pictures in a folder and below: relative path without suffix to file."""
    pictures: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith("."):
            pictures[path.relative_to(folder).with_suffix("").as_posix()] = path
    return pictures


def chosen_split(split: str, known: Sequence[str], source: str, place: Path) -> str:
    """The split to read, by default "train". Raises DataError if there is none of this name."""
    if not split:
        log.warning("%s: no split was named; 'train' is used, of %s.", source, ", ".join(known))
        split = "train"
    if split not in known:
        raise DataError(f"{place} has no split '{split}', only {', '.join(known)}.")
    return split


@contextmanager
def _opened(
    source: Path | str | bytes, name: str, *, whole: bool = True
) -> Iterator[ImageFile.ImageFile]:
    """Open a picture; by default check that its file is complete.

    Pillow's setting for truncated files holds for the whole process, and a server needs it to show
    what browsers show. In a data set a truncated file is an error.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
            if whole and picture.fp is not None and picture.format in _LAST:
                picture.fp.seek(0)
                content = picture.fp.read()
                start, end = _LAST[picture.format]
                if content.rfind(end) < content.rfind(start):
                    raise DataError(f"{name} cannot be decoded: the file ends too early.")
            yield picture
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{name} is missing.") from error
    except Exception as error:
        # Decoders raise OSError, SyntaxError, struct.error and more for broken files.
        raise DataError(f"{name} cannot be decoded: {error}") from error


# Log entries of one data set; with a whole folder missing there would be thousands.
NAMED = 20


class SkipCounter:
    """Counts and logs what is left out of one data set."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0

    def add(self, reason: object) -> None:
        """Leave one thing out. reason: a sentence that names it."""
        self.count += 1
        if self.count <= NAMED:
            log.warning("%s: left out: %s", self.name, reason)

    def finish(self) -> int:
        """The number left out; logged if not all of them were."""
        if self.count > NAMED:
            log.warning("%s: left out %d in all.", self.name, self.count)
        return self.count
