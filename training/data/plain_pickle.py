"""Pickles that hold nothing but plain containers, as RefCOCO is published.

A pickle can name any function of Python and have it called. Lists, dicts, tuples, text,
numbers, booleans and None need no name, so a reader that refuses every name reads exactly those.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from training.errors import DataError


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise DataError(
            f"the pickle asks for {module}.{name}. Only plain lists, dicts, text and numbers are "
            "read, since anything else could run code"
        )


def read_plain_pickle(path: Path) -> Any:
    """What a pickle of any protocol holds; text of Python 2 becomes str. Raises DataError."""
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file, encoding="utf-8", errors="replace").load()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except DataError as error:
        raise DataError(f"{path} is refused: {error}.") from error
    except Exception as error:
        # Broken bytes make the unpickler raise nearly anything.
        raise DataError(f"{path} is no whole pickle: {error}.") from error
