"""Leases: only one process at a time runs a kind of job of a project; dead holders are detected.

The holder increments a counter, its heartbeat, every few seconds. Another process takes the lease
over once the counter has not changed for long enough by its own monotonic clock. Wall clocks are
never compared, so clocks that differ or jump do no harm. A holder on the same machine is looked up
by its process id.

A holder that was only slow finds a newer token when it wakes up. That is why it checks the token
in the same transaction as each write (``Progress.fenced``).
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, update

from backend.db.models import LeaseRow, lock_lease

_PROC = Path("/proc")


@dataclass(frozen=True)
class Lease:
    """A lease that this process took. ``token`` is higher than that of each earlier holder."""

    name: str
    token: int


@dataclass
class _Observed:
    token: int
    beat: int
    checked: float  # by the monotonic clock
    silent_s: float = 0.0


class Leases:
    """Takes leases, and remembers which heartbeats this process has observed. Thread-safe."""

    def __init__(
        self,
        silence_s: float,
        clock: Callable[[], float] = time.monotonic,
        gone: Callable[[str], bool] | None = None,
    ) -> None:
        """
        Args:
            silence_s: seconds without a heartbeat after which a holder counts as dead.
            clock: monotonic seconds.
            gone: whether the process with this id has certainly ended (``process_gone``).
        """
        self._silence_s = silence_s
        self._clock = clock
        self._gone = gone or process_gone
        self._lock = threading.Lock()
        self._observed: dict[str, _Observed] = {}

    def take(self, connection: Connection, name: str, process_id: str) -> Lease | None:
        """Take the lease if it is free or its holder is dead, else None."""
        row = lock_lease(connection, name)
        if not self.free(row):
            return None
        token = row.token + 1
        connection.execute(
            update(LeaseRow)
            .where(LeaseRow.name == name)
            .values(holder=process_id, token=token, beat=0)
        )
        return Lease(name, token)

    def free(self, row: LeaseRow) -> bool:
        """Whether the lease can be taken. Call it repeatedly: each call observes the heartbeat.

        row: freshly read.
        """
        if not row.holder or self._gone(row.holder):
            return True
        now = self._clock()
        with self._lock:
            seen = self._observed.get(row.name)
            if seen is None or (seen.token, seen.beat) != (row.token, row.beat):
                self._observed[row.name] = _Observed(row.token, row.beat, now)
                return False
            # While the database was down the holder could not write heartbeats either, so a long
            # gap between two observations counts only as a short one.
            seen.silent_s += min(now - seen.checked, self._silence_s / 3)
            seen.checked = now
            return seen.silent_s >= self._silence_s


def beat(connection: Connection, lease: Lease) -> bool:
    """Write a heartbeat. False: this process no longer holds the lease."""
    mine = (LeaseRow.name == lease.name) & (LeaseRow.token == lease.token)
    changed = connection.execute(
        update(LeaseRow).where(mine, LeaseRow.holder != "").values(beat=LeaseRow.beat + 1)
    )
    return bool(changed.rowcount)


def holds(connection: Connection, lease: Lease) -> bool:
    """Whether this process holds the lease; if so, it keeps it until the transaction ends."""
    row = lock_lease(connection, lease.name)
    return bool(row.holder) and row.token == lease.token


def release(connection: Connection, name: str) -> None:
    """Free the lease. The token changes, so the old holder can no longer write."""
    connection.execute(
        update(LeaseRow).where(LeaseRow.name == name).values(holder="", token=LeaseRow.token + 1)
    )


# -- process ids that are unique across machines, containers, and reboots


def this_process() -> str:
    """Id of this process: host, boot, PID namespace, PID and start time.

    A bare PID is not enough: PIDs are reused, and each container has its own.
    """
    return f"{_machine()} {os.getpid()} {_started(os.getpid()) or ''}"


def process_gone(process_id: str) -> bool:
    """Whether that process has certainly ended. False for processes of other machines."""
    parts = process_id.rsplit(" ", 2)
    if len(parts) < 3 or parts[0] != _machine() or not _machine().split(" ")[1]:
        return False
    pid, start = parts[1:]
    return _started(int(pid)) != start


def short_process_id(process_id: str) -> str:
    """Host and PID, for people."""
    parts = process_id.split(" ")
    return f"{parts[0]}, process {parts[3]}" if len(parts) > 3 else process_id


@cache
def _machine() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink(_PROC / "self/ns/pid")
    except OSError:  # not Linux
        boot = namespace = ""
    return f"{socket.gethostname()} {boot} {namespace}"


def _started(pid: int) -> str | None:
    """Start of a process in ticks since boot. None: no such process, or a zombie."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
