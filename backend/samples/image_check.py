"""Checks the pictures under accepted masks: whether they can be read and are still the same.

A sample names its picture by address, and the file there may be replaced or deleted. So the first
check after an annotation saves the SHA-256 of the file, which also decides which side of the split
the picture is on; from then on only that content counts. Checks run apart from webhooks, which must
not wait for slow storage.

If a host is down, nothing is known about its pictures: they keep their state and are checked later.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, RowMapping, select, update

from backend.db.engine import Database
from backend.db.models import AnnotatedPictureRow, AnnotationRow, SampleRow, same_annotation
from backend.errors import PictureAwayError, PictureError, PictureFormatError
from backend.images.loader import Picture, Pictures
from backend.label_studio.payloads import Project

_log = logging.getLogger(__name__)

State = Literal["unseen", "good", "gone", "changed"]

# A picture that failed is checked again after this, and then after twice as long each time.
_FIRST_PAUSE = timedelta(minutes=5)
_LONGEST_PAUSE = timedelta(days=1)
# A host with this many failures in a row, each slower than this, is left alone for a while.
_SLOW_S = 1.0
_FAILURES = 2
_REST_S = 60.0
_AT_ONCE = 50


@dataclass(frozen=True)
class LabeledPicture:
    """A picture under masks. ``key``: SHA-256 of the file they were drawn on, '' if unchecked."""

    project: str
    annotation_id: int
    task_id: int
    image: str
    address: str
    key: str
    attempts: int = 0

    @classmethod
    def of(cls, row: RowMapping) -> "LabeledPicture":
        return cls(**{column.name: row[column.name] for column in fields(cls)})

    @property
    def samples(self) -> ColumnElement[bool]:
        of_annotation = SampleRow.annotation_id == self.annotation_id
        return (SampleRow.project == self.project) & of_annotation & (SampleRow.image == self.image)


class _RestingError(PictureAwayError):
    """The host was not asked, because it failed slowly a moment ago."""


@dataclass(frozen=True)
class ImageCheck:
    """Reads the pictures of samples and saves their state. Thread-safe."""

    database: Database
    pictures: Pictures
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    # By project and host: slow failures in a row, until when it rests, and the last error.
    _slow: dict[tuple[str, str], tuple[int, float, str]] = field(default_factory=dict)
    _unreached: set[LabeledPicture] = field(default_factory=set)

    @property
    def unreached(self) -> int:
        """Number of pictures whose host was down when they were last read."""
        return len(self._unreached)

    def run(self, seconds: float) -> int:
        """Check new pictures, and failed ones again; returns how many were checked."""
        ends = time.monotonic() + seconds
        checked = 0
        while places := self._due():
            for place in places:
                if time.monotonic() > ends:
                    return checked
                self._check(place)
                checked += 1
        return checked

    def read(self, place: LabeledPicture) -> Picture:
        """The picture as it was when its masks were drawn. While it is in the cache, its address is
        not read.

        Raises PictureError and saves the picture's state as gone or changed; raises
        PictureAwayError and leaves the state alone if the host is down.
        """
        cached = self.pictures.kept(place.key) if place.key else None
        if cached is not None:
            return cached
        try:
            picture = self._fetch(place)
        except PictureAwayError:
            self._unreached.add(place)
            raise
        except PictureError as error:
            self._save_failure(place, "gone", str(error))
            raise
        self._unreached.discard(place)
        if place.key and picture.key != place.key:
            raise self._changed(
                place, "The picture at its address is not the one that was labeled."
            )
        return picture

    # -- inside

    def _fetch(self, place: LabeledPicture) -> Picture:
        host = place.project, ""
        with suppress(ValueError):  # such as half an IPv6 address, which reading it refuses
            host = place.project, urlsplit(place.address).netloc
        began = time.monotonic()
        failures, until, sentence = self._slow.get(host, (0, 0.0, ""))
        if failures >= _FAILURES and began < until:
            raise _RestingError(sentence)
        try:
            picture = self.pictures.read(place.address, Project.read(place.project), place.task_id)
        except PictureAwayError as error:
            now = time.monotonic()
            failures = failures + 1 if now - began > _SLOW_S else 0
            self._slow[host] = failures, now + _REST_S, str(error)
            raise
        except PictureError:
            self._slow.pop(host, None)
            raise
        self._slow.pop(host, None)
        return picture

    def _due(self) -> list[LabeledPicture]:
        picture = AnnotatedPictureRow
        now, after = self.clock(), picture.look_after
        # A pause that is longer than any: the clock was set back.
        again = after.is_(None) | (after <= now) | (after > now + _LONGEST_PAUSE)
        query = (
            select(picture, AnnotationRow.task_id)
            .join(AnnotationRow, same_annotation(AnnotationRow, picture))
            .where(picture.state.in_(("unseen", "gone", "changed")), again)
            .order_by(picture.attempts, picture.project, picture.annotation_id, picture.image)
            .limit(_AT_ONCE)
        )
        with self.database.read() as connection:
            return [LabeledPicture.of(row) for row in connection.execute(query).mappings()]

    def _check(self, place: LabeledPicture) -> None:
        try:
            picture = self.read(place)
            self._check_size(place, picture)
        except PictureError as error:
            if isinstance(error, PictureAwayError):
                asked = not isinstance(error, _RestingError)
                self._save(
                    place,
                    look_after=self.clock() + _FIRST_PAUSE,
                    attempts=place.attempts + asked,
                    error=str(error),
                )
            _log.info(
                "The picture of annotation %d, task %d of project %s cannot be used: %s",
                place.annotation_id,
                place.task_id,
                place.project,
                error,
            )
            return
        except Exception as error:  # one picture must not stop the check of all others
            _log.exception("Picture of task %d, project %s", place.task_id, place.project)
            what = f"An unexpected error occurred ({type(error).__name__}); see the worker's log."
            self._save_failure(place, "gone", what)
            return
        self._save(place, state="good", key=picture.key, look_after=None, attempts=0, error="")

    def _check_size(self, place: LabeledPicture, picture: Picture) -> None:
        """Raises PictureError if the masks have another size, so were drawn on another picture."""
        query = select(SampleRow.width, SampleRow.height).where(place.samples)
        with self.database.read() as connection:
            sizes = {(row.width, row.height) for row in connection.execute(query.distinct())}
        if sizes - {(picture.width, picture.height)}:
            width, height = next(iter(sizes))
            raise self._changed(
                place,
                f"The picture at its address measures {picture.width}x{picture.height}, the one "
                f"that was labeled {width}x{height}.",
            )

    def _changed(self, place: LabeledPicture, sentence: str) -> PictureError:
        self._save_failure(place, "changed", sentence)
        return PictureFormatError(sentence)

    def _save_failure(self, place: LabeledPicture, state: State, sentence: str) -> None:
        pause = min(_FIRST_PAUSE * 2 ** min(place.attempts, 10), _LONGEST_PAUSE)
        self._save(
            place,
            state=state,
            look_after=self.clock() + pause,
            attempts=place.attempts + 1,
            error=sentence,
        )

    def _save(self, place: LabeledPicture, **values: Any) -> None:
        """Save values, unless the annotation has another picture by now."""
        here = (
            (AnnotatedPictureRow.project == place.project)
            & (AnnotatedPictureRow.annotation_id == place.annotation_id)
            & (AnnotatedPictureRow.image == place.image)
            & (AnnotatedPictureRow.address == place.address)
        )
        with self.database.write() as connection:
            connection.execute(update(AnnotatedPictureRow).where(here).values(**values))
