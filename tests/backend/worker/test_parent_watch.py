"""Child processes never outlive the process that started them, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backend.errors import DemoError
from backend.worker import parent_watch
from backend.worker.child_process import Child
from tests.backend.programs import alive, until

# Starts a child of its own, prints both process ids, and waits.
_FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""
_STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + _FAMILY


def _family(log: Path) -> list[int]:
    until(lambda: log.exists() and len(log.read_text().split()) == 2, seconds=10)
    return [int(pid) for pid in log.read_text().split()]


def _start(tmp_path: Path, program: str = _FAMILY) -> Child:
    command = [sys.executable, "-c", program]
    return Child("A server", command, log=tmp_path / "log", environment=os.environ)


def test_stopping_ends_the_command_and_its_children(tmp_path: Path) -> None:
    # given
    child = _start(tmp_path)
    pids = _family(tmp_path / "log")
    assert all(map(alive, pids))
    # when
    child.stop()
    # then
    assert not any(map(alive, pids))
    assert not child.running


def test_a_killed_parent_ends_its_children(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from pathlib import Path; "
        "from backend.worker.child_process import Child; "
        f"Child('x', [sys.executable, '-c', {_FAMILY!r}], log=Path({str(tmp_path / 'log')!r}), "
        "environment=os.environ); time.sleep(600)"
    )
    # given
    parent = subprocess.Popen([sys.executable, "-c", program])
    pids = _family(tmp_path / "log")
    # when
    parent.kill()
    parent.wait()
    # then
    until(lambda: not any(map(alive, pids)), seconds=10)


def test_a_command_that_will_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: a command that ignores SIGTERM, and a short grace period
    short = tmp_path / "short.py"
    short.write_text(
        Path(parent_watch.__file__).read_text().replace("GRACE_S = 10.0", "GRACE_S = 0.5")
    )
    monkeypatch.setattr(parent_watch, "__file__", str(short))
    child = _start(tmp_path, _STUBBORN)
    pids = _family(tmp_path / "log")
    # when
    child.stop()
    # then
    assert not any(map(alive, pids))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_watcher_ends_its_command(tmp_path: Path, number: signal.Signals) -> None:
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", parent_watch.__file__, sys.executable, "-c", _FAMILY],
            stdin=subprocess.PIPE,
            stdout=log,
        )
    pids = _family(tmp_path / "log")
    process.send_signal(number)
    process.wait(10)
    assert not any(map(alive, pids))


def test_a_server_that_ends_early_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    child = _start(tmp_path, "print('no such database'); raise SystemExit(3)")
    with pytest.raises(DemoError, match=r"ended before it was ready.*\n(.*\n)*.*no such database"):
        child.wait_until(lambda: False, seconds=30, progress=print, doing="starting")


def test_a_server_that_is_never_ready_is_reported_in_time(tmp_path: Path) -> None:
    with (
        _start(tmp_path) as child,
        pytest.raises(DemoError, match="not ready after"),
    ):
        child.wait_until(lambda: False, seconds=0.5, progress=print, doing="starting")


def test_a_long_start_reports_progress(tmp_path: Path) -> None:
    said: list[str] = []
    began = time.monotonic()
    with _start(tmp_path) as child:
        child.wait_until(
            lambda: time.monotonic() - began > 5.5, seconds=30, progress=said.append, doing="busy"
        )
    assert said == ["busy (5 s)"]
