"""A team's pictures: enough that half of them may be labeled and 40 objects are left to test."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

PICTURES = 30


@pytest.fixture
def team(
    tmp_path: Path,
    make_shard: Callable[..., Path],
    make_members: Callable[..., dict[str, bytes]],
    drawn: Callable,
) -> Path:
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
        members = make_members(
            *drawn(shapes, 108, 80), [(n, "ring", False) for n in (1, 2, 3)], source="rings"
        )
        samples.append((f"bench-{number:02}", members))
    path = tmp_path / "rings.tar"
    make_shard(samples).rename(path)
    return path
