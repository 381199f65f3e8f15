"""Opens data sets by what an engineer types: the format is recognised, or named.

    [FORMAT:]PATH[?KEY=VALUE&KEY=VALUE...]

| format | path | options |
|---|---|---|
| pack | a WebDataset shard, .tar | |
| refcoco | a folder with refs(*).p or grefs(*).json, and instances.json | split, by, pictures |
| voc | VOC2012, or the VOCdevkit above it | split |
| sbd | the folder with inst/ and cls/ | split |
| coco | an instances JSON, or the folder with annotations/instances_*.json | split, pictures |
| synthetic | none: scenes are generated | seed, count, patches |
| folder | name.jpg + name.png, or images/ + masks/ and the like | pictures, masks |

``source=NAME`` works with all of them. Examples: ``pack/val.tar``, ``refcoco+?split=testA``,
``voc:VOCdevkit/VOC2012?split=val``, ``coco:annotations/instances_val2017.json?pictures=val2017``,
``synthetic:?seed=1&patches=pack/train-00.tar``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data.coco import open_coco
from training.data.folder import FolderDataset, is_folder_of_masks
from training.data.pack import PackDataset
from training.data.refcoco import open_refcoco, refs_file
from training.data.sample import Dataset
from training.data.synthetic import SyntheticDataset
from training.data.voc import open_sbd, open_voc, sbd_layout, voc_layout
from training.data.wrappers import Concatenated, Renamed
from training.errors import DataError


@dataclass(frozen=True)
class Place:
    """The location of a data set: its format ("": to be recognised), path and options."""

    format: str
    path: Path
    options: Mapping[str, str]
    root: Path


@dataclass(frozen=True)
class Format:
    """How to recognise and open one format. open: called with the path and the given options."""

    looks_like: Callable[[Path], bool]
    open: Callable[..., Dataset]
    expects: str
    options: tuple[str, ...] = ()
    # Whether it is read from a path; generated data have none.
    has_path: bool = True


def open_dataset(paths: Sequence[Path | str], root: Path | str = "") -> Dataset:
    """The data sets at these places, joined into one.

    A place is ``[FORMAT:]PATH[?KEY=VALUE&KEY=VALUE...]``; see the top of this file. Relative paths,
    also in options, start from ``root``. Single broken pictures are left out, counted and logged.
    Raises DataError, with what was expected, if no format fits or nothing can be read.
    """
    if not paths:
        raise DataError("No data set was named: give a path, such as a .tar file.")
    parts = [_open(read_place(path, Path(root))) for path in paths]
    return parts[0] if len(parts) == 1 else Concatenated(parts)


def read_place(text: Path | str, root: Path = Path()) -> Place:
    """Parse ``[FORMAT:]PATH[?KEY=VALUE&...]``. Raises DataError if it has another form."""
    # A place from a command line may be a Path although it has a format and options.
    match = re.fullmatch(r"(?:([a-z+]{2,}):)?([^?]*)(?:\?(.*))?", str(text))
    if match is None or not (match[2] or match[1]):
        raise DataError(f"'{text}' is not a data set: write [FORMAT:]PATH[?KEY=VALUE&...].")
    name, path, query = match[1] or "", match[2], match[3] or ""
    name = "refcoco" if name in REFER else name
    if name and name not in FORMATS:
        raise DataError(f"'{name}' in '{text}' is none of the formats {', '.join(FORMATS)}.")
    if bool(path) != (FORMATS[name].has_path if name else True):
        raise DataError(f"'{text}' {'must not have' if path else 'lacks'} a path.")
    options = {}
    for pair in query.split("&") if query else ():
        key, equals, value = pair.partition("=")
        if not equals or not value:
            raise DataError(f"'{pair}' in '{text}' is not an option: write KEY=VALUE.")
        options[key] = value
    return Place(name, root / Path(path).expanduser(), options, root)


def _open(place: Place) -> Dataset:
    if (not place.format or FORMATS[place.format].has_path) and not place.path.exists():
        raise DataError(f"{place.path} is missing.")
    name = place.format or _recognised(place.path)
    known = (*FORMATS[name].options, "source")
    unknown = sorted(set(place.options) - set(known))
    if unknown:
        raise DataError(
            f"{place.path}: a {name} data set has no option {', '.join(unknown)}, "
            f"only {', '.join(known)}."
        )
    options: dict[str, Path | str] = {
        key: place.root / value if key in PATH_OPTIONS else value
        for key, value in place.options.items()
    }
    source = options.pop("source", None)
    dataset = FORMATS[name].open(place.path, **options)
    return dataset if source is None else Renamed(dataset, str(source))


def _recognised(path: Path) -> str:
    for name, kind in FORMATS.items():
        if kind.has_path and kind.looks_like(path):
            return name
    expected = "; ".join(f"{name}: {kind.expects}" for name, kind in FORMATS.items())
    raise DataError(f"{path} is not a known data set. Expected one of {expected}.")


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
        lambda path: path.suffix == ".tar",
        lambda path: PackDataset([path]),
        "a WebDataset shard, .tar",
    ),
    "refcoco": Format(
        lambda path: refs_file(path) is not None,
        open_refcoco,
        "a folder with refs(unc).p or grefs(unc).json, and instances.json",
        ("split", "by", "pictures"),
    ),
    "voc": Format(
        lambda path: voc_layout(path) is not None,
        open_voc,
        "a folder with JPEGImages, SegmentationObject and SegmentationClass",
        ("split",),
    ),
    "sbd": Format(
        lambda path: sbd_layout(path) is not None,
        open_sbd,
        "a folder with inst/ and cls/",
        ("split",),
    ),
    "coco": Format(
        lambda path: path.suffix == ".json" or any(path.glob("annotations/instances_*.json")),
        open_coco,
        "an instances JSON of COCO, or a folder with annotations/instances_*.json",
        ("split", "pictures"),
    ),
    "synthetic": Format(
        lambda path: False,
        _open_synthetic,
        "synthetic:?seed=NUMBER, which has no path",
        ("seed", "count", "patches"),
        has_path=False,
    ),
    "folder": Format(
        is_folder_of_masks,
        FolderDataset,
        "a folder of name.jpg + name.png, or of images/ + masks/",
        ("pictures", "masks"),
    ),
}
