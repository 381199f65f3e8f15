"""Looks at the pictures under accepted masks: what they are, and whether they still are that.

A sample names its picture by address, and what lies there may be replaced or go. So the first look
after an annotation notes the SHA-256 of the file, which also decides on which side of the split the
picture falls; from then on only that content counts. Looking is apart from taking in the news,
which must not wait for anybody's slow storage.

A host that is away tells nothing of its pictures: those are left as they were, and looked at later.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from sqlalchemy import RowMapping, select, update

from backend.db import sample_tables
from backend.db.engine import Database
from backend.errors import PictureAwayError, PictureError, PictureFormatError
from backend.images.loader import Picture, Pictures
from backend.label_studio.payloads import Project

_log = logging.getLogger(__name__)

State = Literal["unseen", "good", "gone", "changed"]

# A picture that was not to be had is tried again after this, and after twice as long each time.
_FIRST_PAUSE = timedelta(minutes=5)
_LONGEST_PAUSE = timedelta(days=1)
# A host that so often in a row let wait in vain, longer than this, is asked for nothing for a time.
_SLOW_S = 1.0
_FAILURES = 2
_REST_S = 60.0
_AT_ONCE = 50


@dataclass(frozen=True)
class Place:
    """A picture under masks. ``key`` is what they were drawn on, '' until it is looked at."""

    project: str
    annotation_id: int
    task_id: int
    image: str
    address: str
    key: str
    attempts: int = 0

    @classmethod
    def of(cls, row: RowMapping) -> "Place":
        """From a row of the database."""
        return cls(**{each.name: row[each.name] for each in fields(cls)})


_NAME = (
    sample_tables.pictures.c.project,
    sample_tables.pictures.c.annotation_id,
    sample_tables.pictures.c.image,
)


class _RestingError(PictureAwayError):
    """Nobody asked: the host let wait in vain a moment ago."""


@dataclass
class _Host:
    """What came of asking one: waits in vain in a row, when the last ended, what was said of it."""

    failures: int = 0
    at: float = 0.0
    sentence: str = ""

    def check(self) -> None:
        """Raises _RestingError where it is not to be asked yet."""
        if self.failures >= _FAILURES and time.monotonic() - self.at < _REST_S:
            raise _RestingError(self.sentence)

    def failed(self, began: float, sentence: str) -> None:
        self.at, self.sentence = time.monotonic(), sentence
        self.failures = self.failures + 1 if self.at - began > _SLOW_S else 0

    def answered(self) -> None:
        self.failures = 0


class Sight:
    """Reads the pictures of samples and keeps the book on them. Thread-safe."""

    def __init__(
        self,
        database: Database,
        pictures: Pictures,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._pictures = pictures
        self._now = clock
        self._hosts: dict[tuple[str, str], _Host] = {}
        self._unreached: set[Place] = set()

    @property
    def unreached(self) -> int:
        """Of how many pictures the host was away when they were last read."""
        return len(self._unreached)

    def look(self, seconds: float) -> int:
        """Look at those not seen yet, and again at those that failed; how many were looked at."""
        ends = time.monotonic() + seconds
        looked = 0
        while places := self._due():
            for place in places:
                if time.monotonic() > ends:
                    return looked
                self._look(place)
                looked += 1
        return looked

    def read(self, place: Place) -> Picture:
        """The picture as it was when its masks were drawn. While the cache has it, it does not
        matter what lies at its address by now.

        Raises PictureError, and notes the picture as gone or changed, where it is not to be had;
        notes nothing where that is PictureAwayError.
        """
        kept = self._pictures.kept(place.key) if place.key else None
        if kept is not None:
            return kept
        try:
            picture = self._fetch(place)
        except PictureAwayError:
            self._unreached.add(place)
            raise
        except PictureError as error:
            self._failed(place, "gone", str(error))
            raise
        self._unreached.discard(place)
        if place.key and picture.key != place.key:
            raise self._changed(
                place, "Another picture lies at its address than the one that was labeled."
            )
        return picture

    # -- inside

    def _fetch(self, place: Place) -> Picture:
        host = self._hosts.setdefault((place.project, urlsplit(place.address).netloc), _Host())
        host.check()
        began = time.monotonic()
        try:
            picture = self._pictures.read(
                place.address, Project.read(place.project).id, place.task_id
            )
        except PictureAwayError as error:
            host.failed(began, str(error))
            raise
        except PictureError:
            host.answered()
            raise
        host.answered()
        return picture

    def _due(self) -> list[Place]:
        again = sample_tables.pictures.c.look_after.is_(None) | (
            sample_tables.pictures.c.look_after <= self._now()
        )
        query = (
            select(sample_tables.pictures, sample_tables.annotations.c.task_id)
            .join(
                sample_tables.annotations,
                (sample_tables.annotations.c.project == sample_tables.pictures.c.project)
                & (
                    sample_tables.annotations.c.annotation_id
                    == sample_tables.pictures.c.annotation_id
                ),
            )
            .where(sample_tables.pictures.c.state.in_(("unseen", "gone", "changed")), again)
            .order_by(sample_tables.pictures.c.attempts, *_NAME)
            .limit(_AT_ONCE)
        )
        with self._database.read() as connection:
            return [Place.of(row) for row in connection.execute(query).mappings()]

    def _look(self, place: Place) -> None:
        try:
            picture = self.read(place)
            self._fits(place, picture)
        except PictureError as error:
            if isinstance(error, PictureAwayError):
                asked = not isinstance(error, _RestingError)
                self._note(
                    place,
                    look_after=self._now() + _FIRST_PAUSE,
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
        self._note(place, state="good", key=picture.key, look_after=None, attempts=0, error="")

    def _fits(self, place: Place, picture: Picture) -> None:
        """Masks of another size were drawn on another picture."""
        query = select(sample_tables.samples.c.width, sample_tables.samples.c.height).where(
            sample_tables.samples.c.project == place.project,
            sample_tables.samples.c.annotation_id == place.annotation_id,
            sample_tables.samples.c.image == place.image,
        )
        with self._database.read() as connection:
            sizes = {(row.width, row.height) for row in connection.execute(query.distinct())}
        if sizes - {(picture.width, picture.height)}:
            width, height = next(iter(sizes))
            raise self._changed(
                place,
                f"The picture at its address measures {picture.width}x{picture.height}, the one "
                f"that was labeled {width}x{height}.",
            )

    def _changed(self, place: Place, sentence: str) -> PictureError:
        self._failed(place, "changed", sentence)
        return PictureFormatError(sentence)

    def _failed(self, place: Place, state: State, sentence: str) -> None:
        pause = min(_FIRST_PAUSE * 2 ** min(place.attempts, 10), _LONGEST_PAUSE)
        self._note(
            place,
            state=state,
            look_after=self._now() + pause,
            attempts=place.attempts + 1,
            error=sentence,
        )

    def _note(self, place: Place, **values: Any) -> None:
        """Unless the annotation has another picture by now."""
        here = (
            (sample_tables.pictures.c.project == place.project)
            & (sample_tables.pictures.c.annotation_id == place.annotation_id)
            & (sample_tables.pictures.c.image == place.image)
            & (sample_tables.pictures.c.address == place.address)
        )
        with self._database.write() as connection:
            connection.execute(update(sample_tables.pictures).where(here).values(**values))
