"""One picture of the general set while it is made: layers of objects, what lies later on top."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from training.gate.general_set.photographs import SOURCES, Mask, Picture

# Of an object so many pixels must be seen, and such a share of it.
LEAST_PIXELS = 120
LEAST_SEEN = 0.4
VOID = 255
QUALITY = 82


@dataclass
class Scene:
    """A picture, H,W uint8 numbers of its objects (0 none), and what they are called.

    kind: the source that figures are grouped by. sources: names of the photographs in it.
    """

    key: str
    kind: str
    picture: Picture
    sources: tuple[str, ...]
    instances: Picture = field(init=False)
    called: dict[int, tuple[str, str]] = field(init=False, default_factory=dict)
    whole: dict[int, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.instances = np.zeros(self.picture.shape[:2], np.uint8)

    def add(self, mask: Mask, category: str, phrase: str) -> None:
        """One more object, over all that are there."""
        number = len(self.called) + 1
        self.instances[mask] = number
        self.called[number] = category, phrase
        self.whole[number] = int(mask.sum())

    def cover(self, mask: Mask, *, void: bool = False) -> None:
        """Something nobody asks for; void: where it ends cannot be told."""
        self.instances[mask] = VOID if void else 0

    def hidden(self, share: float = LEAST_SEEN) -> list[int]:
        """Objects of which too little is seen to ask for them: a smaller share of each."""
        seen = np.bincount(self.instances.ravel(), minlength=VOID + 1)
        return [
            number
            for number, whole in self.whole.items()
            if seen[number] < max(LEAST_PIXELS, share * whole)
        ]

    def members(self) -> dict[str, bytes]:
        """As files of a shard, by suffix."""
        gone = self.hidden()
        instances = np.where(np.isin(self.instances, gone), VOID, self.instances)
        about = {
            "source": self.kind,
            "objects": [
                {"id": number, "category": category, "semantic": False, "phrases": [phrase]}
                for number, (category, phrase) in self.called.items()
                if number not in gone
            ],
            "licence": self._licence(),
        }
        picture, masks = io.BytesIO(), io.BytesIO()
        Image.fromarray(self.picture).save(picture, "WEBP", quality=QUALITY, method=6)
        Image.fromarray(instances.astype(np.uint8)).save(masks, "PNG", optimize=True)
        return {
            "webp": picture.getvalue(),
            "inst.png": masks.getvalue(),
            "json": (json.dumps(about, ensure_ascii=False) + "\n").encode(),
        }

    def _licence(self) -> list[dict[str, str | None]]:
        """Of each photograph in it; of what has none, the project's own."""
        if not self.sources:
            return [{"photograph": None, "terms": "Apache-2.0", "by": "PhraseClick"}]
        return [
            {"photograph": name, "terms": SOURCES[name].terms, "by": SOURCES[name].by}
            for name in self.sources
        ]
