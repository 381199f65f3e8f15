"""Child processes that never outlive this one: a server of the demonstration or a benchmark, and
the programs that ``phraseclick up`` keeps running.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Self

from backend.errors import DemoError
from backend.worker import parent_watch

_log = logging.getLogger(__name__)

Progress = Callable[[str], None]

# A program that ends at once is restarted after a pause that doubles; it is short again after the
# program has run for a minute.
_SHORTEST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_STABLE_S = 60.0

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


# Settings of this process that also apply to a program that is started with the defaults.
_INHERITED = tuple(
    f"PHRASECLICK_{name}"
    for name in (
        "CHECKPOINT",
        "DEVICE",
        "TORCH_THREADS",
        "PARALLEL_PASSES",
        "EMBEDDING_CACHE_BYTES",
    )
)


def default_settings(**settings: object) -> dict[str, str]:
    """The environment of a program with these settings, instead of those of this process."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PHRASECLICK_") or name in _INHERITED
    }
    return inherited | {f"PHRASECLICK_{name}": str(value) for name, value in settings.items()}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """A running command, ended with this process (see ``parent_watch``)."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """log: a file for its output. log and environment: default as this process."""
        self.name = name
        self.log = log
        output = None
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            output = log.open("ab")
        try:
            self._watcher = subprocess.Popen(
                [sys.executable, "-I", parent_watch.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=None if output is None else subprocess.STDOUT,
                env=environment,
                # Ctrl-C goes to this process only, which ends its children in order.
                start_new_session=True,
            )
        finally:
            if output is not None:
                output.close()

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return self._watcher.poll()

    @property
    def running(self) -> bool:
        return self.status is None

    def wait_until(
        self, ready: Callable[[], bool], *, seconds: float, progress: Progress, doing: str
    ) -> None:
        """Wait until ``ready()``, and report every five seconds what is being waited for.

        Raises DemoError with the end of the log if the command ends, or is not ready in time.
        """
        started = reported = time.monotonic()
        while not ready():
            now = time.monotonic()
            if not self.running:
                raise DemoError(f"{self.name} ended before it was ready.\n{self.last_lines()}")
            if now - started > seconds:
                raise DemoError(
                    f"{self.name} was not ready after {now - started:.0f} s.\n{self.last_lines()}"
                )
            if now - reported >= 5:
                reported = now
                progress(f"{doing} ({now - started:.0f} s)")
            time.sleep(0.2)

    def last_lines(self, count: int = 15) -> str:
        """The end of the log, for a message."""
        if self.log is None:
            return ""
        lines = self.log.read_text(errors="replace").splitlines()[-count:]
        return "\n".join([f"The end of {self.log}:", *lines])

    def ask_to_end(self) -> None:
        """Begin to end the command and everything it started; returns at once."""
        if self._watcher.stdin is not None:
            self._watcher.stdin.close()

    def stop(self) -> None:
        """End the command and everything it started; returns when all of it has ended."""
        self.ask_to_end()
        try:
            self._watcher.wait(parent_watch.GRACE_S + 5)
        except subprocess.TimeoutExpired:
            self._watcher.kill()
            self._watcher.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass
class _Supervised:
    """One program: its process, or None while it pauses; ``since``: when that began."""

    name: str
    command: Sequence[str]
    process: Child | None = None
    since: float = 0.0
    pause_s: float = _SHORTEST_PAUSE_S

    def start(self) -> None:
        self.process = Child(self.name, self.command)
        self.since = time.monotonic()

    def check(self) -> None:
        now = time.monotonic()
        if self.process is None:
            if now - self.since >= self.pause_s:
                self.pause_s = min(_LONGEST_PAUSE_S, self.pause_s * 2)
                self.start()
        elif (status := self.process.status) is not None:
            _log.error(
                "The %s ended (status %s); restarting it in %.0f s.",
                self.name,
                status,
                self.pause_s,
            )
            self.process, self.since = None, now
        elif now - self.since > _STABLE_S:
            self.pause_s = _SHORTEST_PAUSE_S


def supervise(commands: Mapping[str, Sequence[str]]) -> None:
    """Keep all programs running until SIGTERM, SIGINT or SIGHUP; then end them."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in _SIGNALS:
        signal.signal(number, stop)
    programs = [_Supervised(name, command) for name, command in commands.items()]
    try:
        for program in programs:
            program.start()
        while True:
            time.sleep(0.2)
            for program in programs:
                program.check()
    except KeyboardInterrupt:
        _log.info("Ending %s.", " and ".join(commands))
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        processes = [program.process for program in reversed(programs) if program.process]
        # Ask all of them first, since each may take some seconds.
        for process in processes:
            process.ask_to_end()
        for process in processes:
            process.stop()
