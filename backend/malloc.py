"""The C library's memory: what a server frees goes back to the system."""

import ctypes
import sys
import threading
import time

from backend.settings import MIB

# From malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def tune(trim_every_s: float = 60.0) -> None:
    """Keep little of the memory of pictures and masks after they are freed.

    By default, glibc has an arena per thread and raises its thresholds with each freed block, so
    each thread that decoded a large picture keeps that memory: 400 MB after an hour. And what is
    freed below a block in use is only returned by trimming: 600 MB after 24 minutes of twenty
    annotators, of 1,425.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):  # musl needs no tuning
        return
    libc.mallopt(_M_ARENA_MAX, 2)
    libc.mallopt(_M_MMAP_THRESHOLD, 4 * MIB)
    libc.mallopt(_M_TRIM_THRESHOLD, 8 * MIB)

    def trim() -> None:
        while True:
            time.sleep(trim_every_s)
            libc.malloc_trim(0)

    threading.Thread(target=trim, name="malloc-trim", daemon=True).start()
