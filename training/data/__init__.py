"""Data sets, each read in its own well-known format into the same plain samples."""

from training.data.folder import FolderDataset
from training.data.opening import open_dataset
from training.data.overlap import overlapping
from training.data.pack import PackDataset
from training.data.sample import VOID, Dataset, Expression, Sample, SampleObject
from training.data.wrappers import Concatenated, Tolerant, Without

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
