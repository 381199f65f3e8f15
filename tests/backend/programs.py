"""Programs as processes, for tests. Imports nothing heavy, since such programs import it, too."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import SecretStr

from backend.settings import Settings

ROOT = Path(__file__).parents[2]


def until(condition: Callable[[], bool], log: Path | None = None, seconds: float = 60) -> None:
    """Wait for the condition; fail with the end of the log after this time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, log.read_text()[-4000:] if log else "timed out"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def start(
    settings: Settings,
    log: Path,
    *arguments: str,
    program: Sequence[str] = ("-m", "backend.cli"),
    **variables: str,
) -> "subprocess.Popen[bytes]":
    """A ``phraseclick`` command with these settings, as a process with a session of its own.

    program: what Python runs with the arguments.
    """
    inherited = {name: value for name, value in os.environ.items() if "PHRASECLICK" not in name}
    ours = {
        f"PHRASECLICK_{name.upper()}": value.get_secret_value()
        if isinstance(value, SecretStr)
        else str(value)
        for name in Settings.model_fields
        if (value := getattr(settings, name)) is not None
    }
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, *program, *arguments],
            env={**inherited, **ours, **variables},
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def kill(process: "subprocess.Popen[bytes]") -> None:
    """kill -9: it cannot write anything."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            kill(process)
