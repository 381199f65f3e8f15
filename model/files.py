"""Locks, and atomic writes: after a crash a file has its old or its new content, never a part."""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

# Of unfinished files. A killed process may leave one behind.
PARTIAL_SUFFIX = ".part"


def atomic_write(
    path: Path,
    content: bytes | str,
    *,
    private: bool = False,
    durable: bool = True,
    only_new: bool = False,
) -> None:
    """Replace a file, or create it. Text is written as UTF-8. Options: see ``atomic_file``."""
    with atomic_file(path, private=private, durable=durable, only_new=only_new) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_file(
    path: Path,
    *,
    private: bool = False,
    durable: bool = True,
    single_writer: bool = False,
    only_new: bool = False,
) -> Iterator[BinaryIO]:
    """A binary file that replaces ``path`` at the end of the block; on an error nothing changes.

    Args:
        path: in a folder that exists.
        private: only the owner may read the file.
        durable: also survive a power cut (fsync), which takes a few milliseconds.
        single_writer: no other process writes this path at the same time. A killed write then
            leaves a file that the next write replaces, instead of one more each time.
        only_new: never replace a file, also not one that another process has just created.

    Raises OSError if the file cannot be written; FileExistsError with ``only_new``.
    """
    unique = "" if single_writer else f".{uuid.uuid4().hex}"
    partial = path.with_name(f".{path.name}{unique}{PARTIAL_SUFFIX}")
    # A link that another user left in a shared folder is not followed.
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
    flags |= os.O_TRUNC if single_writer else os.O_EXCL
    descriptor = os.open(partial, flags, 0o600 if private else 0o666)
    try:
        with open(descriptor, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if only_new:
            os.link(partial, path)
            partial.unlink()
        else:
            os.replace(partial, path)
        if durable:
            sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut, if the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock on a file, created if it is missing, once others have released it.

    The end of a process releases it, however it ends. Raises OSError.
    """
    with path.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def private_folder(folder: Path) -> Path:
    """Create a folder that only its owner can open; an existing one is closed to others.

    A folder that others need stays as it is: one that all may write to, such as /tmp, the working
    and the home directory, what is above them, and a folder of another owner.

    Returns the folder. Raises OSError if it cannot be created.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = folder.stat().st_mode
    if mode & 0o077 and not mode & 0o1002 and not _is_shared(folder):
        with suppress(PermissionError):
            folder.chmod(0o700)
    return folder


def _is_shared(folder: Path) -> bool:
    """Whether the folder is, or holds, the working directory or the home directory."""
    folder = folder.resolve()
    places = [Path.cwd().resolve()]
    with suppress(RuntimeError):  # a user without a home
        places.append(Path.home().resolve())
    return any(folder == place or folder in place.parents for place in places)
