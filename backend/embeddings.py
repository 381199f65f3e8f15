"""From a task's picture to its embedding: at hand after the first click, and often before it.

The way a further click takes reads no picture: the address leads to a content hash that the picture
cache knows, and the hash to an embedding that the predictor holds.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from backend.errors import PictureAddressError, PictureFormatError
from backend.metrics import Metrics
from backend.pictures import Pictures
from model.errors import PhraseClickError
from model.predictor import Embedding, Predictor

_log = logging.getLogger(__name__)

# Pictures being opened while nobody waits; beyond that an opening is not worth a queue.
_AHEAD_AT_ONCE = 1
_AHEAD_WAITING = 32

# Times a step by name, where somebody asks for it.
Timed = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class Place:
    """Where a task's picture lies and whose it is."""

    address: str
    project_id: int
    task_id: int | None


class Embeddings:
    """Embeddings of tasks' pictures. Thread-safe; no picture is encoded twice at once."""

    def __init__(self, pictures: Pictures, predictor: Predictor, metrics: Metrics) -> None:
        self._pictures = pictures
        self._predictor = predictor
        self._metrics = metrics
        self._ahead = ThreadPoolExecutor(_AHEAD_AT_ONCE, thread_name_prefix="ahead")
        self._waiting: set[Place] = set()
        self._guard = threading.Lock()

    def of(
        self,
        place: Place,
        *,
        shown: tuple[int, int] | None = None,
        timed: Timed = lambda step: nullcontext(),
    ) -> Embedding:
        """The picture's embedding, from the cache where it is there.

        shown: width and height of the picture on the page. Where the picture is another, it was
        replaced at its address: it is fetched anew, and refused if it still differs, since a mask
        of another size would be drawn as stripes.

        Raises:
            PictureError, LabelStudioError: the picture could not be had.
        """
        if not place.address:
            raise PictureAddressError(
                "The task's data has no picture where the labeling config looks for it."
            )
        found = self.at_hand(place)
        self._metrics.embedding(at_hand=found is not None)
        found = found or self._made(place, timed)
        if shown is not None and shown != (found.width, found.height):
            self._pictures.forget(place.address, place.project_id, place.task_id)
            found = self._made(place, timed)
            if shown != (found.width, found.height):
                raise PictureFormatError(
                    f"The page shows a picture of {shown[0]}×{shown[1]}, but its address gives one "
                    f"of {found.width}×{found.height}: it was replaced. Reload the page."
                )
        return found

    def _made(self, place: Place, timed: Timed) -> Embedding:
        # Who asks at the same time waits inside these two and gets the same.
        with timed("picture"):
            picture = self._pictures.read(place.address, place.project_id, place.task_id)
        with timed("encode"):
            return self._predictor.encode(picture.array, picture.key)

    def at_hand(self, place: Place) -> Embedding | None:
        """The embedding if it is cached; reads no picture."""
        known = self._pictures.key_of(place.address, place.project_id, place.task_id)
        return None if known is None else self._predictor.cached(known.key)

    def ahead(self, place: Place) -> None:
        """Encode in the background, so that the first click is as quick as the next."""
        with self._guard:
            if not place.address or place in self._waiting or len(self._waiting) >= _AHEAD_WAITING:
                return
            self._waiting.add(place)
        self._ahead.submit(self._encode_ahead, place)

    def close(self) -> None:
        """Drop what waits, finish what runs."""
        self._ahead.shutdown(wait=True, cancel_futures=True)

    def _encode_ahead(self, place: Place) -> None:
        try:
            self.of(place)
        except PhraseClickError as error:
            # The click that follows fails too and says so on the page.
            self._metrics.failure(error)
            _log.warning("Task %s cannot be encoded ahead: %s", place.task_id, error)
        except Exception:
            _log.exception("Task %s cannot be encoded ahead", place.task_id)
        finally:
            with self._guard:
                self._waiting.discard(place)
