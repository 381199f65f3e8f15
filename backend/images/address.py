"""What the address in a task means: where its picture lies and by what name the cache knows it."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, quote, urlsplit

from backend.errors import PictureAddressError
from backend.label_studio.client import LabelStudio

Kind = Literal["upload", "local", "file", "cloud", "host", "web", "inline"]

_CLOUD = frozenset({"s3", "gs", "azure-blob"})
_UPLOADS = "/data/upload/"
_LOCAL_FILES = "/data/local-files/"
# Nothing that Label Studio or a browser would write into an address, and food for the kind of
# trick where two readers of an address see two hosts in it.
_FORBIDDEN = frozenset(chr(code) for code in (*range(33), 127)) | {"\\"}


@dataclass(frozen=True)
class Address:
    """A picture's address, understood."""

    kind: Kind
    # URLs to try, in this order; of an inline picture the data itself.
    routes: tuple[str, ...]
    # Below Label Studio's document root for the kind "local", on this machine for "file".
    local_path: str = ""
    # Uploads get a new name each; what lies behind other addresses may be replaced.
    fixed: bool = False
    # Short and without query, user or password, which may hold secrets: for people to read.
    shown: str = ""
    # Different for different pictures, whoever asks; hashed before it names a file.
    identity: str = ""


def parse(address: object, label_studio: LabelStudio | None, task_id: int | None) -> Address:
    """Understand ``address``, as it stands in a task's data; raises PictureAddressError."""
    if not isinstance(address, str) or not address.strip():
        raise PictureAddressError(
            "The task has no picture: its data holds no address where the labeling config "
            "looks for one."
        )
    address = address.strip()
    scheme = address.partition(":")[0].lower() if ":" in address else ""
    if scheme == "data":
        digest = hashlib.sha256(address.encode()).hexdigest()
        return Address("inline", (address,), "", True, "the picture in the task", f"data:{digest}")
    if scheme in _CLOUD:
        return _cloud(address, label_studio, task_id)
    address = address.replace(" ", "%20")
    if not _FORBIDDEN.isdisjoint(address):
        raise PictureAddressError("The picture's address has characters that no address may have.")

    try:
        urlsplit(address)
    except ValueError:
        raise PictureAddressError("The picture's address is not a valid one.") from None

    url = label_studio.place(address) if label_studio else None
    if url is not None and label_studio is not None:
        return _on_host(url, label_studio)
    if scheme in ("http", "https"):
        return Address("web", (address,), shown=shown(address), identity=address)
    if scheme and "/" not in address.partition(":")[0]:
        raise PictureAddressError(
            f"Pictures cannot be read from {scheme}: addresses. Use http, https, s3, gs, "
            "azure-blob, or files that Label Studio serves."
        )
    _host(label_studio, address)
    raise PictureAddressError(f"The picture's address {shown(address)} is not one of a picture.")


def shown(address: str) -> str:
    """``address`` as a sentence may show it: short, without user, password, query and fragment."""
    try:
        parts = urlsplit(address)
    except ValueError:  # half an IPv6 address, say
        return "(not readable)"
    host = parts.netloc.rpartition("@")[2]
    text = f"{parts.scheme}://{host}{parts.path}" if host else parts.path
    return text if len(text) <= 120 else f"{text[:60]}…{text[-50:]}"


def _host(label_studio: LabelStudio | None, address: str) -> LabelStudio:
    if label_studio is None:
        raise PictureAddressError(
            f"The picture {shown(address)} lies in Label Studio, and it is not known where that "
            "is. Ask the admin to set PHRASECLICK_LABEL_STUDIO_URL."
        )
    return label_studio


def _on_host(url: str, label_studio: LabelStudio) -> Address:
    parts = urlsplit(url)
    base = urlsplit(label_studio.url).path
    path = parts.path.removeprefix(base)
    seen = shown(url)
    if path.startswith(_UPLOADS):
        # Uploads kept in a bucket are handed out at the first address only, those on disk (unless
        # a setting of Label Studio's says so) at the second only.
        name = quote(f"upload/{path.removeprefix(_UPLOADS)}", safe="/%")
        stored = f"{label_studio.url}/storage-data/uploaded/?filepath={name}"
        return Address("upload", (stored, url), "", True, seen, f"host {url}")
    if path.rstrip("/") == _LOCAL_FILES.rstrip("/"):
        local = parse_qs(parts.query).get("d", [""])[0]
        return Address("local", (url,), local, False, seen, f"host {url}")
    return Address("host", (url,), "", False, seen, f"host {url}")


def _cloud(address: str, label_studio: LabelStudio | None, task_id: int | None) -> Address:
    label_studio = _host(label_studio, address)
    if task_id is None:
        raise PictureAddressError(
            f"The picture {shown(address)} lies in cloud storage, which Label Studio opens for a "
            "task of its own only, and this one has no id."
        )
    encoded = base64.urlsafe_b64encode(address.encode()).decode()
    route = f"{label_studio.url}/tasks/{task_id}/presign/?fileuri={quote(encoded)}"
    identity = f"cloud {label_studio.url} {address}"
    return Address("cloud", (route,), "", False, shown(address), identity)
