"""RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO: referring expressions for COCO's pictures.

A folder holds ``instances.json`` (COCO's annotations of the pictures used) and the expressions:
``refs(unc).p``, ``refs(google).p`` or ``refs(umd).p``, a pickle of
``[{ann_id, image_id, split, sentences: [{sent}]}]`` (https://github.com/lichengunc/refer), or
gRefCOCO's ``grefs(unc).json`` of the same shape, in which ``ann_id`` is a list: several objects, or
``[-1]`` for none (https://github.com/henghuiding/gRefCOCO).

All annotated objects of a picture are read, since a phrase singles out one of them. Phrases for one
object are the object's, phrases for several or none are expressions of the picture. Pickles are
read without allowing any name, since a pickle can name any Python function and have it called;
lists, dicts, text and numbers need no names.
"""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.data.coco import (
    CocoDataset,
    CocoRecord,
    read_records,
    refer_folders,
    with_pictures,
)
from training.data.reading import SkipCounter, chosen_split, read_json
from training.data.sample import Expression, SampleObject
from training.errors import DataError

# The divisions in order of preference: first the one that papers report.
PARTITIONS = ("unc", "umd", "google")
NOTHING = -1


@dataclass(frozen=True)
class Ref:
    """The expressions for one or more objects. annotations: COCO's ids; empty for none."""

    image: int
    annotations: tuple[int, ...]
    split: str
    texts: tuple[str, ...]


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
    skipping = SkipCounter(source)
    refs = list(_read_refs(file, skipping))
    splits = sorted({ref.split for ref in refs})
    split = chosen_split(split, splits, source, file)
    chosen: dict[int, list[Ref]] = {}
    for ref in refs:
        if ref.split == split:
            chosen.setdefault(ref.image, []).append(ref)
    records = read_records(folder / "instances.json", skipping)
    spoken = []
    for image, said in chosen.items():
        if image in records:
            spoken.append(_spoken(records[image], said, skipping))
        else:
            skipping.add(f"expressions for picture {image}, which is not in instances.json")
    folders = [pictures] if pictures else refer_folders(folder)
    present = with_pictures(spoken, folders, skipping)
    return CocoDataset(source, present, skipping.finish())


def _spoken(record: CocoRecord, said: Sequence[Ref], skipping: SkipCounter) -> CocoRecord:
    """The record with its phrases and expressions."""
    number = dict(zip(record.annotations, record.objects, strict=True))
    phrases: dict[int, list[str]] = {}
    expressions: list[Expression] = []
    for ref in said:
        lost = [annotation for annotation in ref.annotations if annotation not in number]
        if lost:
            skipping.add(f"'{ref.texts[0]}' of {record.picture}: object {lost[0]} is missing")
        elif len(ref.annotations) == 1:
            phrases.setdefault(number[ref.annotations[0]].id, []).extend(ref.texts)
        else:
            ids = tuple(number[annotation].id for annotation in ref.annotations)
            expressions.extend(Expression(text, ids) for text in ref.texts)
    objects: tuple[SampleObject, ...] = tuple(
        dataclasses.replace(about, phrases=tuple(dict.fromkeys(phrases.get(about.id, ()))))
        for about in record.objects
    )
    return dataclasses.replace(record, objects=objects, expressions=tuple(expressions))


def _read_refs(file: Path, skipping: SkipCounter) -> Iterator[Ref]:
    content = read_json(file) if file.suffix == ".json" else read_plain_pickle(file)
    if not isinstance(content, list):
        raise DataError(f"{file}: expected a list of refs, this is a {type(content).__name__}.")
    for place, raw in enumerate(content):
        try:
            ref = _ref(raw)
        except (KeyError, TypeError, ValueError) as error:
            skipping.add(f"{file.name}, ref {place}: {error!r}")
            continue
        if ref.texts:
            yield ref


def _ref(raw: Mapping[str, Any]) -> Ref:
    ids = raw["ann_id"] if isinstance(raw["ann_id"], list | tuple) else [raw["ann_id"]]
    texts = [str(sentence["sent"]).strip() for sentence in raw["sentences"]]
    return Ref(
        int(raw["image_id"]),
        tuple(dict.fromkeys(int(number) for number in ids if int(number) != NOTHING)),
        str(raw["split"]),
        tuple(text for text in texts if text),
    )


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
