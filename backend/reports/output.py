"""A report's files: each is whole or not there, and one that cannot be written says why."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from backend.errors import ReportError


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Where to write; at the end it takes the name, and on an error nothing is left.

    Raises ReportError where the file cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        yield aside
        os.replace(aside, path)
    except OSError as error:
        why = error.strerror or str(error)
        raise ReportError(f"{path} cannot be written: {why}. Name another file.") from None
    finally:
        with suppress(OSError):
            aside.unlink()


def write_text(path: Path, pieces: Iterable[str]) -> None:
    """A text file of these pieces, exactly as they are."""
    with written(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        file.writelines(pieces)
