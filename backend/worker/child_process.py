"""A server of the demonstration as a child process that never outlives it."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from backend.errors import DemoError
from backend.worker import parent_watch

Progress = Callable[[str], None]


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """One command on a leash (backend/worker/parent_watch.py), its output in a log file."""

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._leash = subprocess.Popen(
                [sys.executable, "-I", parent_watch.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                # Ctrl-C is for the parent, which ends its children in order.
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether the command is still alive."""
        return self._leash.poll() is None

    def wait_until(
        self, ready: Callable[[], bool], *, seconds: float, progress: Progress, doing: str
    ) -> None:
        """Wait until ``ready()``; say every few seconds what is being waited for.

        Raises:
            DemoError: the command ended, or was not ready in time; with the end of its log.
        """
        started = time.monotonic()
        said = started
        while not ready():
            waited = time.monotonic() - started
            if not self.running:
                raise DemoError(f"{self.name} ended before it was ready.\n{self.last_lines()}")
            if waited > seconds:
                raise DemoError(
                    f"{self.name} was not ready after {waited:.0f} s.\n{self.last_lines()}"
                )
            if time.monotonic() - said >= 5:
                said = time.monotonic()
                progress(f"{doing} ({waited:.0f} s)")
            time.sleep(0.2)

    def last_lines(self, count: int = 15) -> str:
        """The end of the log, for a message."""
        lines = self.log.read_text(errors="replace").splitlines()[-count:]
        return "\n".join([f"The end of {self.log}:", *lines])

    def stop(self) -> None:
        """End the command and everything it started; returns when all of it is gone."""
        if self._leash.stdin is not None:
            self._leash.stdin.close()
        try:
            self._leash.wait(parent_watch.GRACE_S + 5)
        except subprocess.TimeoutExpired:
            self._leash.kill()
            self._leash.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
