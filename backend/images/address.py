"""Parses the address in a task: where its picture is, and under which key it is cached."""

import base64
import hashlib
import posixpath
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, quote, urlsplit

from backend.errors import PictureAddressError
from backend.label_studio.client import LabelStudio

Kind = Literal["upload", "local", "file", "cloud", "host", "web", "inline"]

# Read here. Of all other schemes, as "s3:" or "azure-spi:", Label Studio knows where files are.
_OWN_SCHEMES = frozenset({"http", "https", "data"})
# No page shows a picture from these, and no storage of Label Studio has them.
_REFUSED_SCHEMES = frozenset({"file", "ftp", "javascript", "blob", "about"})
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)
_UPLOADS = "/data/upload/"
_LOCAL_FILES = "/data/local-files/"
# Characters that neither Label Studio nor a browser writes into an address. They could make two
# parsers of one address see two different hosts.
_FORBIDDEN = frozenset(chr(code) for code in (*range(33), 127)) | {"\\"}


# Signed addresses have some 2,000; browsers and servers refuse longer ones. A path with a million
# folders takes a minute to resolve.
_MAX_CHARACTERS = 10_000


@dataclass(frozen=True)
class Address:
    kind: Kind
    # URLs to try in this order; for an inline picture, its data.
    routes: tuple[str, ...]
    # The cache key, the same for all projects and tasks; hashed before it names a file.
    identity: str
    # Below Label Studio's document root for the kind "local", on this machine for "file".
    local_path: str = ""
    # Whether the address always means the same picture: each upload gets a new name, but the
    # pictures at other addresses may be replaced.
    fixed: bool = False


def parse(
    address: object, label_studio: LabelStudio | None, task_id: int | None, why: str = ""
) -> Address:
    """Parse ``address``, as it is in a task's data. Raises PictureAddressError.

    why: the reason for which there is no Label Studio.
    """
    if not isinstance(address, str) or not address.strip():
        raise PictureAddressError(
            "The task has no picture: its data has no address where the labeling config "
            "expects one."
        )
    address = address.strip()
    named = _SCHEME.match(address)
    scheme = named[1].lower() if named else ""
    if scheme == "data":
        digest = hashlib.sha256(address.encode()).hexdigest()
        return Address("inline", (address,), f"data:{digest}", fixed=True)
    if len(address) > _MAX_CHARACTERS:
        raise PictureAddressError("The picture's address is too long.")
    if scheme in _REFUSED_SCHEMES:
        raise PictureAddressError(
            f"Pictures at {scheme}: addresses are not supported. Use http, https, a storage of "
            "Label Studio such as s3, gs or azure-blob, or files that Label Studio serves."
        )
    if scheme and scheme not in _OWN_SCHEMES:
        return _cloud(address, label_studio, task_id, why)
    address = _as_browsers_read(address, label_studio)
    if not _FORBIDDEN.isdisjoint(address):
        raise PictureAddressError("The picture's address contains characters that are not allowed.")

    try:
        scheme = urlsplit(address).scheme
    except ValueError:
        raise PictureAddressError("The picture's address is not valid.") from None

    if label_studio is not None and (url := label_studio.place(address)) is not None:
        return _on_host(url, label_studio)
    if scheme in ("http", "https"):
        return Address("web", (address,), address)
    _host(label_studio, address, why)
    raise PictureAddressError(f"The address {shown(address)} is not that of a picture.")


def _as_browsers_read(address: str, label_studio: LabelStudio | None) -> str:
    """A backslash is a slash in front of the query and a character of it behind; "//host" has the
    page's scheme; tabs and line breaks do not count."""
    address = re.sub(r"[\t\r\n]", "", address)
    path, mark, query = address.partition("?")
    address = path.replace("\\", "/") + mark + query.replace("\\", "%5C")
    if address.startswith("//"):
        address = f"{urlsplit(label_studio.url).scheme if label_studio else 'http'}:{address}"
    return address.replace(" ", "%20")


def local_file(place: Address, root: Path) -> Address:
    """An address of the kind "local" as a file below ``root``, or unchanged if there is none.

    root: Label Studio's LOCAL_FILES_DOCUMENT_ROOT. Raises PictureAddressError for a path that leads
    out of it.
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
    # A link out of the folder may be intended; Label Studio decides who may follow it.
    if not path.is_relative_to(root) or not path.is_file():
        return place
    # Keyed by time and size too, so that a replaced file is another picture.
    identity = f"file {path} {state.st_mtime_ns} {state.st_size}"
    return replace(place, kind="file", local_path=str(path), fixed=True, identity=identity)


def shown(address: str) -> str:
    """``address`` for messages: shortened, without user, password, query and fragment."""
    try:
        parts = urlsplit(address)
    except ValueError:  # such as half an IPv6 address
        return "(not valid)"
    host = parts.netloc.rpartition("@")[2]
    text = f"{parts.scheme}://{host}{parts.path}" if host else parts.path
    return text if len(text) <= 120 else f"{text[:60]}…{text[-50:]}"


def _host(label_studio: LabelStudio | None, address: str, why: str) -> LabelStudio:
    if label_studio is None:
        reason = why or (
            "The address of Label Studio is unknown. Ask the admin to set "
            "PHRASECLICK_LABEL_STUDIO_URL."
        )
        raise PictureAddressError(f"The picture {shown(address)} is in Label Studio. {reason}")
    return label_studio


def _on_host(url: str, label_studio: LabelStudio) -> Address:
    parts = urlsplit(url)
    base = urlsplit(label_studio.url).path
    path = parts.path.removeprefix(base)
    if path.startswith(_UPLOADS):
        # Label Studio serves uploads in a bucket at the first URL only, and those on disk at the
        # second only, unless it is configured otherwise.
        name = quote(f"upload/{path.removeprefix(_UPLOADS)}", safe="/%")
        stored = f"{label_studio.url}/storage-data/uploaded/?filepath={name}"
        return Address("upload", (stored, url), f"host {url}", fixed=True)
    if path.rstrip("/") == _LOCAL_FILES.rstrip("/"):
        local = parse_qs(parts.query).get("d", [""])[0]
        return Address("local", (url,), f"host {url}", local)
    return Address("host", (url,), f"host {url}")


def _cloud(
    address: str, label_studio: LabelStudio | None, task_id: int | None, why: str
) -> Address:
    label_studio = _host(label_studio, address, why)
    if task_id is None:
        raise PictureAddressError(
            f"The picture {shown(address)} is in cloud storage, which Label Studio opens only for "
            "its own tasks, and this task has no id."
        )
    encoded = base64.urlsafe_b64encode(address.encode()).decode()
    route = f"{label_studio.url}/tasks/{task_id}/presign/?fileuri={quote(encoded)}"
    return Address("cloud", (route,), f"cloud {label_studio.url} {address}")
