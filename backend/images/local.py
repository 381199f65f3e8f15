"""Pictures that need no download: in the address itself, or in a folder of Label Studio's."""

import base64
import binascii
import posixpath
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote_to_bytes

from backend.errors import (
    PictureAddressError,
    PictureError,
    PictureFetchError,
    PictureFormatError,
)
from backend.images.address import Address


def inline_bytes(address: str, max_bytes: int) -> bytes:
    """What a ``data:`` address holds."""
    # Base64 takes four characters for three bytes, percent signs up to three for one.
    if len(address) > max_bytes * 3 + 200:
        raise too_large(max_bytes)
    header, comma, body = address.partition(",")
    if not comma:
        raise PictureAddressError("The picture in the task's data is cut off.")
    content = unquote_to_bytes(body)
    if header.lower().endswith(";base64"):
        try:
            content = base64.b64decode(b"".join(content.split()) + b"==")
        except binascii.Error:
            raise PictureAddressError("The picture in the task's data is cut off.") from None
    if len(content) > max_bytes:
        raise too_large(max_bytes)
    return content


def local_file(place: Address, root: Path) -> Address:
    """``place`` as a file below ``root``; as it came where there is none, for Label Studio to find.

    ``root`` is what Label Studio calls LOCAL_FILES_DOCUMENT_ROOT, and ``place`` an address of the
    kind "local".
    """
    relative = posixpath.normpath(place.local_path.lstrip("/")) if place.local_path else ""
    if relative in ("", ".", "..") or relative.startswith("../") or "\0" in relative:
        raise PictureAddressError(
            "The picture's address leads out of the folder that Label Studio shares."
        )
    try:
        root = root.resolve()
        path = (root / relative).resolve()
        state = path.stat()
    except OSError:
        return place
    # A link that leads out of the folder may be meant: Label Studio knows who may follow it.
    if not path.is_relative_to(root) or not path.is_file():
        return place
    # With time and size in its name, a file that is replaced is another picture.
    identity = f"file {path} {state.st_mtime_ns} {state.st_size}"
    return replace(place, kind="file", local_path=str(path), fixed=True, identity=identity)


def file_bytes(place: Address, max_bytes: int) -> bytes:
    """What the file of an address of the kind "file" holds."""
    try:
        with open(place.local_path, "rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise PictureFetchError(
            f"The picture {place.shown} could not be read from the shared folder: "
            f"{error.strerror}. Ask the admin to check its permissions."
        ) from None
    if len(content) > max_bytes:
        raise too_large(max_bytes)
    return content


def too_large(max_bytes: int) -> PictureError:
    """What to raise for a file of more than ``max_bytes``."""
    return PictureFormatError(
        f"The picture could not be read: its file is larger than {max_bytes / (1 << 20):.0f} MB. "
        "The admin can set PHRASECLICK_PICTURE_MAX_BYTES."
    )
