"""Pictures of tasks: fetched, decoded and cached, for every kind of address.

``Pictures.read`` returns the pixels. ``Pictures.key_of`` takes well under a millisecond and returns
which picture an address meant last time, so that a further click does not open it at all.
"""

import hashlib
import logging
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from backend.errors import LabelStudioError, PictureAwayError, PictureError
from backend.images.address import Address, local_file, parse
from backend.images.budget import MemoryBudget
from backend.images.cache import CachedPicture, PictureCache
from backend.images.decode import Decoder
from backend.images.fetch import Fetcher
from backend.label_studio.client import LabelStudio
from backend.label_studio.payloads import Project
from backend.label_studio.projects import LabelStudioHosts
from backend.settings import Settings

_log = logging.getLogger(__name__)

# Twenty annotators who open a picture at the same time, and some to spare.
_WAITING = 32
# Pictures of other hosts than Label Studio: all of them, and those of one host.
_ELSEWHERE, _OF_ONE_HOST = 24, 8


@dataclass(frozen=True)
class Picture:
    """An upright picture. array: H,W,3 uint8 RGB, read-only; key: SHA-256 of its file."""

    key: str
    width: int
    height: int
    array: NDArray[np.uint8]


class Pictures:
    """Reads pictures within the settings' limits. Safe in threads and processes."""

    def __init__(self, settings: Settings, label_studio: LabelStudioHosts) -> None:
        self._hosts = label_studio
        self._local_root = settings.local_files_root
        self._decode = Decoder(
            settings.picture_max_pixels, MemoryBudget(settings.picture_memory_bytes)
        )
        self._fetcher = Fetcher(
            timeout_s=settings.picture_timeout_s,
            max_bytes=settings.picture_max_bytes,
            allow_private=settings.allow_private_addresses,
        )
        self._cache = PictureCache(settings.data / "pictures", settings.picture_cache_bytes)
        self._lock = threading.Lock()
        self._waiting: Counter[str] = Counter()
        self._reading: dict[str, Future[Picture]] = {}

    def read(self, address: object, project: Project | int, task_id: int | None) -> Picture:
        """The picture at ``address`` (as in the task's data). Raises PictureError."""
        place, host = self._place(address, project, task_id)
        return self._once(place, lambda: self._read(place, host))

    def key_of(
        self, address: object, project: Project | int, task_id: int | None
    ) -> CachedPicture | None:
        """Which picture is at ``address``, if that is cached; opens and fetches nothing.

        Raises PictureAddressError for an address that ``read`` refuses.
        """
        place, _ = self._place(address, project, task_id)
        return self._cache.find(place.identity)

    def kept(self, key: str) -> Picture | None:
        """The picture with this key if its file is cached; fetches nothing."""
        content = self._cache.read(key)
        if content is None:
            return None
        array = self._decode(content)
        height, width = array.shape[:2]
        return Picture(key, width, height, array)

    def forget(self, address: object, project: Project | int, task_id: int | None) -> None:
        """Fetch the picture at ``address`` again next time, since the page shows another."""
        place, _ = self._place(address, project, task_id)
        self._cache.forget(place.identity)

    def _place(
        self, address: object, project: Project | int, task_id: int | None
    ) -> tuple[Address, LabelStudio | None]:
        host, why = None, ""
        try:
            host = self._hosts.of(project)
        except LabelStudioError as error:
            # A picture at another host does not need Label Studio.
            why = str(error)
        place = parse(address, host, task_id, why)
        if place.kind == "local" and self._local_root is not None:
            place = local_file(place, self._local_root)
        return place, host

    def _once(self, place: Address, work: Callable[[], Picture]) -> Picture:
        """Run ``work`` once for all threads that need its picture at the same time.

        Only a limited number of threads wait here: the others are for clicks on cached pictures.
        Hosts that never answer leave some to pictures of Label Studio and of this machine.
        """
        limits = {"": _WAITING}
        if place.kind == "web" and self._cache.find(place.identity) is None:
            limits = {"web": _ELSEWHERE, urlsplit(place.routes[0]).netloc: _OF_ONE_HOST}
        with self._lock:
            if any(self._waiting[lane] >= most for lane, most in limits.items()):
                raise PictureAwayError(
                    "Too many pictures are fetched at the same time, and their hosts are slow. Try "
                    "again in a moment."
                )
            self._waiting.update(limits.keys())
        try:
            return self._shared(place.identity, work)
        finally:
            with self._lock:
                self._waiting.subtract(limits.keys())
                self._waiting += Counter()  # without those at 0

    def _shared(self, identity: str, work: Callable[[], Picture]) -> Picture:
        with self._lock:
            future = self._reading.get(identity)
            if future is None:
                mine: Future[Picture] = Future()
                self._reading[identity] = mine
        if future is not None:
            try:
                return future.result()
            except PictureError as error:
                # A new error for each thread, since a traceback grows with every raise.
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
                del self._reading[identity]

    def _read(self, place: Address, host: LabelStudio | None) -> Picture:
        known = self._cache.find(place.identity)
        content = self._cache.read(known.key) if known else None
        if known and content is not None:
            array = self._decode(content)
            return Picture(known.key, known.width, known.height, array)

        content = self._fetcher.read(place, host)
        array = self._decode(content)
        height, width = array.shape[:2]
        picture = Picture(hashlib.sha256(content).hexdigest(), width, height, array)
        try:
            # A picture in the task or on this machine needs no second copy.
            if place.kind not in ("inline", "file"):
                self._cache.keep(picture.key, content)
            facts = CachedPicture(picture.key, width, height)
            self._cache.note(place.identity, facts, fixed=place.fixed)
        except OSError as error:  # without a cache, clicks are slower but still work
            _log.warning("The picture cache cannot be written: %s", error.strerror)
        return picture
