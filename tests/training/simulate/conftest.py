"""A team's pictures: enough that half of them may be labeled and 40 objects are left to test."""

from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import draw, members, write_shard

PICTURES = 30


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """Pictures with three rings each, in places of their own."""
    rng = np.random.default_rng(1)
    samples = []
    for number in range(PICTURES):
        x = int(rng.integers(0, 20))
        shapes = [
            (1, (4 + x, 4, 30 + x, 30), (215, 25, 25)),
            (2, (56 + x, 8, 84 + x, 36), (25, 45, 215)),
            (3, (20 + x, 44, 60 + x, 76), (30, 170, 40)),
        ]
        named = [(n, "ring", False) for n in (1, 2, 3)]
        ring = members(*draw(shapes, 108, 80), named, source="rings")
        samples.append((f"bench-{number:02}", ring))
    return write_shard(tmp_path / "rings.tar", samples)
