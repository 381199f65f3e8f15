"""What is freed goes back to the system."""

import subprocess
import sys

import pytest

# 300 MB in blocks of 100 kB, of which every other one is freed; prints the megabytes that the
# process holds before and after a second.
_HALF_FREED = """
import ctypes, os, time
from backend import malloc

def held():
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
malloc.tune(trim_every_s=0.2)
blocks = [libc.malloc(100_000) for _ in range(3000)]
for block in blocks:
    ctypes.memset(block, 1, 100_000)
for block in blocks[::2]:
    libc.free(block)
before = held()
time.sleep(1)
print(before, held())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_memory_between_blocks_in_use_is_returned() -> None:
    # given a process that freed every other block, when a moment has passed
    done = subprocess.run(
        [sys.executable, "-c", _HALF_FREED], capture_output=True, text=True, timeout=60, check=True
    )
    # then it holds less by most of what was freed
    before, after = map(float, done.stdout.split())
    assert before - after > 0.7 * 150
