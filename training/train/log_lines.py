"""The log for people: one line an entry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def line(entry: dict[str, Any]) -> str:
    """One line of the log for people."""
    return "  ".join(_shown(entry))


def printed(entry: dict[str, Any]) -> None:
    """Write the line at once, be it into a file."""
    print(line(entry), flush=True)


def _shown(entry: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in entry.items():
        if isinstance(value, dict):
            yield from _shown(value, f"{prefix}{name} ")
        elif isinstance(value, float):
            yield f"{prefix}{name} {value:.4g}"
        else:
            yield f"{prefix}{name} {value}"
