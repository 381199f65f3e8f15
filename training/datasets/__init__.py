"""Data sets, each read in its own well-known format into the same plain samples."""

from training.datasets.pack import PackDataset
from training.datasets.sample import VOID, Dataset, Sample, SampleObject

__all__ = ["VOID", "Dataset", "PackDataset", "Sample", "SampleObject"]
