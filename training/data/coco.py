"""COCO's instances JSON, from COCO itself or any tool that exports it.

Annotations are kept in compact form (float32 corners, run lengths) and drawn on request, so that
COCO's 118,000 pictures fit into memory. A region with ``iscrowd`` holds several objects and becomes
a semantic object.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from training.data.masks import Segmentation, layered, read_segmentation
from training.data.reading import SkipCounter, decode_picture, picture_size, read_json
from training.data.sample import Record, RecordDataset, Sample, SampleObject
from training.errors import DataError

# Where pictures are, relative to the JSON: COCO's layout, that of RefCOCO's tools, exports.
BESIDE = (".", "images", "..", "../images")
REFER_BESIDE = ("../images/mscoco/images/train2014", "../images/train2014", "../train2014")


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoRecord(Record):
    """picture: path. segmentations, annotations (COCO's ids): one for each of ``objects``."""

    picture: str
    segmentations: tuple[Segmentation, ...]
    annotations: tuple[int, ...]


class CocoDataset(RecordDataset[CocoRecord]):
    """Pictures with outlines or run lengths."""

    def __getitem__(self, index: int) -> Sample:
        record = self._records[index]
        image = decode_picture(record.picture, record.picture)
        height, width = image.shape[:2]
        if (width, height) != record.size:
            raise DataError(
                f"{record.picture} measures {width}x{height}, its annotation is for "
                f"{record.size[0]}x{record.size[1]}."
            )
        masks = {}
        for about, drawn, name in zip(
            record.objects, record.segmentations, record.annotations, strict=True
        ):
            try:
                masks[about.id] = drawn.draw(height, width)
            except ValueError as error:
                raise DataError(f"{record.picture}, annotation {name}: {error}.") from error
        crowds = [about.id for about in record.objects if about.semantic]
        instances, covered = layered(masks, (height, width), crowds)
        return Sample(
            record.key, self.source, image, instances, record.objects, record.expressions, covered
        )


def open_coco(path: Path, *, pictures: Path | None = None, split: str = "") -> CocoDataset:
    """Every picture with an object in an instances JSON.

    path: the JSON, or a folder with ``annotations/instances_SPLIT.json``. pictures: their folder,
    if it is not near the JSON. The source is "coco" for COCO's own files, else the name of the data
    set's folder. Raises DataError.
    """
    file = path if path.suffix == ".json" else _instances_file(path, split)
    home = file.resolve().parent
    home = home.parent if home.name == "annotations" else home
    source = "coco" if re.fullmatch(r"instances_(train|val)20\d\d", file.stem) else home.name
    skipping = SkipCounter(source)
    records = [record for record in read_records(file, skipping).values() if record.objects]
    name = file.stem.removeprefix("instances_")
    folders = (
        [pictures] if pictures else _beside(file, (*BESIDE, f"../{name}", f"../images/{name}"))
    )
    present = with_pictures(records, folders, skipping)
    if not present:
        raise DataError(f"{file} describes no picture with an object.")
    return CocoDataset(source, present, skipping.finish())


def read_records(file: Path, skipping: SkipCounter) -> dict[int, CocoRecord]:
    """The pictures in an instances JSON by id; files are not looked for. Raises DataError."""
    content = read_json(file)
    if not isinstance(content, dict):
        raise DataError(f"{file} is not an instances JSON of COCO: it has no images.")
    try:
        names = {
            int(category["id"]): str(category["name"]) for category in content.get("categories", ())
        }
        images = {int(image["id"]): image for image in content["images"]}
        of_image: dict[int, list[Mapping[str, Any]]] = {}
        for annotation in content["annotations"]:
            of_image.setdefault(int(annotation["image_id"]), []).append(annotation)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file} is not an instances JSON of COCO: {error!r}.") from error
    del content
    for number in sorted(set(of_image) - set(images)):
        for annotation in of_image.pop(number):
            skipping.add(f"annotation {annotation.get('id')} of a picture {number} without entry")
    records = {}
    for number, image in images.items():
        try:
            # Popped, so that a picture's long lists are freed once its compact ones are made.
            records[number] = _record(image, of_image.pop(number, []), names, skipping)
        except (KeyError, TypeError, ValueError) as error:
            skipping.add(f"picture {number}: {error!r} in its entry")
    return records


def with_pictures(
    records: Iterable[CocoRecord], folders: Sequence[Path], skipping: SkipCounter
) -> list[CocoRecord]:
    """The records whose picture exists, in the first of these folders that has any of them.

    Raises DataError that names all folders if none has.
    """
    records = list(records)
    listed: dict[str, set[str]] = {}

    def present(path: str) -> bool:
        # One listing per folder: 118,000 look-ups on a network drive take minutes.
        parent, _, name = path.rpartition("/")
        if parent not in listed:
            listed[parent] = set(os.listdir(parent)) if os.path.isdir(parent) else set()
        return name in listed[parent]

    for folder in folders:
        if any(present(f"{folder}/{record.picture}") for record in records):
            break
    else:
        where = ", ".join(str(folder) for folder in folders)
        first = records[0].picture if records else "any picture"
        raise DataError(f"No picture like {first} in {where}: add ?pictures=FOLDER.")
    kept = []
    for record in records:
        path = f"{folder}/{record.picture}"
        try:
            if not present(path):
                raise DataError(f"{path} is missing.")
            size = record.size if all(record.size) else picture_size(path, path)
            kept.append(dataclasses.replace(record, picture=path, size=size))
        except DataError as error:
            skipping.add(error)
    return kept


def refer_folders(folder: Path) -> list[Path]:
    """Where COCO's pictures may be, relative to a folder of RefCOCO."""
    return _beside(folder / "instances.json", (*REFER_BESIDE, *BESIDE, "train2014"))


def _beside(file: Path, names: Sequence[str]) -> list[Path]:
    return list(dict.fromkeys((file.parent / name).resolve() for name in names))


def _instances_file(folder: Path, split: str) -> Path:
    files = sorted((folder / "annotations").glob("instances_*.json"))
    known = {path.stem.removeprefix("instances_"): path for path in files}
    if split in known:
        return known[split]
    if not split and len(files) == 1:
        return files[0]
    raise DataError(
        f"{folder}: add ?split=SPLIT, one of {', '.join(known)}."
        if known
        else f"{folder}: expected annotations/instances_SPLIT.json in it."
    )


def _record(
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    names: Mapping[int, str],
    skipping: SkipCounter,
) -> CocoRecord:
    # Some exports contain Windows paths.
    path = str(image["file_name"]).replace("\\", "/")
    width, height = int(image.get("width") or 0), int(image.get("height") or 0)
    objects, drawn, ids = [], [], []
    for annotation in annotations:
        try:
            drawn.append(read_segmentation(annotation.get("segmentation"), height, width))
            name = names.get(int(annotation.get("category_id", -1)))
            objects.append(SampleObject(len(drawn), name, bool(annotation.get("iscrowd", 0))))
            ids.append(int(annotation.get("id", len(drawn))))
        except (TypeError, ValueError) as error:
            skipping.add(f"{path}, annotation {annotation.get('id')}: {error}.")
            del drawn[len(objects) :]
    return CocoRecord(
        PurePosixPath(path).stem,
        (width, height),
        tuple(objects),
        picture=path,
        segmentations=tuple(drawn),
        annotations=tuple(ids),
    )
