"""COCO's instances JSON, from COCO itself or any tool that exports it, and what people said of it.

Annotations are kept in compact form (float32 corners, run lengths) and drawn on request, so that
COCO's 118,000 pictures fit into memory. A region with ``iscrowd`` holds several objects and becomes
a semantic object.

RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO are referring expressions for COCO's pictures: a pickle of
``[{ann_id, image_id, split, sentences: [{sent}]}]`` (https://github.com/lichengunc/refer), or
gRefCOCO's JSON of the same shape, in which ``ann_id`` is a list: several objects, or ``[-1]`` for
none (https://github.com/henghuiding/gRefCOCO). All annotated objects of a picture are read, since a
phrase singles out one of them. Pickles are read without allowing any name, since a pickle can name
any Python function and have it called.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pickle
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from training.data import reading
from training.data.masks import Segmentation, layered, read_segmentation
from training.data.sample import Expression, Record, RecordDataset, Sample, SampleObject
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
        image = reading.decode_picture(record.picture, record.picture)
        reading.same_size(record.size[::-1], image.shape, record.picture)
        height, width = image.shape[:2]
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
    skipping = reading.SkipCounter(source)
    records = [record for record in read_records(file, skipping).values() if record.objects]
    name = file.stem.removeprefix("instances_")
    beside = _beside(file, (*BESIDE, f"../{name}", f"../images/{name}"))
    present = with_pictures(records, [pictures] if pictures else beside, skipping)
    if not present:
        raise DataError(f"{file} describes no picture with an object.")
    return CocoDataset(source, present, skipping.finish())


def read_records(file: Path, skipping: reading.SkipCounter) -> dict[int, CocoRecord]:
    """The pictures in an instances JSON by id; files are not looked for. Raises DataError."""
    content = reading.read_json(file)
    if not isinstance(content, dict):
        raise DataError(f"{file} is not an instances JSON of COCO: it has no images.")
    try:
        names = {
            int(category["id"]): str(category["name"]) for category in content.get("categories", ())
        }
        images = {int(image["id"]): image for image in content["images"]}
        of_image: defaultdict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for annotation in content["annotations"]:
            of_image[int(annotation["image_id"])].append(annotation)
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
    records: Iterable[CocoRecord], folders: Sequence[Path], skipping: reading.SkipCounter
) -> list[CocoRecord]:
    """The records whose picture exists, in the first of these folders that has any of them.

    Raises DataError that names all folders if none has.
    """
    records = list(records)

    # One listing per folder: 118,000 look-ups on a network drive take minutes.
    @functools.cache
    def listed(parent: str) -> frozenset[str]:
        return frozenset(os.listdir(parent)) if os.path.isdir(parent) else frozenset()

    def present(path: str) -> bool:
        parent, _, name = path.rpartition("/")
        return name in listed(parent)

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
            size = record.size if all(record.size) else reading.picture_size(path, path)
            kept.append(dataclasses.replace(record, picture=path, size=size))
        except DataError as error:
            skipping.add(error)
    return kept


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
    skipping: reading.SkipCounter,
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


# The divisions in order of preference: first the one that papers report.
PARTITIONS = ("unc", "umd", "google")
NOTHING = -1


class Ref(NamedTuple):
    """The expressions for one or more objects. annotations: COCO's ids; empty for none."""

    image: int
    annotations: tuple[int, ...]
    split: str
    texts: list[str]


def refs_file(folder: Path, by: str = "") -> Path | None:
    """The file of expressions in a folder, None where there is none."""
    for partition in (by,) if by else PARTITIONS:
        for name in (f"refs({partition}).p", f"grefs({partition}).json"):
            if (folder / name).is_file():
                return folder / name
    return None


def open_refcoco(
    folder: Path, *, split: str = "", by: str = "", pictures: Path | None = None
) -> CocoDataset:
    """The pictures of one split, with all their objects and expressions.

    split: by default "train". by: whose division, "unc", "google" or "umd". pictures: the folder of
    COCO's train2014. The source is the folder's name. Raises DataError.
    """
    file = refs_file(folder, by)
    if file is None:
        raise DataError(f"{folder}: expected refs({by or 'unc'}).p and instances.json in it.")
    source = folder.resolve().name
    skipping = reading.SkipCounter(source)
    refs = list(_read_refs(file, skipping))
    split = reading.chosen_split(split, sorted({ref.split for ref in refs}), source, file)
    chosen: defaultdict[int, list[Ref]] = defaultdict(list)
    for ref in refs:
        if ref.split == split:
            chosen[ref.image].append(ref)
    records = read_records(folder / "instances.json", skipping)
    spoken = []
    for image, said in chosen.items():
        if image in records:
            spoken.append(_spoken(records[image], said, skipping))
        else:
            skipping.add(f"expressions for picture {image}, which is not in instances.json")
    beside = _beside(folder / "instances.json", (*REFER_BESIDE, *BESIDE, "train2014"))
    present = with_pictures(spoken, [pictures] if pictures else beside, skipping)
    return CocoDataset(source, present, skipping.finish())


def _spoken(record: CocoRecord, said: Sequence[Ref], skipping: reading.SkipCounter) -> CocoRecord:
    """The record with its phrases and expressions."""
    number = dict(zip(record.annotations, record.objects, strict=True))
    phrases: defaultdict[int, list[str]] = defaultdict(list)
    expressions: list[Expression] = []
    for ref in said:
        lost = [annotation for annotation in ref.annotations if annotation not in number]
        if lost:
            skipping.add(f"'{ref.texts[0]}' of {record.picture}: object {lost[0]} is missing")
        elif len(ref.annotations) == 1:
            phrases[number[ref.annotations[0]].id] += ref.texts
        else:
            ids = tuple(number[annotation].id for annotation in ref.annotations)
            expressions.extend(Expression(text, ids) for text in ref.texts)
    objects: tuple[SampleObject, ...] = tuple(
        dataclasses.replace(about, phrases=tuple(dict.fromkeys(phrases[about.id])))
        for about in record.objects
    )
    return dataclasses.replace(record, objects=objects, expressions=tuple(expressions))


def _read_refs(file: Path, skipping: reading.SkipCounter) -> Iterator[Ref]:
    content = reading.read_json(file) if file.suffix == ".json" else read_plain_pickle(file)
    if not isinstance(content, list):
        raise DataError(f"{file}: expected a list of refs, this is a {type(content).__name__}.")
    for place, raw in enumerate(content):
        try:
            ids = raw["ann_id"] if isinstance(raw["ann_id"], list | tuple) else [raw["ann_id"]]
            numbers = dict.fromkeys(int(number) for number in ids if int(number) != NOTHING)
            texts = filter(None, (str(said["sent"]).strip() for said in raw["sentences"]))
            ref = Ref(int(raw["image_id"]), tuple(numbers), str(raw["split"]), list(texts))
        except (KeyError, TypeError, ValueError) as error:
            skipping.add(f"{file.name}, ref {place}: {error!r}")
            continue
        if ref.texts:
            yield ref


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
        # The unpickler raises nearly any error for broken bytes.
        raise DataError(f"{path} is not a complete pickle: {error}.") from error
