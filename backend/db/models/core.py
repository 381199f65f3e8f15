"""Old import names, until every package imports from ``backend.db.models``."""

from backend.db.models import *  # noqa: F403
from backend.db.models.interaction import EventKind

Kind = EventKind
