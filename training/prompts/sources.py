"""What the annotations of each source leave out, and what may be asked of it for that reason.

A source that is not named here has some of its objects annotated and all siblings of these; what is
missing in a picture cannot be said of it.
"""

from __future__ import annotations

CLICKABLE_REGIONS = frozenset({"msrc", "camvid", "ecssd", "bsds", "human"})
"""Sources whose semantic regions are one stuff or one thing, fit to be clicked as they are."""

COMPLETE = frozenset(
    {"voc", "sbd", "coco", "refcoco", "refcoco+", "refcocog", "grefcoco", "synthetic"}
)
"""Sources that annotate all of their categories wherever those occur: what else is absent."""

INCOMPLETE = frozenset({"coco_persons", "persons"})
"""Sources that annotate one object and leave others of its kind out: no phrase alone can be
answered, and nothing is said that compares it with the others."""
