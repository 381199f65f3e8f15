"""A process by a name that is never given twice, and whether it is gone.

A number of a process alone says little: numbers come again, and every container has its own.
"""

import os
import socket
from functools import cache
from pathlib import Path

_PROC = Path("/proc")


@cache
def _machine() -> str:
    """This host, its boot, and the space in which its processes are numbered."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink(_PROC / "self/ns/pid")
    except OSError:  # not Linux
        boot = space = ""
    return f"{socket.gethostname()} {boot} {space}"


def this_process() -> str:
    """Host, boot, number and start of this process."""
    return f"{_machine()} {os.getpid()} {_started(os.getpid()) or ''}"


def gone(holder: str) -> bool:
    """Whether that process has ended for certain; False where it cannot be told from here."""
    parts = holder.rsplit(" ", 2)
    if len(parts) < 3 or parts[0] != _machine() or not _machine().split(" ")[1]:
        return False
    number, start = parts[1:]
    return _started(int(number)) != start


def short(holder: str) -> str:
    """For people: host and number."""
    parts = holder.split(" ")
    return f"{parts[0]}, process {parts[3]}" if len(parts) > 3 else holder


def _started(number: int) -> str | None:
    """When a process started, in ticks since the boot; None where there is none, or only what is
    left of it."""
    try:
        fields = (_PROC / str(number) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
