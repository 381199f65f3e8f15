"""Runs one command and ends it, with all its children, as soon as whoever started it is gone.

``python parent_watch.py COMMAND …`` holds its standard input open. When that ends, because
the starter closed it or was killed in whatever way (kill -9 too), the command's whole process
group is told to end and, should it not, killed. Standard library only, so that it starts at once.
"""

import os
import select
import signal
import subprocess
import sys
import time
from types import FrameType

# Label Studio and uvicorn end within a second or two; a Celery worker may finish its job first.
GRACE_S = 10.0


def main(command: list[str]) -> int:
    """Run the command on the leash; its exit status."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def told_to_end(signum: int, frame: FrameType | None) -> None:
        end(process)
        sys.exit(128 + signum)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, told_to_end)
    while process.poll() is None:
        readable, _, _ = select.select([sys.stdin.buffer], [], [], 0.2)
        if readable and not os.read(sys.stdin.fileno(), 1):
            break
    # The command may have ended by itself and left children behind: end the group in any case.
    return end(process)


def end(process: "subprocess.Popen[bytes]") -> int:
    """End the command's process group: politely, then for certain."""
    _signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    _signal_group(process.pid, signal.SIGKILL)
    return process.wait()


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
