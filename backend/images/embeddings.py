"""From a task's picture to its embedding: cached after the first click, and often before it.

A further click reads no picture, no file and no database: the picture's content hash is known from
the click before, and the predictor holds the embedding of that hash. Each version of the model has
embeddings of its own.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from cachetools import TTLCache

from backend.errors import PictureAddressError, PictureFormatError
from backend.images.loader import Pictures
from backend.label_studio.controls import ImageControls
from backend.label_studio.payloads import Project, Task
from backend.metrics import Metrics
from model.errors import PhraseClickError
from model.predictor import Embedding, Predictor

_log = logging.getLogger(__name__)

# Pictures encoded in the background; more than this many waiting are dropped.
_AHEAD_AT_ONCE = 1
_AHEAD_WAITING = 32
# How long a picture's content hash is used without asking the picture cache again: another process
# may have found another picture at the address.
_KNOWN_S = 60.0
_KNOWN = 4096
# A picture inside its address may have some 60 MB. Longer ones are not kept in memory: of those
# that are known, and of those that wait to be encoded.
_KNOWN_CHARACTERS = 2_000
_KEPT_CHARACTERS = 1 << 20

# Measures the time of a step, by its name.
Timed = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class TaskPicture:
    """The address of a task's picture, with its project and task."""

    address: str
    project: Project
    task_id: int | None

    @classmethod
    def of(cls, task: Task, image: ImageControls, project: Project) -> "TaskPicture":
        return cls(image.address(task.data), project, task.id)


class Embeddings:
    """Embeddings of tasks' pictures. Thread-safe; no picture is encoded twice at the same time."""

    def __init__(self, pictures: Pictures, metrics: Metrics) -> None:
        self._pictures = pictures
        self._metrics = metrics
        self._ahead = ThreadPoolExecutor(_AHEAD_AT_ONCE, thread_name_prefix="ahead")
        self._waiting: set[tuple[TaskPicture, str]] = set()
        self._known: TTLCache[TaskPicture, str] = TTLCache(
            _KNOWN, _KNOWN_S, time.monotonic
        )  # hashes
        self._lock = threading.Lock()

    def of(
        self,
        place: TaskPicture,
        predictor: Predictor,
        *,
        shown: tuple[int, int] | None = None,
        timed: Timed = lambda step: nullcontext(),
    ) -> Embedding:
        """The picture's embedding, from the cache if possible.

        Args:
            place: the picture.
            predictor: the version that encodes it.
            shown: width and height in pixels of the picture on the page. If they differ, the
                picture was replaced at its address: it is fetched again, and refused if it still
                differs, since a mask of another size would be drawn as stripes.
            timed: measures the steps "picture" and "encode".

        Raises:
            PictureError, LabelStudioError: the picture cannot be read.
        """
        if not place.address:
            raise PictureAddressError(
                "The task's data has no picture where the labeling config expects it."
            )
        embedding = self.at_hand(place, predictor)
        self._metrics.embedding(at_hand=embedding is not None)
        embedding = embedding or self._encode(place, predictor, timed)
        if shown is not None and shown != (embedding.width, embedding.height):
            with self._lock:
                self._known.pop(place, None)
            self._pictures.forget(place.address, place.project, place.task_id)
            embedding = self._encode(place, predictor, timed)
            if shown != (embedding.width, embedding.height):
                raise PictureFormatError(
                    f"The page shows a picture of {shown[0]}×{shown[1]}, but its address now has "
                    f"one of {embedding.width}×{embedding.height}. Reload the page."
                )
        self._metrics.cached(predictor.cached_bytes)
        return embedding

    def _encode(self, place: TaskPicture, predictor: Predictor, timed: Timed) -> Embedding:
        # Threads that need the same picture at the same time wait here and share the result.
        with timed("picture"):
            picture = self._pictures.read(place.address, place.project, place.task_id)
        self._remember(place, picture.key)
        with timed("encode"):
            return predictor.encode(picture.array, picture.key)

    def at_hand(self, place: TaskPicture, predictor: Predictor) -> Embedding | None:
        """The embedding if it is cached; reads no picture."""
        with self._lock:
            key = self._known.get(place)
        if key is None:
            key = self._pictures.key_of(place.address, place.project, place.task_id)
            if key is None:
                return None
            self._remember(place, key)
        return predictor.cached(key)

    def _remember(self, place: TaskPicture, key: str) -> None:
        if len(place.address) <= _KNOWN_CHARACTERS:
            with self._lock:
                self._known[place] = key

    def ahead(self, place: TaskPicture, predictor: Predictor) -> None:
        """Encode in the background, so that the first click is as fast as the next."""
        job = (place, predictor.version)
        if len(place.address) > _KEPT_CHARACTERS:
            return
        with self._lock:
            if not place.address or job in self._waiting or len(self._waiting) >= _AHEAD_WAITING:
                return
            self._waiting.add(job)
        self._ahead.submit(self._encode_ahead, place, predictor)

    def close(self) -> None:
        """Cancel what waits, and finish what runs."""
        self._ahead.shutdown(wait=True, cancel_futures=True)

    def _encode_ahead(self, place: TaskPicture, predictor: Predictor) -> None:
        try:
            self.of(place, predictor)
        except PhraseClickError as error:
            # The next click will fail too, and show the error on the page.
            self._metrics.failure(error)
            _log.warning("Task %s cannot be encoded ahead: %s", place.task_id, error)
        except Exception:
            _log.exception("Task %s cannot be encoded ahead", place.task_id)
        finally:
            with self._lock:
                self._waiting.discard((place, predictor.version))
