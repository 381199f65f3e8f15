"""``phraseclick demo`` from start to end, with the shipped model."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def _start(folder: Path, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "backend.cli", "demo", "--folder", str(folder), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _running_in(folder: Path) -> list[str]:
    """Command lines of processes that work in the folder."""
    commands = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = line.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = (line.parent / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command + environment and str(os.getpid()) != line.parent.name:
            commands.append(command)
    return commands


@pytest.mark.timeout(1800)
def test_once_shows_every_step_and_ends_by_itself(tmp_path: Path) -> None:
    # when
    show = _start(tmp_path / "demo", "--once")
    output, _ = show.communicate(timeout=1600)
    # then
    assert show.returncode == 0, output
    for step in ("positive click", "second click", "negative click", "phrase first", "submit"):
        assert step in output
    for step in ("Passed.", "Label Studio knows it", "Rolled back:", "/dashboard"):
        assert step in output
    pictures = sorted((tmp_path / "demo").glob("*.png"))
    assert len(pictures) == 9
    assert tmp_path / "demo" / "by-one-word.png" in pictures
    assert re.search(r"The word 'Ring' alone: \d+ of \d+ rings right without a click", output)
    reports = [tmp_path / "demo" / name for name in ("report.html", "report.json")]
    left = sorted((tmp_path / "demo").iterdir())
    assert left == sorted(pictures + reports), "no state is left behind"
    assert json.loads(reports[1].read_text())["tasks"]
    assert not _running_in(tmp_path)


def test_it_stays_up_until_ctrl_c_and_ends_its_children(tmp_path: Path) -> None:
    # given
    show = _start(tmp_path / "demo", "--quick")
    assert show.stdout is not None
    lines: list[str] = []
    for line in show.stdout:
        lines.append(line)
        if "Press Ctrl-C to stop" in line:
            break
    output = "".join(lines)
    address = re.search(r"Label Studio: (http\S+)", output)
    assert address, output
    assert requests.get(address[1], timeout=30).ok
    assert _running_in(tmp_path)
    # when
    show.send_signal(signal.SIGINT)
    # then
    rest, _ = show.communicate(timeout=60)
    assert show.returncode == 0, rest
    assert "Stopped." in rest
    deadline = time.monotonic() + 5
    while _running_in(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _running_in(tmp_path)
