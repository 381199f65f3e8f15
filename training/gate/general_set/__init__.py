"""The frozen general set: what a version should still do well after learning something else.

It ships with the package (README.md beside it says what is in it and under which licences), was
trained on by nothing, and never changes: figures of one day are comparable with those of another.
"""

from __future__ import annotations

from pathlib import Path

from training.data.pack import PackDataset

SHARD = Path(__file__).parent / "general.tar"


def open_general_set() -> PackDataset:
    """The set, read as any other."""
    return PackDataset([SHARD])
