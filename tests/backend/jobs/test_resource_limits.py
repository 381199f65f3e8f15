"""The limits of a process that trains on a machine that also serves."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_LIMITS = """
import json, os, pathlib
from backend.jobs.runner import limit_process
from backend.settings import Settings
autogroup = pathlib.Path("/proc/self/autogroup")
before = autogroup.read_text()
limit_process(Settings(training_nice=7, training_threads=1))
print(json.dumps([before, autogroup.read_text(), os.nice(0)]))
"""

# Without autogroups the file is empty, or there is none.
_SWITCH = Path("/proc/sys/kernel/sched_autogroup_enabled")
autogroups = pytest.mark.skipif(
    not _SWITCH.exists() or _SWITCH.read_text().strip() != "1",
    reason="this kernel shares the cores between processes, not sessions",
)


def _limited(*, own_session: bool) -> tuple[str, str, int]:
    """The autogroup of a process before and after it limits itself, and its niceness then."""
    answer = subprocess.run(
        [sys.executable, "-c", _LIMITS],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=own_session,
    )
    before, after, niceness = json.loads(answer.stdout)
    return before, after, niceness


@autogroups
def test_a_training_process_lowers_the_session_that_it_leads() -> None:
    # given a process with a session of its own, when it limits itself
    _, after, niceness = _limited(own_session=True)

    # then the session has its niceness too: the kernel shares the cores between sessions first
    assert after.split()[-2:] == ["nice", "7"]
    assert niceness >= 7


@autogroups
def test_a_session_of_others_keeps_its_share() -> None:
    # given a process in the session of a terminal, when it limits itself
    before, after, _ = _limited(own_session=False)

    # then the session's niceness is what it was
    assert after == before
