"""Synthetic scenes without end: shapes, textures, crowds, defects, with exact masks.

Photographs with masks show a few kinds of things; teams label cells, cracks, weeds and tiles too.
Scenes teach what does not depend on the kind: that a click means the region under it, where such a
region ends, and what words of side, order, colour, size, number and texture are about. `layouts`
says what is where, `shapes` and `paths` how it is drawn, `styles`, `looks` and `painting` what its
surface looks like, `camera` how it was photographed.
"""

from training.data.synthetic.dataset import SyntheticDataset

__all__ = ["SyntheticDataset"]
