"""The resource limits of the process that trains."""

import subprocess
import sys
from pathlib import Path

import pytest

_LIMITS = """
import os, pathlib
from backend.jobs.kinds import limit_process
from backend.settings import Settings
limit_process(Settings(training_nice=7, training_threads=1))
print(os.nice(0))
print(pathlib.Path("/proc/self/autogroup").read_text())
"""

autogroups = pytest.mark.skipif(
    not Path("/proc/self/autogroup").exists(), reason="this kernel has no autogroups"
)


def _limited(*, own_session: bool) -> list[str]:
    answer = subprocess.run(
        [sys.executable, "-c", _LIMITS],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=own_session,
    )
    return answer.stdout.split()


@autogroups
def test_a_training_process_lowers_the_session_that_it_leads() -> None:
    # given a process with a session of its own, when it limits itself
    niceness, *_, session = _limited(own_session=True)

    # then the session has its niceness too: the kernel shares the cores between sessions first
    assert int(session) == 7
    assert int(niceness) >= 7


@autogroups
def test_a_session_of_others_keeps_its_share() -> None:
    # given a process in the session of a terminal, when it limits itself
    before = Path("/proc/self/autogroup").read_text().split()[-1]
    _, *_, session = _limited(own_session=False)

    # then the session's niceness is what it was
    assert session == before
