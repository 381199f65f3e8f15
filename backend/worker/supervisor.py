"""Server, workers and scheduler of one machine, started together, watched, and ended together."""

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType

from backend.worker import parent_watch

_log = logging.getLogger(__name__)

# A child that dies at once would else be started a hundred times a second; the pause doubles up to
# the longest and is forgotten once a child has held.
_SHORTEST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_HELD_S = 60.0


@dataclass
class _Charge:
    """One command that must be running."""

    name: str
    command: Sequence[str]
    pause_s: float = _SHORTEST_PAUSE_S
    started: float = 0.0
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    def start(self) -> None:
        # The leash ends the command with this process, in whatever way this one ends.
        self.process = subprocess.Popen(
            [sys.executable, "-I", parent_watch.__file__, *self.command],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self.started = time.monotonic()

    def call_back(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def stop(self) -> None:
        if self.process is None:
            return
        try:
            self.process.wait(parent_watch.GRACE_S + 5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class _EndCalled(Exception):  # noqa: N818 - not an error
    """SIGTERM or SIGINT came."""


def supervise(commands: dict[str, Sequence[str]]) -> None:
    """Keep every command running until SIGTERM or SIGINT; then end them all."""

    def told_to_end(signum: int, frame: FrameType | None) -> None:
        raise _EndCalled

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, told_to_end)
    charges = [_Charge(name, command) for name, command in commands.items()]
    try:
        for charge in charges:
            charge.start()
        while True:
            time.sleep(0.2)
            for charge in charges:
                _look_after(charge)
    except _EndCalled:
        _log.info("Ending %s.", " and ".join(commands))
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        # All are told before any is waited for: each may take some seconds.
        for charge in reversed(charges):
            charge.call_back()
        for charge in reversed(charges):
            charge.stop()


def _look_after(charge: _Charge) -> None:
    now = time.monotonic()
    if charge.process is not None:
        status = charge.process.poll()
        if status is None:
            if now - charge.started > _HELD_S:
                charge.pause_s = _SHORTEST_PAUSE_S
            return
        _log.error(
            "The %s ended (status %s); starting it again in %.0f s.",
            charge.name,
            status,
            charge.pause_s,
        )
        charge.process = None
        charge.started = now
    elif now - charge.started >= charge.pause_s:
        charge.pause_s = min(_LONGEST_PAUSE_S, charge.pause_s * 2)
        charge.start()
