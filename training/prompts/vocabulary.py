"""What the categories of the data sets are called, and which of them are the same thing.

Data sets disagree about names ("sofa", "couch"; "tvmonitor", "tv"), and people even more. A
*concept* is one thing under one name: each category maps to a concept, and each concept has the
words that people use for it. Attributes, which the attribute head predicts from a phrase, are
concepts, colours, places and sizes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from model.spelling import key_of

CONCEPT_OF_CATEGORY = {
    "aeroplane": "airplane",
    "body": "body",
    "couch": "sofa",
    "diningtable": "dining table",
    "jumper": "sweater",
    "motorbike": "motorcycle",
    "pedestrian": "person",
    "potted plant": "pottedplant",
    "tvmonitor": "tv",
    "tights": "stockings",
}
"""Categories that are second names of another one. All others are their own concept."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "person": ("person", "person", "human"),
    "dog": ("dog", "dog", "doggy"),
    "cat": ("cat", "cat", "kitty"),
    "airplane": ("airplane", "plane", "aeroplane", "aircraft"),
    "motorcycle": ("motorcycle", "motorbike", "bike"),
    "bicycle": ("bicycle", "bike", "cycle"),
    "bicyclist": ("bicyclist", "cyclist", "biker"),
    "car": ("car", "car", "auto", "vehicle"),
    "bus": ("bus", "bus", "vehicle"),
    "truck": ("truck", "lorry", "vehicle"),
    "sofa": ("sofa", "couch"),
    "dining table": ("table", "dining table"),
    "pottedplant": ("plant", "potted plant"),
    "tv": ("tv", "screen"),
    "chair": ("chair", "seat"),
    "cell phone": ("cell phone", "phone", "mobile"),
    "wine glass": ("wine glass", "glass"),
    "handbag": ("handbag", "bag", "purse"),
    "purse": ("purse", "handbag", "bag"),
    "backpack": ("backpack", "bag"),
    "suitcase": ("suitcase", "luggage", "bag"),
    "refrigerator": ("refrigerator", "fridge"),
    "teddy bear": ("teddy bear", "teddy", "stuffed animal"),
    "donut": ("donut", "doughnut"),
    "hair drier": ("hair drier", "hair dryer"),
    "remote": ("remote", "remote control"),
    "mouse": ("mouse", "computer mouse"),
    "laptop": ("laptop", "computer"),
    "sports ball": ("sports ball", "ball"),
    "baseball bat": ("baseball bat", "bat"),
    "fire hydrant": ("fire hydrant", "hydrant"),
    "road": ("road", "street"),
    "pavement": ("pavement", "sidewalk"),
    "pole": ("pole", "post"),
    "skin": ("skin", "bare skin"),
    "t-shirt": ("tshirt", "t-shirt", "shirt", "tee"),
    "sweater": ("sweater", "jumper", "pullover"),
    "hoodie": ("hoodie", "sweatshirt"),
    "cardigan": ("cardigan", "sweater"),
    "blazer": ("blazer", "jacket"),
    "pants": ("pants", "trousers", "slacks"),
    "jeans": ("jeans", "pants", "denim"),
    "stockings": ("stockings", "tights"),
    "shoes": ("shoes", "footwear"),
    "boots": ("boots", "shoes"),
    "heels": ("heels", "high heels", "shoes"),
    "pumps": ("pumps", "heels", "shoes"),
    "sneakers": ("sneakers", "shoes"),
    "sandals": ("sandals", "shoes"),
    "loafers": ("loafers", "shoes"),
    "flats": ("flats", "shoes"),
    "wedges": ("wedges", "shoes"),
    "sunglasses": ("sunglasses", "shades", "glasses"),
    "glasses": ("glasses", "eyeglasses"),
    # Shapes.
    "ball": ("ball", "sphere"),
    "blob": ("blob", "blotch"),
    "circle": ("circle", "disc", "disk"),
    "crescent": ("crescent", "moon"),
    "cross": ("cross", "plus"),
    "diamond": ("diamond", "rhombus"),
    "dot": ("dot", "spot", "speck"),
    "drop": ("drop", "droplet"),
    "flower": ("flower", "blossom"),
    "frame": ("frame", "border"),
    "gear": ("gear", "cog"),
    "grass tuft": ("grass tuft", "grass", "tuft"),
    "hole": ("hole", "pit"),
    "mushroom cap": ("mushroom cap", "mushroom", "cap"),
    "ring": ("ring", "hoop"),
    "rod": ("rod", "capsule", "pill"),
    "splatter": ("splatter", "splash"),
    "sprout": ("sprout", "seedling", "plant"),
    "stain": ("stain", "smudge"),
    "stone": ("stone", "rock", "pebble"),
    "stroke": ("stroke", "brush stroke"),
    "thread": ("thread", "fiber", "fibre"),
    "crack": ("crack", "fissure"),
    "patch": ("patch", "area"),
    "wheel": ("wheel", "wheel", "tire", "tyre"),
    # Parts of cars: the whole name, and the bare noun, which is true of all of its kind.
    "front left door": ("front left door", "left front door", "door", "car door"),
    "front right door": ("front right door", "right front door", "door", "car door"),
    "back left door": ("back left door", "rear left door", "door", "car door"),
    "back right door": ("back right door", "rear right door", "door", "car door"),
    "front left light": ("front left light", "left headlight", "headlight", "light"),
    "front right light": ("front right light", "right headlight", "headlight", "light"),
    "back left light": ("back left light", "left taillight", "taillight", "light"),
    "back right light": ("back right light", "right taillight", "taillight", "light"),
    "left mirror": ("left mirror", "left side mirror", "mirror"),
    "right mirror": ("right mirror", "right side mirror", "mirror"),
    "front glass": ("front glass", "windshield", "windscreen", "front window"),
    "back glass": ("back glass", "rear window", "back window"),
    "front bumper": ("front bumper", "bumper"),
    "back bumper": ("back bumper", "rear bumper", "bumper"),
    "hood": ("hood", "bonnet"),
    # Facades.
    "balcony fence": ("balcony fence", "balcony", "railing"),
    "facade": ("facade", "building front"),
    "shop": ("shop", "store"),
    "vegetation": ("vegetation", "greenery", "plants"),
    "traffic infrastructure": ("traffic infrastructure", "street furniture"),
}
"""Words that are true of everything the concept is true of, the most common first."""

NARROWER: dict[str, tuple[str, ...]] = {
    "person": ("man", "woman", "guy", "girl", "boy"),
    "dog": ("puppy",),
    "cat": ("kitten",),
    "cow": ("bull", "cattle"),
    "sheep": ("lamb",),
    "horse": ("pony",),
    "bird": ("parrot", "duck"),
    "airplane": ("jet",),
    "train": ("locomotive",),
    "boat": ("ship",),
    "dining table": ("desk",),
    "pottedplant": ("flower pot",),
    "tv": ("television", "monitor"),
    "cup": ("mug",),
    "bag": ("handbag",),
    "building": ("house",),
    "grass": ("lawn",),
    "water": ("river", "lake", "sea"),
    "mountain": ("hill",),
    "sign": ("road sign",),
    "skin": ("arms and legs",),
    "face": ("head",),
    "shirt": ("button shirt",),
    "blouse": ("shirt", "top"),
    "top": ("shirt", "tank top"),
    "sweatshirt": ("sweater",),
    "jacket": ("coat",),
    "coat": ("jacket",),
    "leggings": ("pants",),
    "shoes": ("shoe",),
    "hat": ("cap",),
    "bra": ("bikini top",),
    "facade": ("building", "house"),
    "vegetation": ("tree", "bush"),
}
"""Words that people use for some members of a concept; no annotation says for which."""

RELATED = (
    {"shirt", "t-shirt", "blouse", "top", "bodysuit", "vest"},
    {"sweater", "sweatshirt", "hoodie", "cardigan", "vest"},
    {"jacket", "blazer", "coat", "cape", "suit", "cardigan", "vest"},
    {"pants", "jeans", "leggings", "stockings", "shorts", "suit"},
    {"shoes", "boots", "heels", "pumps", "sneakers", "sandals", "loafers", "flats", "wedges"},
    {"handbag", "purse", "bag", "backpack", "suitcase", "wallet"},
    {"sunglasses", "glasses"},
    {"necklace", "bracelet", "earrings", "watch", "accessories", "belt"},
    {"dress", "skirt", "romper", "bodysuit"},
    {"hat", "accessories"},
    {"cup", "wine glass", "bowl", "vase", "bottle"},
    {"person", "bicyclist", "body"},
    {"bicycle", "motorcycle", "bicyclist"},
    {"car", "truck", "bus"},
    {"motorcycle", "car"},
    {"pottedplant", "flower", "tree", "vase", "grass"},
    {"road", "pavement"},
    {"chair", "sofa", "bench"},
    {"dining table", "bench"},
    {"tv", "laptop"},
    {"circle", "ball", "bubble", "dot", "button"},
    {"ring", "wheel", "button"},
    {"dot", "hole", "stain"},
    {"blob", "stain", "splatter", "patch", "cell", "stone"},
    {"square", "rectangle", "tile", "panel", "frame"},
    {"square", "diamond"},
    {"rectangle", "brick", "panel", "stroke"},
    {"tile", "panel", "brick", "hexagon"},
    {"window", "panel", "front glass", "back glass", "shop"},
    {"line", "scratch", "thread", "stroke", "crack"},
    {"worm", "thread", "stroke", "rod"},
    {"leaf", "sprout", "flower", "pottedplant", "vegetation", "grass tuft", "tree"},
    {"grass", "grass tuft", "vegetation"},
    {"mushroom", "mushroom cap"},
    {"drop", "leaf"},
    {"rod", "cell"},
    {"ball", "sports ball"},
    {"star", "flower", "splatter"},
    {"cross", "star"},
    {"wall", "facade", "building", "patch"},
    {"fence", "balcony fence"},
    {"trunk", "tailgate", "back bumper"},
    {"door", "front left door", "front right door", "back left door", "back right door"},
    {"traffic infrastructure", "sign", "pole", "non building infrastructure"},
    {"road", "street", "pavement"},
)
"""Groups of concepts that people confuse: a name alone never distinguishes them."""

WORN = frozenset(
    re.findall(
        r"[\w-]+",
        "accessories bag belt blazer blouse bodysuit boots bra bracelet cape cardigan coat "
        "dress earrings flats glasses gloves hair hat heels hoodie jacket jeans jumper "
        "leggings loafers necklace pants pumps purse romper sandals scarf shirt shoes shorts "
        "skin skirt sneakers socks stockings suit sunglasses sweater sweatshirt t-shirt tie "
        "tights top vest wallet watch wedges",
    )
)
"""What a person wears or is made of, in data sets that take one person apart."""

PARTS: dict[str, frozenset[str]] = {
    "cell": frozenset({"nucleus"}),
    "wall": frozenset({"window", "door"}),
    "facade": frozenset({"window", "door", "balcony fence", "shop"}),
    "building": frozenset({"window", "door", "balcony fence", "shop", "facade"}),
    "car": frozenset({"wheel", "hood", "trunk", "tailgate"}).union(
        name for name in SYNONYMS if name.startswith(("front ", "back ", "left ", "right "))
    ),
    "flower": frozenset({"leaf"}),
}
"""Things that are outlined on their own but may be meant as parts of the whole."""

CARRIED = frozenset({"bag", "purse", "wallet", "accessories", "handbag", "backpack"})
"""Worn things that may or may not be part of "the person"."""

PARTS_OF_PERSON = frozenset({"face", "body", "skin", "hair"})
"""What a person is made of, in data sets that annotate it separately."""

COLOURS = (
    "black", "white", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown",
)  # fmt: skip
PLACES = ("left", "right", "middle", "top", "bottom")
SIZES = ("big", "small")
TRAITS = ("striped", "dotted", "checkered", "plain", "dark", "bright")
SAID = tuple(
    re.findall(
        "[a-z]+",
        "object thing one ones part all both most far center gray and with of from two three four "
        "five six row column half side corner first second third fourth fifth upper lower highest "
        "lowest big bigger biggest large larger largest small smaller smallest little tiniest "
        "stripes stripy dots spots spotted checked darker darkest brighter brightest whole",
    )
)
"""The other words of the phrase templates in facts.py, groups.py, phrases.py and scenes.py."""


IRREGULAR_PLURALS = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "sheep": "sheep",
    "people": "people",
    "mouse": "mice",
    "knife": "knives",
    "nucleus": "nuclei",
    "leaf": "leaves",
    "vegetation": "vegetation",
    "greenery": "greenery",
    "infrastructure": "infrastructure",
    "furniture": "furniture",
}


def concept_of(category: str) -> str:
    """The concept of a category: "Traffic_Light" is "traffic light"."""
    name = key_of(category)
    return CONCEPT_OF_CATEGORY.get(name, name)


def words_for(concept: str) -> tuple[str, ...]:
    """The words that are always right for a concept, the most common first."""
    return SYNONYMS.get(concept, (concept,))


def every_word_for(concept: str) -> tuple[str, ...]:
    """The words that are always right for a concept, then those for some of its members."""
    return words_for(concept) + NARROWER.get(concept, ())


def may_be_called(concept: str, word: str) -> bool:
    """Whether people might use the word for something of this concept, even loosely."""
    if word == concept or word in every_word_for(concept):
        return True
    return any(
        word == other or word in every_word_for(other)
        for group in RELATED
        if concept in group
        for other in group
    )


def plural_of(words: str) -> str:
    """The plural of an English noun phrase, by rules that cover these categories."""
    head, space, noun = words.rpartition(" ")
    if noun in IRREGULAR_PLURALS:
        noun = IRREGULAR_PLURALS[noun]
    elif noun.endswith(("s", "x", "ch", "sh")):
        # "pants" and "glasses" are plurals already, "dress" and "bus" are not.
        plural = noun.endswith("s") and not noun.endswith(("ss", "us"))
        noun = noun if plural else noun + "es"
    elif noun.endswith("y") and noun[-2:-1] not in "aeiou":
        noun = noun[:-1] + "ies"
    else:
        noun += "s"
    return head + space + noun


def related(one: str, other: str) -> bool:
    """Whether two concepts may share a word, or one is a part of the other."""
    if one == other or set(every_word_for(one)) & set(every_word_for(other)):
        return True
    if is_part(one, other) or is_part(other, one) or {one, other} <= PARTS_OF_PERSON:
        return True
    return any(one in group and other in group for group in RELATED)


def is_part(one: str, whole: str) -> bool:
    """Whether ``one`` is, or is worn as, a part of ``whole``."""
    if one in PARTS.get(whole, ()):
        return True
    return whole in ("person", "bicyclist") and one in WORN | PARTS_OF_PERSON


def phrase_words(categories: Iterable[str]) -> list[str]:
    """All words of generated phrases about these categories: names, plurals, words of facts."""
    concepts = sorted({concept_of(category) for category in categories})
    names = [name for concept in concepts for name in (concept, *every_word_for(concept))]
    return [*names, *(plural_of(name) for name in names), *COLOURS, *PLACES, *SIZES, *TRAITS, *SAID]


def attributes_for(concepts: Iterable[str]) -> tuple[str, ...]:
    """All attribute names for data with these concepts, in a fixed order.

    A word is one attribute: "orange" is a fruit and a colour, "top" a garment and a place.
    """
    return tuple(dict.fromkeys((*sorted(set(concepts)), *COLOURS, *PLACES, *SIZES, *TRAITS)))
