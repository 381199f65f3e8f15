"""Data sets, each read in its own well-known format into the same plain samples."""

from training.datasets.folder import FolderDataset
from training.datasets.joined import Joined, Without
from training.datasets.opening import open_dataset
from training.datasets.overlap import overlapping
from training.datasets.pack import PackDataset
from training.datasets.sample import VOID, Dataset, Expression, Sample, SampleObject
from training.datasets.tolerant import Tolerant

__all__ = [
    "VOID",
    "Dataset",
    "Expression",
    "FolderDataset",
    "Joined",
    "PackDataset",
    "Sample",
    "SampleObject",
    "Tolerant",
    "Without",
    "open_dataset",
    "overlapping",
]
