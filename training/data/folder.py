"""A folder of pictures with one mask each, such as GrabCut, Berkeley and DAVIS.

Picture and mask are next to each other (``name.jpg`` + ``name.png``), or in two folders under the
same names: ``data_GT`` + ``boundary_GT`` (GrabCut), ``images`` + ``masks`` (Berkeley), ``img`` +
``gt`` (345 frames of DAVIS), as distributed for interactive segmentation
(https://github.com/SamsungLabs/fbrs_interactive_segmentation), or ``JPEGImages`` + ``Annotations``.
A mask holds 0 (background), 255 (object) and 128 (void). ``name.txt`` next to a picture holds its
phrases, one per line.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data import reading
from training.data.sample import VOID, Record, RecordDataset, Sample, SampleObject
from training.errors import DataError

SIBLINGS = (
    ("data_GT", "boundary_GT"),
    ("images", "masks"),
    ("img", "gt"),
    ("JPEGImages", "Annotations"),
)
MASK_VOID = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record(Record):
    picture: Path
    mask: Path


class FolderDataset(RecordDataset[_Record]):
    """One object per picture. Pairs that do not fit are skipped, counted and logged."""

    def __init__(
        self, folder: Path, *, pictures: Path | None = None, masks: Path | None = None
    ) -> None:
        """pictures, masks: two folders with equal file names, if they are not found by layout."""
        source = folder.resolve().name
        skipping = reading.SkipCounter(source)
        records = []
        for key, picture, mask in _pairs(folder, pictures, masks):
            try:
                records.append(_record(key, picture, mask))
            except DataError as error:
                skipping.add(error)
        super().__init__(source, records, skipping.finish())
        if not records:
            raise DataError(f"No picture with its mask in {folder}: expected name.jpg + name.png.")

    def __getitem__(self, index: int) -> Sample:
        record = self._records[index]
        image = reading.decode_picture(record.picture, str(record.picture))
        instances = _instances(reading.decode_mask(record.mask, str(record.mask)))
        reading.same_size(instances.shape, image.shape, str(record.mask))
        return Sample(record.key, self.source, image, instances, record.objects)


def is_folder_of_masks(folder: Path) -> bool:
    """Whether the folder has pictures and masks in a known layout."""
    if not folder.is_dir():
        return False
    return _siblings(folder) is not None or any(mask for _, mask in _side_by_side(folder))


def _record(key: str, picture: Path, mask: Path | None) -> _Record:
    if mask is None:
        raise DataError(f"{picture} has no mask.")
    size = reading.picture_size(picture, str(picture))
    reading.same_size(reading.picture_size(mask, str(mask))[::-1], size[::-1], str(mask))
    said = picture.with_suffix(".txt")
    lines = said.read_text("utf-8", "replace").splitlines() if said.is_file() else []
    about = SampleObject(1, None, phrases=tuple(line.strip() for line in lines if line.strip()))
    return _Record(key.replace("/", "-"), size, (about,), picture=picture, mask=mask)


def _pairs(
    folder: Path, pictures: Path | None, masks: Path | None
) -> list[tuple[str, Path, Path | None]]:
    if not folder.is_dir():
        raise DataError(f"The folder {folder} is missing.")
    known = _siblings(folder)
    if pictures is None and masks is None and known is None:
        return [(picture.stem, picture, mask) for picture, mask in _side_by_side(folder)]
    where, drawn = known or (folder, folder)
    masks_of = reading.pictures_in(masks or drawn)
    return [
        (key, path, masks_of.get(key))
        for key, path in reading.pictures_in(pictures or where).items()
    ]


def _siblings(folder: Path) -> tuple[Path, Path] | None:
    """The folders of pictures and of masks in it, if it has both."""
    pairs = ((folder / pictures, folder / masks) for pictures, masks in SIBLINGS)
    return next((pair for pair in pairs if pair[0].is_dir() and pair[1].is_dir()), None)


def _side_by_side(folder: Path) -> list[tuple[Path, Path | None]]:
    """Every picture that is not a .png, with the .png of the same name."""
    files = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in reading.PICTURE_SUFFIXES
    )
    masks = {path.stem: path for path in files if path.suffix.lower() == ".png"}
    return [(path, masks.get(path.stem)) for path in files if path.suffix.lower() != ".png"]


def _instances(mask: NDArray[np.uint8]) -> NDArray[np.int16]:
    """The H,W id map of a mask's H,W,3 colours: grey 128 is void, brighter is the object."""
    void = (mask == MASK_VOID).all(2)
    brightest = mask.max(2)
    # Coloured label maps have components of 128; some tools write masks of 0 and 1.
    threshold = 0 if brightest.max(initial=0) <= 1 else MASK_VOID - 1
    return np.where(void, VOID, brightest > threshold).astype(np.int16)
