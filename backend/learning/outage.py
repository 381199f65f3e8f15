"""Pictures that could not be fetched while a training read them: one alone may be gone; of many at
once whoever keeps them is away, even where it says of each that there is no such picture.
"""

from collections.abc import Sequence

from sqlalchemy import select, tuple_, update

from backend.db.engine import Database
from backend.db.models import AnnotatedPictureRow
from backend.samples.image_check import LabeledPicture

# Where more than this share cannot be fetched, something is away that will be back.
_MOST = 0.25
_AT_ONCE = 200


def away(database: Database, places: Sequence[LabeledPicture], unreached: int) -> int:
    """Of pictures that were good a moment ago, how many cannot be fetched, where these are so many
    that something is away; else 0. They count as good again then, for the next attempt to read.

    unreached: of how many the host was not reached; the database does not tell.
    """
    project, pictures = places[0].project if places else "", AnnotatedPictureRow
    keys = [(place.annotation_id, place.image) for place in places]
    found = []
    for first in range(0, len(keys), _AT_ONCE):
        here = (
            (pictures.project == project)
            & tuple_(pictures.annotation_id, pictures.image).in_(keys[first : first + _AT_ONCE])
            & (pictures.state == "gone")
        )
        with database.read() as connection:
            gone = connection.execute(select(pictures.annotation_id).where(here)).all()
        found.append((here, len(gone)))
    total = unreached + sum(number for _, number in found)
    if total <= len(keys) * _MOST:
        return 0
    good = {"state": "good", "look_after": None, "attempts": 0, "error": ""}
    with database.write() as connection:
        for here, _ in found:
            connection.execute(update(pictures).where(here).values(good))
    return total
