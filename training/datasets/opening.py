"""From what an engineer types to a data set: the format is found by looking, or named.

    [FORMAT:]PATH[?KEY=VALUE&KEY=VALUE...]

``data/pack/val.tar``, ``data/grabcut`` and ``folder:data/davis?pictures=img&masks=gt`` are such
places. Paths in options start where the data set's own path does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.datasets.folder import FolderDataset, is_folder_of_masks
from training.datasets.joined import Joined
from training.datasets.pack import PackDataset
from training.datasets.sample import Dataset
from training.errors import DataError


@dataclass(frozen=True)
class Place:
    """Where a data set lies: its format ("" is to be found), its path, its options."""

    format: str
    path: Path
    options: Mapping[str, str]
    root: Path

    def option(self, name: str) -> Path | None:
        """An option that is a path, from the same start as the data set's own."""
        return self.root / self.options[name] if name in self.options else None


@dataclass(frozen=True)
class Format:
    """How to recognise and open one format."""

    looks_like: Callable[[Path], bool]
    open: Callable[[Place], Dataset]
    expects: str
    options: tuple[str, ...] = ()


FORMATS: Mapping[str, Format] = {
    "pack": Format(
        lambda path: path.suffix == ".tar",
        lambda place: PackDataset([place.path]),
        "a WebDataset shard (.tar)",
    ),
    "folder": Format(
        is_folder_of_masks,
        lambda place: FolderDataset(
            place.path, pictures=place.option("pictures"), masks=place.option("masks")
        ),
        "a folder of name.jpg + name.png, or of images/ + masks/",
        ("pictures", "masks"),
    ),
}


def open_dataset(paths: Sequence[Path | str], root: Path | str = "") -> Dataset:
    """The data sets at these places, joined into one.

    A place is a path, with a format before it where the format cannot be seen, and with options
    behind it: ``[FORMAT:]PATH[?KEY=VALUE&KEY=VALUE...]``. Relative paths start from ``root``.
    Raises DataError with what was expected where nothing fits, or where the data are broken.
    """
    if not paths:
        raise DataError("No data set was named: give a path, such as the .tar files of the pack.")
    parts = [_open(read_place(path, Path(root))) for path in paths]
    return parts[0] if len(parts) == 1 else Joined(parts)


def read_place(text: Path | str, root: Path = Path()) -> Place:
    """The parts of ``[FORMAT:]PATH[?KEY=VALUE&...]``. Raises DataError for unknown options."""
    if isinstance(text, Path):
        # A path that was typed with a format in front may come as a Path out of a command line.
        text = str(text)
    match = re.fullmatch(r"(?:([a-z+]{2,}):)?([^?]+)(?:\?(.*))?", text)
    if match is None:
        raise DataError(f"'{text}' is no place of data: write [FORMAT:]PATH[?KEY=VALUE&...].")
    name, path, query = match[1] or "", match[2], match[3] or ""
    if name and name not in FORMATS:
        raise DataError(f"'{name}' is none of the formats {', '.join(FORMATS)}.")
    options = {}
    for pair in query.split("&") if query else ():
        key, equals, value = pair.partition("=")
        if not equals or not value:
            raise DataError(f"'{pair}' in '{text}' is no option: write KEY=VALUE.")
        options[key] = value
    return Place(name, root / path, options, root)


def _open(place: Place) -> Dataset:
    name = place.format or _recognised(place.path)
    unknown = sorted(set(place.options) - set(FORMATS[name].options))
    if unknown:
        known = ", ".join(FORMATS[name].options) or "none"
        raise DataError(f"A {name} data set knows no option {', '.join(unknown)}, only {known}.")
    return FORMATS[name].open(place)


def _recognised(path: Path) -> str:
    if not path.exists():
        raise DataError(f"{path} is missing.")
    for name, each in FORMATS.items():
        if each.looks_like(path):
            return name
    expected = "; ".join(f"{name}: {each.expects}" for name, each in FORMATS.items())
    raise DataError(f"{path} is no data set that is known. Expected one of {expected}.")
