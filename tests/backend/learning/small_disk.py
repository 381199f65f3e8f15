"""Full disks: small file systems where they can be mounted, else the kernel's limit on file sizes
for the processes that write.
"""

import os
import resource
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_SIZE = 192 * 2**20
# Enough for what is small: messages, notes, pictures.
_LEFT = 2 * 2**20


class SmallDisk:
    """A folder whose disk can be filled."""

    def __init__(self, folder: Path, processes: Callable[[], Sequence[int]]) -> None:
        self.folder = folder
        self._processes = processes
        self._ballast = folder / ".ballast"
        folder.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)]
        self._mounted = (
            os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
        )

    def fill(self) -> None:
        """Leave room for small files only."""
        if self._mounted:
            about = os.statvfs(self.folder)
            with self._ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, about.f_bavail * about.f_frsize - _LEFT)
            return
        self._bound(_LEFT)

    def make_room(self) -> None:
        """Undo ``fill``."""
        self._ballast.unlink(missing_ok=True)
        if not self._mounted:
            self._bound(resource.RLIM_INFINITY)

    def close(self) -> None:
        if self._mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def _bound(self, most: int) -> None:
        for process in self._processes():
            _, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
            resource.prlimit(process, resource.RLIMIT_FSIZE, (most, hard))


@contextmanager
def small_disk(folder: Path, processes: Callable[[], Sequence[int]]) -> Iterator[SmallDisk]:
    """processes: those that write there."""
    disk = SmallDisk(folder, processes)
    try:
        yield disk
    finally:
        disk.make_room()
        disk.close()
