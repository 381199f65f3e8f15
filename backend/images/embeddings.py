"""From a task's picture to its embedding: at hand after the first click, and often before it.

The way a further click takes reads no picture: the address leads to a content hash that the picture
cache knows, and the hash to an embedding that the predictor holds. Each version of the model has
embeddings of its own; when another one begins to serve, the pictures on people's screens are
encoded for it at once.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from backend.errors import PictureAddressError, PictureFormatError
from backend.images.loader import Pictures
from backend.label_studio.payloads import Project
from backend.metrics import Metrics
from model.errors import PhraseClickError
from model.predictor import Embedding, Predictor

_log = logging.getLogger(__name__)

# Pictures being opened while nobody waits; beyond that an opening is not worth a queue.
_AHEAD_AT_ONCE = 1
_AHEAD_WAITING = 32
# Pictures that somebody may have on the screen.
_ON_SCREEN = 16
_ON_SCREEN_S = 600.0

# Times a step by name, where somebody asks for it.
Timed = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class Place:
    """Where a task's picture lies and whose it is."""

    address: str
    project: Project
    task_id: int | None


class Embeddings:
    """Embeddings of tasks' pictures. Thread-safe; no picture is encoded twice at once."""

    def __init__(self, pictures: Pictures, metrics: Metrics) -> None:
        self._pictures = pictures
        self._metrics = metrics
        self._ahead = ThreadPoolExecutor(_AHEAD_AT_ONCE, thread_name_prefix="ahead")
        self._waiting: set[tuple[Place, str]] = set()
        self._on_screen: OrderedDict[Place, float] = OrderedDict()
        self._guard = threading.Lock()

    def of(
        self,
        place: Place,
        predictor: Predictor,
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
        found = self.at_hand(place, predictor)
        self._metrics.embedding(at_hand=found is not None)
        found = found or self._made(place, predictor, timed)
        if shown is not None and shown != (found.width, found.height):
            self._pictures.forget(place.address, place.project.id, place.task_id)
            found = self._made(place, predictor, timed)
            if shown != (found.width, found.height):
                raise PictureFormatError(
                    f"The page shows a picture of {shown[0]}×{shown[1]}, but its address gives one "
                    f"of {found.width}×{found.height}: it was replaced. Reload the page."
                )
        self._metrics.cached(predictor.cached_bytes)
        return found

    def _made(self, place: Place, predictor: Predictor, timed: Timed) -> Embedding:
        # Who asks at the same time waits inside these two and gets the same.
        with timed("picture"):
            picture = self._pictures.read(place.address, place.project.id, place.task_id)
        with timed("encode"):
            return predictor.encode(picture.array, picture.key)

    def at_hand(self, place: Place, predictor: Predictor) -> Embedding | None:
        """The embedding if it is cached; reads no picture."""
        known = self._pictures.key_of(place.address, place.project.id, place.task_id)
        return None if known is None else predictor.cached(known.key)

    def ahead(self, place: Place, predictor: Predictor) -> None:
        """Encode in the background, so that the first click is as quick as the next."""
        job = (place, predictor.version)
        with self._guard:
            if not place.address or job in self._waiting or len(self._waiting) >= _AHEAD_WAITING:
                return
            self._waiting.add(job)
        self._ahead.submit(self._encode_ahead, place, predictor)

    def on_screen(self, place: Place) -> None:
        """Somebody has this picture before them."""
        with self._guard:
            self._on_screen[place] = time.monotonic()
            self._on_screen.move_to_end(place)
            if len(self._on_screen) > _ON_SCREEN:
                self._on_screen.popitem(last=False)

    def renew(self, serves: Callable[[Project], Predictor]) -> None:
        """Another version serves: encode for it what people have before them, the latest first."""
        limit = time.monotonic() - _ON_SCREEN_S
        with self._guard:
            places = [place for place, at in self._on_screen.items() if at > limit]
        for place in reversed(places):
            predictor = serves(place.project)
            if self.at_hand(place, predictor) is None:
                self.ahead(place, predictor)

    def close(self) -> None:
        """Drop what waits, finish what runs."""
        self._ahead.shutdown(wait=True, cancel_futures=True)

    def _encode_ahead(self, place: Place, predictor: Predictor) -> None:
        try:
            self.of(place, predictor)
        except PhraseClickError as error:
            # The click that follows fails too and says so on the page.
            self._metrics.failure(error)
            _log.warning("Task %s cannot be encoded ahead: %s", place.task_id, error)
        except Exception:
            _log.exception("Task %s cannot be encoded ahead", place.task_id)
        finally:
            with self._guard:
                self._waiting.discard((place, predictor.version))
