"""Data sets, each read in its own well-known format into the same plain samples.

They are opened by what an engineer types; the format is recognised, or named:

    [FORMAT:]PATH[?KEY=VALUE&KEY=VALUE...]

training/ENGINEERS.md lists the formats and their options; ``source=NAME`` works with all of them.
Examples: ``pack/val.tar``, ``refcoco+?split=testA``, ``voc:VOCdevkit/VOC2012?split=val``,
``coco:annotations/instances_val2017.json?pictures=val2017``,
``synthetic:?seed=1&patches=pack/train-00.tar``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data.coco import open_coco, open_refcoco, refs_file
from training.data.folder import FolderDataset, is_folder_of_masks
from training.data.pack import PackDataset
from training.data.sample import VOID, Dataset, Expression, Sample, SampleObject
from training.data.synthetic import SyntheticDataset
from training.data.voc import SBD, VOC, VocDataset
from training.data.wrappers import Concatenated, Renamed, Tolerant, Without, overlapping
from training.errors import DataError

__all__ = [
    "VOID",
    "Concatenated",
    "Dataset",
    "Expression",
    "FolderDataset",
    "PackDataset",
    "Sample",
    "SampleObject",
    "Tolerant",
    "Without",
    "open_dataset",
    "overlapping",
]


@dataclass(frozen=True)
class Format:
    """How to open and recognise one format. open: called with the path and the given options."""

    open: Callable[..., Dataset]
    expects: str
    options: tuple[str, ...] = ()
    looks_like: Callable[[Path], bool] = lambda path: False


def open_dataset(paths: Sequence[Path | str], root: Path | str = "") -> Dataset:
    """The data sets at these places, joined into one.

    Relative paths, also in options, start from ``root``. Single broken pictures are left out,
    counted and logged. Raises DataError, with what was expected, if no format fits or nothing can
    be read.
    """
    if not paths:
        raise DataError("No data set was named: give a path, such as a .tar file.")
    parts = [_open(str(path), Path(root)) for path in paths]
    return parts[0] if len(parts) == 1 else Concatenated(parts)


def _open(text: str, root: Path) -> Dataset:
    match = re.fullmatch(r"(?:([a-z+]{2,}):)?([^?]*)(?:\?(.*))?", text)
    if match is None or not (match[2] or match[1]):
        raise DataError(f"'{text}' is not a data set: write [FORMAT:]PATH[?KEY=VALUE&...].")
    name, path = match[1] or "", root / Path(match[2]).expanduser()
    name = "refcoco" if name in REFER else name
    if name and name not in FORMATS:
        raise DataError(f"'{name}' in '{text}' is none of the formats {', '.join(FORMATS)}.")
    has_path = name != "synthetic"
    if bool(match[2]) != has_path:
        raise DataError(f"'{text}' {'lacks' if has_path else 'must not have'} a path.")
    if has_path and not path.exists():
        raise DataError(f"{path} is missing.")
    if not name:
        name = next((known for known, kind in FORMATS.items() if kind.looks_like(path)), "")
    if not name:
        expected = "; ".join(f"{known}: {kind.expects}" for known, kind in FORMATS.items())
        raise DataError(f"{path} is not a known data set. Expected one of {expected}.")
    kind = FORMATS[name]
    options: dict[str, Path | str] = {}
    for pair in match[3].split("&") if match[3] else ():
        key, _, value = pair.partition("=")
        if not value:
            raise DataError(f"'{pair}' in '{text}' is not an option: write KEY=VALUE.")
        options[key] = root / value if key in PATH_OPTIONS else value
    source = options.pop("source", None)
    if unknown := sorted(set(options) - set(kind.options)):
        known = ", ".join((*kind.options, "source"))
        raise DataError(
            f"{path}: a {name} data set has no option {', '.join(unknown)}, only {known}."
        )
    dataset = kind.open(path, **options)
    return dataset if source is None else Renamed(dataset, str(source))


def _open_synthetic(
    root: Path, *, seed: str = "1", count: str = "60", patches: str = ""
) -> SyntheticDataset:
    try:
        numbers = int(seed), int(count)
    except ValueError as error:
        raise DataError("seed and count of synthetic scenes must be whole numbers.") from error
    photographs = open_dataset([patches], root) if patches else None
    return SyntheticDataset(numbers[0], count=numbers[1], patches=photographs)


# Options that are paths, relative to the same folder as the data set.
PATH_OPTIONS = ("pictures", "masks")
# Sets of one format under their own names.
REFER = ("refcoco+", "refcocog", "grefcoco")

# In the order in which they are tried. The plain folder is last, since others are folders too.
FORMATS: Mapping[str, Format] = {
    "pack": Format(
        lambda path: PackDataset([path]),
        "a WebDataset shard, .tar",
        looks_like=lambda path: path.suffix == ".tar",
    ),
    "refcoco": Format(
        open_refcoco,
        "a folder with refs(unc).p or grefs(unc).json, and instances.json",
        ("split", "by", "pictures"),
        lambda path: refs_file(path) is not None,
    ),
    "voc": Format(
        lambda path, split="": VocDataset(path, VOC, split),
        "a folder with JPEGImages, SegmentationObject and SegmentationClass",
        ("split",),
        lambda path: VOC.root(path) is not None,
    ),
    "sbd": Format(
        lambda path, split="": VocDataset(path, SBD, split),
        "a folder with inst/ and cls/",
        ("split",),
        lambda path: SBD.root(path) is not None,
    ),
    "coco": Format(
        open_coco,
        "an instances JSON of COCO, or a folder with annotations/instances_*.json",
        ("split", "pictures"),
        lambda path: path.suffix == ".json" or any(path.glob("annotations/instances_*.json")),
    ),
    "synthetic": Format(
        _open_synthetic, "synthetic:?seed=NUMBER, which has no path", ("seed", "count", "patches")
    ),
    "folder": Format(
        FolderDataset,
        "a folder of name.jpg + name.png, or of images/ + masks/",
        ("pictures", "masks"),
        is_folder_of_masks,
    ),
}
