"""Programs as processes, for tests. Imports nothing heavy, since such programs import it, too."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

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
    module: str = "backend.cli",
    **variables: str,
) -> "subprocess.Popen[bytes]":
    """A ``phraseclick`` command, or another module, as a process with a session of its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if "PHRASECLICK" not in name},
        "PHRASECLICK_DATA": str(settings.data),
        "PHRASECLICK_CHECKPOINT": settings.checkpoint,
        "PHRASECLICK_DEVICE": "cpu",
        "PHRASECLICK_LABEL_STUDIO_URL": settings.label_studio_url,
        "PHRASECLICK_TORCH_THREADS": "1",
        "PHRASECLICK_DATABASE_URL": settings.database_url,
        "PHRASECLICK_BROKER_URL": settings.broker_url,
        "PHRASECLICK_CHECKPOINT_STORE": settings.checkpoint_store,
        "PHRASECLICK_BASIC_AUTH_USER": settings.basic_auth_user,
        "PHRASECLICK_BASIC_AUTH_PASSWORD": settings.basic_auth_password.get_secret_value(),
        "PHRASECLICK_LEASE_S": str(settings.lease_s),
        **variables,
    }
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=environment,
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
