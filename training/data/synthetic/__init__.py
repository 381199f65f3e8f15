"""Endless synthetic scenes: shapes, textures, crowds and defects, with exact masks.

Photographs with masks show a few kinds of things, but teams also label cells, cracks, weeds and
tiles. Scenes teach what does not depend on the kind: that a click means the region under it, where
a region ends, and words of side, order, colour, size, number and texture.

layouts.py decides what is where, shapes.py has the outlines, surfaces.py the colours and textures,
scene.py draws and paints, styles.py has the kinds of pictures and the camera that takes them, and
dataset.py is the data set.
"""

from training.data.synthetic.dataset import SyntheticDataset

__all__ = ["SyntheticDataset"]
