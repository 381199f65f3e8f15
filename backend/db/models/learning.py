"""Old import names, until every package imports from ``backend.db.models``."""

from backend.db.models.registry import GatePictureRow

__all__ = ["GatePictureRow"]
