"""No made phrase is false: each is parsed back and checked against the picture by other means.

The reader of phrases below knows English, masks and pixels, and nothing of how phrases are made:
it finds everything that the noun may mean, lets each word leave out what it does not hold of, and
looks at what is left.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.data.sample import SampleObject
from training.prompts.phrases import describe, name_absent, name_all
from training.prompts.scenes import Phrase, Scene

PAINT = {
    "red": (215, 25, 25),
    "blue": (25, 45, 215),
    "green": (30, 170, 40),
    "yellow": (235, 220, 30),
    "black": (10, 10, 12),
    "white": (250, 250, 250),
}
# What each category may be meant by (in doubt: yes), and what it must be meant by.
MEANT: dict[str | None, tuple[str, str]] = {
    "dog": ("dog doggy", "puppy"),
    "cow": ("cow", "bull cattle"),
    "sofa": ("sofa couch", "chair seat bench"),
    "chair": ("chair seat", "sofa couch bench"),
    "handbag": ("handbag bag purse", "backpack suitcase luggage wallet"),
    "backpack": ("backpack bag", "handbag purse suitcase luggage wallet"),
    "bicycle": ("bicycle bike cycle", "motorcycle motorbike bicyclist cyclist biker"),
    "motorcycle": (
        "motorcycle motorbike bike",
        "bicycle cycle bicyclist cyclist biker car auto vehicle",
    ),
    None: ("", "*"),
}
KINDS = tuple(MEANT)
COLOUR = {name: name for name in PAINT} | {"gray": "grey", "grey": "grey"}
NAMES = {word for sure, perhaps in MEANT.values() for word in f"{sure} {perhaps}".split()} - {"*"}
NAMELESS = {"object", "thing", "one", "part"}


@dataclass(frozen=True)
class Picture:
    image: NDArray[np.uint8]
    instances: NDArray[np.int16]
    kinds: dict[int, str | None]
    semantic: frozenset[int]

    @property
    def scene(self) -> Scene:
        objects = [SampleObject(n, k, n in self.semantic) for n, k in self.kinds.items()]
        return Scene(self.image, self.instances, objects)

    def visible(self) -> list[int]:
        return [n for n in self.kinds if (self.instances == n).any()]

    def centre(self, number: int) -> tuple[float, float]:
        rows, columns = np.nonzero(self.instances == number)
        return float(columns.mean()), float(rows.mean())

    def area(self, number: int) -> int:
        return int((self.instances == number).sum())

    def light(self, number: int) -> float:
        return float(self.image[self.instances == number].mean())

    def share(self, number: int, colour: str) -> float:
        pixels = self.image[self.instances == number]
        return float((pixels == PAINT[colour]).all(1).mean()) if colour in PAINT else 0.0


def picture(seed: int, kinds: tuple[str | None, ...], crowd: float) -> Picture:
    """Random boxes in two colours each, some over others, so that parts of some are hidden."""
    rng = np.random.default_rng(seed)
    image = np.full((120, 200, 3), 128, np.uint8)
    instances = np.zeros((120, 200), np.int16)
    names: dict[int, str | None] = {}
    semantic = set()
    for number in range(1, int(rng.integers(2, 7))):
        x, y = rng.integers(0, 170), rng.integers(0, 90)
        wide, high = rng.integers(8, 60, 2)
        first, second = rng.choice(list(PAINT), 2)
        cut = int(rng.choice([0, wide, wide // 2, wide // 5]))
        image[y : y + high, x : x + wide] = PAINT[first]
        image[y : y + high, x : x + cut] = PAINT[second]
        instances[y : y + high, x : x + wide] = number
        names[number] = kinds[int(rng.integers(len(kinds)))]
        if rng.random() < crowd:
            semantic.add(number)
    return Picture(image, instances, names, frozenset(semantic))


def candidates(scene: Picture, noun: str) -> list[int]:
    """Everything that the noun may mean; anything without a noun, or for "one"."""
    if noun in NAMELESS or not noun:
        return scene.visible()
    result = []
    for number in scene.visible():
        sure, perhaps = MEANT[scene.kinds[number]]
        if perhaps == "*" or noun in sure.split() or noun in perhaps.split():
            result.append(number)
    return result


def meant(scene: Picture, text: str, number: int) -> set[int]:
    """What the words leave over; fails where a word does not hold of the object itself."""
    words = text.split()
    nouns = [word for word in words if word in NAMES | NAMELESS]
    assert len(nouns) <= 1, text
    pool = candidates(scene, nouns[0] if nouns else "")
    assert number in pool, text
    left = set(pool)
    rest = " ".join(word for word in words if word not in nouns)
    rest = re.sub(r"\b(the|a|an|on|in|at|to|far|and|corner)\b", " ", rest)
    counted = re.search(r"(first|second|third|fourth|fifth)\s+from\s+(\w+)", rest)
    if counted:
        axis = 0 if counted[2] in ("left", "right") else 1
        order = sorted(pool, key=lambda n: scene.centre(n)[axis])
        order = order if counted[2] in ("left", "top") else order[::-1]
        rank = ("first", "second", "third", "fourth", "fifth").index(counted[1])
        left &= {order[rank]}
        rest = rest.replace(counted[0], " ")
        assert rank == 0 or not rest.split(), f"{text}: another word would change what is counted"
    corner = re.search(r"(top|upper|bottom|lower)\s+(left|right)", rest)
    if corner:
        left &= {n for n in pool if in_corner(scene, n, corner[1] in ("top", "upper"), corner[2])}
        rest = rest.replace(corner[0], " ")
    for word in rest.split():
        left &= holds(scene, word, pool, number)
    assert number in left, text
    return left


def in_corner(scene: Picture, number: int, top: bool, side: str) -> bool:
    x, y = scene.centre(number)
    return (y < 60) == top and (x < 100) == (side == "left")


def holds(scene: Picture, word: str, pool: list[int], number: int) -> set[int]:
    """Those of the pool for which one word holds."""
    x = {n: scene.centre(n)[0] for n in pool}
    y = {n: scene.centre(n)[1] for n in pool}
    area = {n: scene.area(n) for n in pool}
    if word in COLOUR:
        return {n for n in pool if scene.share(n, COLOUR[word]) >= 0.2}
    if word in ("left", "leftmost", "right", "rightmost") and len(pool) == 1:
        return {n for n in pool if (x[n] < 80) == word.startswith("left")}
    if word in ("left", "leftmost"):
        return {min(x, key=x.__getitem__)}
    if word in ("right", "rightmost"):
        return {max(x, key=x.__getitem__)}
    if word in ("top", "topmost", "upper", "highest"):
        return {min(y, key=y.__getitem__)}
    if word in ("bottom", "bottommost", "lower", "lowest"):
        return {max(y, key=y.__getitem__)}
    if word in ("middle", "center"):
        if len(pool) == 1:
            return {n for n in pool if abs(x[n] - 100) < 25}
        assert len(pool) == 3
        return {sorted(x, key=x.__getitem__)[1]}
    if word in ("dark", "darker", "darkest", "bright", "brighter", "brightest"):
        assert "est" in word or len(pool) == 2
        light = {n: scene.light(n) for n in pool}
        return {(min if word.startswith("dark") else max)(light, key=light.__getitem__)}
    if word in ("biggest", "largest", "big", "large", "bigger", "larger"):
        assert "est" in word or len(pool) == 2
        return {max(area, key=area.__getitem__)}
    if word in ("smallest", "tiniest", "small", "little", "smaller"):
        assert "est" in word or len(pool) == 2
        return {min(area, key=area.__getitem__)}
    if word == "most":
        return set(pool)
    raise AssertionError(f"what does {word!r} mean?")


kinds = st.lists(st.sampled_from(KINDS), min_size=1, max_size=4).map(tuple)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kinds=kinds)
@example(seed=0, kinds=("dog",))
@example(seed=1, kinds=("handbag", "backpack"))
def test_a_phrase_for_one_leaves_that_one_alone(seed: int, kinds: tuple[str | None, ...]) -> None:
    scene = picture(seed, kinds, crowd=0.1)
    rng = np.random.default_rng(seed)
    for one in scene.scene.seen:
        for _ in range(4):
            phrase = describe(scene.scene, one, rng, unique=True)
            if phrase is None or one.about.semantic:
                continue
            assert phrase.ids == (one.about.id,)
            assert meant(scene, phrase.text, one.about.id) == {one.about.id}
            check_attributes(phrase)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kinds=kinds)
def test_what_is_said_beside_a_click_is_true_of_the_clicked_one(
    seed: int, kinds: tuple[str | None, ...]
) -> None:
    scene = picture(seed, kinds, crowd=0.1)
    rng = np.random.default_rng(seed)
    for one in scene.scene.seen:
        phrase = describe(scene.scene, one, rng, unique=False)
        assert phrase is not None
        left = meant(scene, phrase.text, one.about.id)
        assert one.about.id in left
        if phrase.text.startswith("the ") and one.concept is not None:
            assert left == {one.about.id}
        check_attributes(phrase)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kinds=kinds)
def test_a_bare_name_denotes_all_that_bear_it_and_says_what_is_in_doubt(
    seed: int, kinds: tuple[str | None, ...]
) -> None:
    scene = picture(seed, kinds, crowd=0.1)
    rng = np.random.default_rng(seed)
    for concept in sorted(scene.scene.concepts()):
        phrase = name_all(scene.scene, concept, rng)
        noun = phrase.text.split()[-1]
        endings = (("", ""), ("s", ""), ("es", ""), ("ies", "y"))
        nouns = {noun.removesuffix(cut) + new for cut, new in endings if noun.endswith(cut)} & NAMES
        assert nouns, phrase.text
        sure = {n for n in scene.visible() if nouns & set(MEANT[scene.kinds[n]][0].split())}
        perhaps = {n for noun in nouns for n in candidates(scene, noun)} - sure
        if sure:
            assert set(phrase.ids) == sure
            assert set(phrase.unsure) == perhaps
        else:
            # a narrower word, which is used of a single thing without any doubt beside it
            assert set(phrase.ids) == perhaps
            assert len(perhaps) == 1
        if phrase.text.startswith(("a ", "an ")):
            assert len(phrase.ids) == 1


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kinds=kinds)
def test_what_is_absent_can_be_meant_by_nothing_in_the_picture(
    seed: int, kinds: tuple[str | None, ...]
) -> None:
    scene = picture(seed, kinds, crowd=0.1)
    known = tuple(kind for kind in KINDS if kind)
    phrase = name_absent(scene.scene, known, np.random.default_rng(seed))
    if phrase is not None:
        assert phrase.ids == ()
        meant_by_noun = candidates(scene, phrase.text.split()[-1])
        if len(phrase.attributes) == 2:
            # a thing that is there, in a colour that none of its kind has
            colour = phrase.attributes[1]
            assert meant_by_noun
            assert all(scene.share(n, colour) == 0 for n in meant_by_noun)
        else:
            assert meant_by_noun == []


def check_attributes(phrase: Phrase) -> None:
    """Colours, places and sizes among the attributes are those said; categories those named."""
    words = set(phrase.text.split())
    spoken = {COLOUR[word] for word in words if word in COLOUR}
    spoken |= {s for s in ("left", "right", "top", "bottom") if any(s in word for word in words)}
    spoken |= {"top"} if words & {"upper", "highest"} else set()
    spoken |= {"bottom"} if words & {"lower", "lowest"} else set()
    spoken |= {s for s in ("dark", "bright") if any(word.startswith(s) for word in words)}
    if words & {"middle", "center"}:
        spoken.add("middle")
    if words & {"biggest", "largest", "big", "large", "bigger", "larger"}:
        spoken.add("big")
    if words & {"smallest", "tiniest", "small", "little", "smaller"}:
        spoken.add("small")
    categories = {name for name in phrase.attributes if name in MEANT}
    assert set(phrase.attributes) - categories == spoken
    assert bool(categories) == bool(words & NAMES)
