"""The photographs of the general set with the outlines of what is on them, and its scenes.

All photographs come inside scikit-image's package, free of rights by what its documentation says.
The outlines (`outlines.json`) were drawn by hand over enlarged pictures, moved to the edges by
GrabCut within a few pixels, and checked again; coins, galaxies and the cell by thresholds, checked
as well. A `Scene` is one picture of the set while it is made: layers of objects, later ones on top.
`views` are photographs as they are, in parts, mirrored or without colour.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from training.data.masks import Outline

OUTLINES = Path(__file__).with_name("outlines.json")

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Source:
    """A picture of `skimage.data`: what it is called there, who gave it, under which terms."""

    name: str
    terms: str
    by: str

    def pixels(self) -> Picture:
        """H,W,3; grey ones with three times the same."""
        pixels = np.asarray(getattr(skimage.data, self.name)())
        if pixels.dtype == bool:
            pixels = pixels.astype(np.uint8) * 255
        return np.stack([pixels] * 3, -1) if pixels.ndim == 2 else pixels[..., :3]


SOURCES = {
    source.name: source
    for source in (
        Source("astronaut", "public domain", "NASA"),
        Source("brick", "CC0", "CC0Textures"),
        Source("camera", "CC0", "Lav Varshney"),
        Source("cell", "CC0", "Paul Müller and others"),
        Source("chelsea", "CC0", "Stefan van der Walt"),
        Source("coffee", "CC0", "Rachel Michetti"),
        Source("coins", "no known copyright restrictions", "Brooklyn Museum"),
        Source("grass", "CC0", "linolafett"),
        Source("gravel", "CC0", "CC0Textures"),
        Source("horse", "CC0", "Andreas Preuss"),
        Source("hubble_deep_field", "public domain", "NASA"),
        Source("retina", "CC0", "Mikael Häggström"),
        Source("rocket", "public domain", "SpaceX"),
    )
}


@cache
def outlines() -> dict[str, dict[str, list[list[float]]]]:
    """By photograph and object: polygons, each x, y, x, y … in its pixels."""
    outlines: dict[str, dict[str, list[list[float]]]] = json.loads(OUTLINES.read_text("utf-8"))
    return outlines


def mask_of(
    photograph: str, name: str, size: tuple[int, int], box: tuple[int, int, int, int]
) -> Mask:
    """An object in a part of its photograph (left, top, right, bottom), shown width x height."""
    width, height = size
    left, top, right, bottom = box
    scale = np.array([width / (right - left), height / (bottom - top)])
    polygons = tuple(
        ((np.reshape(flat, (-1, 2)) - (left, top)) * scale).astype(np.float32)
        for flat in outlines()[photograph][name]
    )
    return Outline(polygons).draw(height, width)


# At least this many pixels of an object must be visible, and this share of it.
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


LONGEST = 320
# What is called by its category alone: (category, phrase).
WORDS = {
    "woman": ("person", "woman"),
    "man": ("person", "man"),
    "helmet": ("helmet", "helmet"),
    "shuttle": ("space shuttle", "space shuttle"),
    "flag": ("flag", "flag"),
    "hair": ("hair", "hair"),
    "patch": ("badge", "round badge"),
    "tag": ("badge", "name tag"),
    "cup": ("cup", "cup"),
    "saucer": ("plate", "plate"),
    "spoon": ("spoon", "spoon"),
    "liquid": ("coffee", "coffee"),
    "camera": ("camera", "camera"),
    "tower": ("building", "building"),
    "cat": ("cat", "cat"),
    "left eye": ("eye", "left eye"),
    "right eye": ("eye", "right eye"),
    "nose": ("nose", "nose"),
    "rocket": ("rocket", "rocket"),
    "platform": ("platform", "platform"),
    "optic disc": ("optic disc", "bright spot"),
    "cell": ("cell", "cell"),
}
# Where a cat ends below its chin nobody can tell.
CAT_VOID = np.array(((298, 284), (318, 260), (345, 243), (398, 300), (298, 300)), np.float32)
OTHER_SIDE = {"left eye": "right eye", "right eye": "left eye"}


@dataclass(frozen=True)
class View:
    """A part of a photograph (left, top, right, bottom), and what to ask for, the lowest first."""

    key: str
    photograph: str
    box: tuple[int, int, int, int]
    names: tuple[str, ...]
    mirrored: bool = False
    grey: bool = False
    longest: int = LONGEST
    # What hides others and is not asked for.
    covers: tuple[str, ...] = ()
    phrases: Mapping[str, str] = field(default_factory=dict)

    def scene(self) -> Scene:
        left, top = self.box[:2]
        picture = Image.fromarray(SOURCES[self.photograph].pixels()).crop(self.box)
        scale = self.longest / max(picture.size)
        size = round(picture.width * scale), round(picture.height * scale)
        pixels = np.asarray(picture.resize(size, Image.Resampling.LANCZOS))
        if self.grey:
            pixels = np.stack([np.asarray(Image.fromarray(pixels).convert("L"))] * 3, -1)
        scene = Scene(self.key, "photographs", pixels, (self.photograph,))
        for name in self.names:
            category, phrase = self._words(name)
            scene.add(mask_of(self.photograph, name, size, self.box), category, phrase)
        for name in self.covers:
            scene.cover(mask_of(self.photograph, name, size, self.box))
        if "cat" in self.names:
            moved = ((CAT_VOID - (left, top)) * scale).astype(np.float32)
            scene.cover(Outline((moved,)).draw(size[1], size[0]), void=True)
        if self.mirrored:
            scene.picture = scene.picture[:, ::-1].copy()
            scene.instances = scene.instances[:, ::-1].copy()
        return scene

    def _words(self, name: str) -> tuple[str, str]:
        if name.startswith(("coin", "galaxy")):
            kind = name.partition(" ")[0]
            return kind, kind
        category, phrase = WORDS[OTHER_SIDE.get(name, name) if self.mirrored else name]
        return category, self.phrases.get(name, phrase)


def _coins(*numbers: int) -> tuple[str, ...]:
    return tuple(f"coin {number}" for number in numbers)


def _galaxies(*numbers: int) -> tuple[str, ...]:
    return tuple(f"galaxy {number}" for number in numbers)


ASTRONAUT = 0, 0, 512, 512
COFFEE = 0, 0, 600, 400
VIEWS = (
    View("astronaut", "astronaut", ASTRONAUT, ("flag", "woman", "helmet", "shuttle")),
    View(
        "astronaut-grey", "astronaut", ASTRONAUT, ("woman", "shuttle"), True, True, 224, ("helmet",)
    ),
    View("astronaut-right", "astronaut", (262, 0, 512, 512), ("helmet", "shuttle"), mirrored=True),
    View("astronaut-head", "astronaut", (120, 0, 340, 220), ("hair",)),
    View("astronaut-left", "astronaut", (0, 0, 220, 330), ("flag", "woman")),
    View("astronaut-badges", "astronaut", (110, 310, 370, 490), ("patch", "tag", "helmet")),
    View("coffee", "coffee", COFFEE, ("saucer", "spoon", "cup")),
    View("coffee-grey", "coffee", COFFEE, ("saucer", "spoon", "cup"), True, True, 256),
    View("coffee-close", "coffee", (150, 0, 450, 230), ("liquid",)),
    View("coffee-spoon", "coffee", (290, 40, 530, 360), ("spoon",), mirrored=True),
    View("camera", "camera", (0, 0, 512, 512), ("man", "camera", "tower"), covers=("tripod",)),
    View("camera-right", "camera", (150, 40, 512, 290), ("camera", "tower"), mirrored=True),
    View("camera-man", "camera", (0, 40, 300, 340), ("man",), True, covers=("camera", "tripod")),
    View("cat", "chelsea", (0, 0, 451, 300), ("cat",)),
    View("cat-grey", "chelsea", (60, 0, 451, 300), ("cat",), True, True, 240),
    View("cat-eyes", "chelsea", (100, 50, 380, 290), ("left eye", "right eye", "nose")),
    View("cat-eyes-mirrored", "chelsea", (60, 20, 400, 280), ("left eye", "right eye"), True),
    View("rocket", "rocket", (180, 90, 470, 427), ("rocket", "platform")),
    View("rocket-far", "rocket", (0, 0, 640, 427), ("rocket", "platform"), mirrored=True),
    View("coins-few", "coins", (180, 85, 384, 225), _coins(9, 10, 11, 15, 16, 17)),
    View("coins-bottom", "coins", (0, 215, 384, 303), _coins(18, 19, 20, 21, 22, 23), True),
    View("retina", "retina", (0, 350, 700, 950), ("optic disc",)),
    View("retina-close", "retina", (60, 480, 400, 820), ("optic disc",), True, longest=224),
    View("galaxies-left", "hubble_deep_field", (240, 20, 520, 200), _galaxies(2, 3, 4, 5, 6)),
    View("galaxy", "hubble_deep_field", (60, 340, 220, 460), _galaxies(0)),
    View("galaxies-right", "hubble_deep_field", (640, 400, 820, 560), _galaxies(7)),
    View("cell", "cell", (230, 160, 550, 560), ("cell",)),
)


def views() -> Iterator[Scene]:
    """All of them."""
    for view in VIEWS:
        yield view.scene()
