"""Runs one command, and ends it with all its children when the process that started this ends.

``python parent_watch.py COMMAND …`` watches its standard input. It ends when the parent closes it
or dies, even by kill -9. Then the command's process group gets SIGTERM, and SIGKILL if it does not
end. Uses the standard library only, so that it starts quickly.
"""

import os
import select
import signal
import subprocess
import sys
import time
from types import FrameType

# Label Studio and uvicorn end within two seconds; a Celery worker finishes its current step first.
GRACE_S = 10.0


def main(command: list[str]) -> int:
    """Run the command while the parent lives; returns its exit status."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def stop(signum: int, frame: FrameType | None) -> None:
        end(process)
        sys.exit(128 + signum)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    while process.poll() is None:
        readable, _, _ = select.select([sys.stdin.buffer], [], [], 0.2)
        if readable and not os.read(sys.stdin.fileno(), 1):
            break
    # A command that ended by itself may have left children, so end the group in any case.
    return end(process)


def end(process: "subprocess.Popen[bytes]") -> int:
    """End the command's process group; returns the command's exit status."""
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
