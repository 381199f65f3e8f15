"""Atomic writes: after a crash, a file has its old or its new content, never a part of it."""

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
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if single_writer else os.O_EXCL)
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
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
