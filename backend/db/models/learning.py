"""The table of pictures that show what a candidate won and lost against the champion."""

from datetime import datetime

from sqlalchemy import LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.models.core import Base, UtcDateTime


class GatePictureRow(Base):
    """A JPEG that a gate's report names. In the database, where every server can show it."""

    __tablename__ = "gate_pictures"

    version: Mapped[str] = mapped_column(String(128), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), index=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)
