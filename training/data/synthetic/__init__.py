"""Endless synthetic scenes: shapes, textures, crowds and defects, with exact masks.

Photographs with masks show a few kinds of things, but teams also label cells, cracks, weeds and
tiles. Scenes teach what does not depend on the kind: that a click means the region under it, where
a region ends, and words of side, order, colour, size, number and texture.

layouts.py and tiling.py decide what is where, shapes.py draws it into a scene (scene.py),
styles.py, palette.py, textures.py and painting.py give it a surface, camera.py photographs it, and
dataset.py is the data set.
"""

from training.data.synthetic.dataset import SyntheticDataset

__all__ = ["SyntheticDataset"]
