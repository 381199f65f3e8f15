"""Leases: who may do what must not be done twice at once, and how a dead holder is told.

A holder counts a number up every few seconds. Whoever looks on gives it up when that number has
stood still for long enough by its own steady clock: no two machines' clocks are ever compared, so
none of them may jump and break anything. A holder on this very machine is asked after directly.

A holder that was only slow wakes up to find that its token is no longer the lease's: whatever it
then writes must be written in one transaction with a look at the token (``Progress.fenced``).
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select, update

from backend.db import job_tables
from backend.jobs import process_id


@dataclass(frozen=True)
class Lease:
    """A lease that was taken: ``token`` counts up with every holder of that name."""

    name: str
    token: int


@dataclass
class _Seen:
    token: int
    beat: int
    looked: float  # on this process's steady clock
    silent_s: float = 0.0


class Leases:
    """Leases as one process sees them. Thread-safe; the memory of what it saw is its own."""

    def __init__(
        self,
        silence_s: float,
        clock: Callable[[], float] = time.monotonic,
        gone: Callable[[str], bool] = process_id.gone,
    ) -> None:
        """silence_s: a holder that says nothing for so long is taken for dead."""
        self._silence_s = silence_s
        self._clock = clock
        self._gone = gone
        self._lock = threading.Lock()
        self._seen: dict[str, _Seen] = {}

    def take(self, connection: Connection, name: str, who: str) -> Lease | None:
        """The lease, where nobody holds it or its holder is dead; None where somebody does."""
        row = job_tables.lock(connection, name)
        if not self.free(row):
            return None
        token = row.token + 1
        connection.execute(
            update(job_tables.leases)
            .where(job_tables.leases.c.name == name)
            .values(holder=who, token=token, beat=0)
        )
        return Lease(name, token)

    def free(self, row: Row[Any]) -> bool:
        """Whether a lease can be taken; looking is also how the silence of its holder is counted.

        row: of the table of leases, fresh.
        """
        if not row.holder or self._gone(row.holder):
            return True
        now = self._clock()
        with self._lock:
            seen = self._seen.get(row.name)
            if seen is None or (seen.token, seen.beat) != (row.token, row.beat):
                self._seen[row.name] = _Seen(row.token, row.beat, now)
                return False
            # Where nobody could look for a while (a database that was away), the holder may have
            # been unable to speak as well: a long pause between two looks counts as a short one.
            seen.silent_s += min(now - seen.looked, self._silence_s / 3)
            seen.looked = now
            return seen.silent_s >= self._silence_s


def beat(connection: Connection, lease: Lease) -> bool:
    """Say that the holder lives. False: it holds the lease no longer."""
    mine = (job_tables.leases.c.name == lease.name) & (job_tables.leases.c.token == lease.token)
    changed = connection.execute(
        update(job_tables.leases)
        .where(mine, job_tables.leases.c.holder != "")
        .values(beat=job_tables.leases.c.beat + 1)
    )
    return bool(changed.rowcount)


def holds(connection: Connection, lease: Lease) -> bool:
    """Whether the lease is still held, and stays so until this transaction ends."""
    row = job_tables.lock(connection, lease.name)
    return bool(row.holder) and row.token == lease.token


def looks_held(connection: Connection, lease: Lease) -> bool:
    """As ``holds``, at this moment only, and without waiting for anybody."""
    row = connection.execute(
        select(job_tables.leases).where(job_tables.leases.c.name == lease.name)
    ).first()
    return row is not None and bool(row.holder) and row.token == lease.token


def release(connection: Connection, name: str) -> None:
    """Nobody holds it from here on: whoever thinks so finds another token."""
    connection.execute(
        update(job_tables.leases)
        .where(job_tables.leases.c.name == name)
        .values(holder="", token=job_tables.leases.c.token + 1)
    )
