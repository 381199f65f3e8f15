"""Makes the general set again: python -m training.gate.general_set.make [FILE]

From scikit-image and the outlines in this folder alone. The set is frozen: a new one is another
yardstick, so it is made again only to see that it can be.
"""

from __future__ import annotations

import io
import sys
import tarfile
from itertools import chain
from pathlib import Path

from training.gate.general_set import SHARD
from training.gate.general_set.composed import scenes
from training.gate.general_set.scene import views


def make(path: Path) -> None:
    """Write the shard; the same bytes wherever the same libraries encode the pictures."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for scene in chain(views(), scenes()):
            for suffix, data in scene.members().items():
                about = tarfile.TarInfo(f"{scene.key}.{suffix}")
                about.size = len(data)
                archive.addfile(about, io.BytesIO(data))


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else SHARD)
