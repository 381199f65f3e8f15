"""What webhooks bring: kept as it came, before anybody reads it.

Label Studio waits one second, sends once and never again. So the request stores one row and is
done; the worker reads the row when the bell rings, or at its next look. A row that cannot be
settled is tried again a few times and then kept with its reason.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, insert, select, update

from backend.db.engine import Database
from backend.db.models import Delivery

_log = logging.getLogger(__name__)

ATTEMPTS = 3
# Long enough to look into after a long weekend; their news has long been taken into the tables.
_KEEP = timedelta(days=14)
# Read at once; each is up to some MB.
_AT_ONCE = 20


@dataclass(frozen=True)
class Stored:
    """A delivery that waits to be settled."""

    id: int
    action: str
    body: bytes


class Deliveries:
    """The table of deliveries. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def store(
        self,
        action: str,
        project_id: int | None,
        body: bytes,
        received_at: datetime | None = None,
    ) -> None:
        """Keep one as it came. received_at: now, where it is not told."""
        with self._database.write() as connection:
            connection.execute(
                insert(Delivery).values(
                    received_at=received_at or datetime.now(UTC),
                    action=action[:64],
                    project_id=project_id,
                    body=body,
                    attempts=0,
                )
            )

    def waiting(self) -> list[Stored]:
        """The oldest that are not settled."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(Delivery.id, Delivery.action, Delivery.body)
                .where(Delivery.processed_at.is_(None), Delivery.attempts < ATTEMPTS)
                .order_by(Delivery.attempts, Delivery.id)
                .limit(_AT_ONCE)
            )
            return [Stored(*row) for row in rows]

    def settle(self, one: Callable[[Stored], None]) -> int:
        """Hand all that wait to ``one``, oldest first; how many it settled.

        ``one`` may see a delivery twice, by two workers or after a crash: settling is idempotent.
        """
        settled = 0
        tried: set[int] = set()
        # Whatever failed is tried again at the next look, not at once: its cause needs time to go.
        while waiting := [it for it in self.waiting() if it.id not in tried]:
            for delivery in waiting:
                tried.add(delivery.id)
                settled += self._settle(delivery, one)
        return settled

    def forget_old(self) -> None:
        """Delete what was settled, or given up, long ago."""
        with self._database.write() as connection:
            connection.execute(
                delete(Delivery).where(
                    Delivery.received_at < datetime.now(UTC) - _KEEP,
                    Delivery.processed_at.is_not(None) | (Delivery.attempts >= ATTEMPTS),
                )
            )

    def _settle(self, delivery: Stored, one: Callable[[Stored], None]) -> int:
        try:
            one(delivery)
        except Exception as error:
            _log.exception("Delivery %d (%s) could not be settled", delivery.id, delivery.action)
            reason = f"{type(error).__name__}: {error}"
            changes: dict[str, object] = {"attempts": Delivery.attempts + 1, "error": reason}
            settled = 0
        else:
            changes = {"processed_at": datetime.now(UTC), "error": None}
            settled = 1
        with self._database.write() as connection:
            connection.execute(update(Delivery).where(Delivery.id == delivery.id).values(**changes))
        return settled
