"""Photographs as they are, in parts, mirrored or without colour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from training.data.masks import Outline
from training.gate.general_set.photographs import SOURCES, mask_of
from training.gate.general_set.scene import Scene

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
