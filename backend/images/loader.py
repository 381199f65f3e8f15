"""Pictures of tasks: found, downloaded, decoded and kept, whatever kind of address they have.

``Pictures.read`` gives the pixels; ``Pictures.key_of`` tells in well under a millisecond what an
address was found to be last time, so that a further click need not touch the picture at all.
"""

import contextlib
import hashlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.errors import LabelStudioError, PictureError
from backend.images.address import Address, parse
from backend.images.cache import CachedPicture, PictureCache
from backend.images.decode import decode
from backend.images.fetch import Fetcher
from backend.images.local import file_bytes, inline_bytes, local_file
from backend.label_studio.client import LabelStudio
from backend.label_studio.projects import LabelStudioHosts
from backend.settings import Settings

__all__ = ["CachedPicture", "Picture", "Pictures"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Picture:
    """An upright picture: ``array`` H,W,3 uint8 RGB, read-only; ``key`` its file's SHA-256."""

    key: str
    width: int
    height: int
    array: NDArray[np.uint8]


class Pictures:
    """Reads pictures within the settings' limits; safe in threads and processes."""

    def __init__(self, settings: Settings, label_studio: LabelStudioHosts) -> None:
        self._hosts = label_studio
        self._local_root = settings.local_files_root
        self._max_bytes = settings.picture_max_bytes
        self._max_pixels = settings.picture_max_pixels
        self._fetcher = Fetcher(
            timeout_s=settings.picture_timeout_s,
            max_bytes=settings.picture_max_bytes,
            allow_private=settings.allow_private_addresses,
        )
        self._cache = PictureCache(settings.data / "pictures", settings.picture_cache_bytes)
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[Picture]] = {}

    def read(self, address: object, project_id: int, task_id: int | None) -> Picture:
        """The picture at ``address`` (as in the task's data); raises PictureError."""
        place, host = self._place(address, project_id, task_id)
        return self._once(place.identity, lambda: self._read(place, host))

    def key_of(self, address: object, project_id: int, task_id: int | None) -> CachedPicture | None:
        """What the picture at ``address`` is, where that is known; opens and fetches nothing.

        Raises PictureAddressError for an address that ``read`` would refuse too.
        """
        place, _ = self._place(address, project_id, task_id)
        return self._cache.find(place.identity)

    def kept(self, key: str) -> Picture | None:
        """The picture with this content, where its file is still kept; fetches nothing."""
        content = self._cache.read(key)
        if content is None:
            return None
        array = decode(content, self._max_pixels)
        height, width = array.shape[:2]
        return Picture(key, width, height, array)

    def forget(self, address: object, project_id: int, task_id: int | None) -> None:
        """Fetch the picture at ``address`` anew next time: it is not what the page shows."""
        place, _ = self._place(address, project_id, task_id)
        self._cache.forget(place.identity)

    def _place(
        self, address: object, project_id: int, task_id: int | None
    ) -> tuple[Address, LabelStudio | None]:
        host = None
        # Addresses that need Label Studio are refused below, with their own sentence.
        with contextlib.suppress(LabelStudioError):
            host = self._hosts.of(project_id)
        place = parse(address, host, task_id)
        if place.kind == "local" and self._local_root is not None:
            place = local_file(place, self._local_root)
        return place, host

    def _once(self, identity: str, work: Callable[[], Picture]) -> Picture:
        """``work``'s picture; who asks for it while another works on it gets the same."""
        with self._lock:
            future = self._under_way.get(identity)
            if future is None:
                mine: Future[Picture] = Future()
                self._under_way[identity] = mine
        if future is not None:
            try:
                return future.result()
            except PictureError as error:
                # Each thread its own: a traceback grows with every raise.
                raise type(error)(str(error)) from None
        try:
            picture = work()
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(picture)
            return picture
        finally:
            with self._lock:
                del self._under_way[identity]

    def _read(self, place: Address, host: LabelStudio | None) -> Picture:
        known = self._cache.find(place.identity)
        content = self._cache.read(known.key) if known else None
        if known and content is not None:
            array = decode(content, self._max_pixels)
            return Picture(known.key, known.width, known.height, array)

        content = self._content(place, host)
        array = decode(content, self._max_pixels)
        height, width = array.shape[:2]
        picture = Picture(hashlib.sha256(content).hexdigest(), width, height, array)
        try:
            # What is at hand anyway, inline or on this machine, needs no second copy.
            if place.kind not in ("inline", "file"):
                self._cache.keep(picture.key, content)
            facts = CachedPicture(picture.key, width, height)
            self._cache.note(place.identity, facts, fixed=place.fixed)
        except OSError as error:  # a full disk makes clicks slow, not wrong
            log.warning("the picture cache cannot be written: %s", error.strerror)
        return picture

    def _content(self, place: Address, host: LabelStudio | None) -> bytes:
        if place.kind == "inline":
            return inline_bytes(place.routes[0], self._max_bytes)
        if place.kind == "file":
            return file_bytes(place, self._max_bytes)
        return self._fetcher.fetch(place.routes, host)
