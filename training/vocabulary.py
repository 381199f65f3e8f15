"""What the categories of the data sets are called, and which of them are the same thing.

Data sets disagree about names ("sofa", "couch"; "tvmonitor", "tv"), people more so. A *concept* is
one thing under one name; every category maps to one, every concept has the words people use for
it. Attributes (what the attribute head must tell from a phrase) are concepts, colours, places and
sizes.
"""

from __future__ import annotations

from collections.abc import Iterable

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
"""Categories that are another one under a second name. All others are their own concept."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "person": ("person", "person", "man", "woman", "guy", "girl", "boy", "human", "people"),
    "dog": ("dog", "dog", "puppy", "doggy"),
    "cat": ("cat", "cat", "kitten", "kitty"),
    "cow": ("cow", "cow", "bull", "cattle"),
    "sheep": ("sheep", "sheep", "lamb"),
    "horse": ("horse", "horse", "pony"),
    "bird": ("bird", "bird", "parrot", "duck"),
    "airplane": ("airplane", "plane", "aeroplane", "jet", "aircraft"),
    "motorcycle": ("motorcycle", "motorbike", "bike"),
    "bicycle": ("bicycle", "bike", "cycle"),
    "bicyclist": ("bicyclist", "cyclist", "biker"),
    "car": ("car", "car", "auto", "vehicle"),
    "bus": ("bus",),
    "truck": ("truck", "lorry"),
    "train": ("train", "locomotive"),
    "boat": ("boat", "ship"),
    "sofa": ("sofa", "couch"),
    "dining table": ("table", "dining table", "desk"),
    "pottedplant": ("plant", "potted plant", "flower pot"),
    "tv": ("tv", "television", "monitor", "screen"),
    "chair": ("chair", "seat"),
    "cell phone": ("cell phone", "phone", "mobile"),
    "wine glass": ("wine glass", "glass"),
    "cup": ("cup", "mug"),
    "handbag": ("handbag", "bag", "purse"),
    "purse": ("purse", "handbag", "bag"),
    "bag": ("bag", "handbag"),
    "backpack": ("backpack", "bag"),
    "suitcase": ("suitcase", "luggage", "bag"),
    "refrigerator": ("refrigerator", "fridge"),
    "teddy bear": ("teddy bear", "teddy", "stuffed animal"),
    "donut": ("donut", "doughnut"),
    "hair drier": ("hair drier", "hair dryer"),
    "remote": ("remote", "remote control"),
    "mouse": ("mouse", "computer mouse"),
    "laptop": ("laptop", "computer"),
    "building": ("building", "house"),
    "tree": ("tree", "trees"),
    "grass": ("grass", "lawn"),
    "water": ("water", "river", "lake", "sea"),
    "mountain": ("mountain", "hill"),
    "road": ("road", "street"),
    "pavement": ("pavement", "sidewalk"),
    "sign": ("sign", "road sign"),
    "pole": ("pole", "post"),
    "hair": ("hair",),
    "skin": ("skin", "arms and legs", "bare skin"),
    "face": ("face", "head"),
    "body": ("body",),
    "t-shirt": ("tshirt", "t-shirt", "shirt", "tee"),
    "shirt": ("shirt", "shirt", "button shirt"),
    "blouse": ("blouse", "shirt", "top"),
    "top": ("top", "shirt", "tank top"),
    "sweater": ("sweater", "jumper", "pullover"),
    "sweatshirt": ("sweatshirt", "sweater"),
    "hoodie": ("hoodie", "sweatshirt"),
    "cardigan": ("cardigan", "sweater"),
    "jacket": ("jacket", "coat"),
    "blazer": ("blazer", "jacket"),
    "coat": ("coat", "jacket"),
    "pants": ("pants", "trousers", "slacks"),
    "jeans": ("jeans", "pants", "denim"),
    "leggings": ("leggings", "pants"),
    "stockings": ("stockings", "tights"),
    "shoes": ("shoes", "shoe", "footwear"),
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
    "accessories": ("accessories",),
    "hat": ("hat", "cap"),
    "suit": ("suit",),
    "bra": ("bra", "bikini top"),
    "couch": ("couch", "sofa"),
}

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
    {"person", "bicyclist", "face", "body", "skin", "hair"},
    {"bicycle", "motorcycle", "bicyclist"},
    {"car", "truck", "bus"},
    {"pottedplant", "flower", "tree", "vase", "grass"},
    {"road", "pavement"},
    {"chair", "sofa", "bench"},
    {"dining table", "bench"},
    {"tv", "laptop"},
)
"""Concepts that one may say for another: never told apart by name alone, never "absent"."""

WORN = frozenset(
    {
        "accessories",
        "bag",
        "belt",
        "blazer",
        "blouse",
        "bodysuit",
        "boots",
        "bra",
        "bracelet",
        "cape",
        "cardigan",
        "coat",
        "dress",
        "earrings",
        "flats",
        "glasses",
        "gloves",
        "hair",
        "hat",
        "heels",
        "hoodie",
        "jacket",
        "jeans",
        "jumper",
        "leggings",
        "loafers",
        "necklace",
        "pants",
        "pumps",
        "purse",
        "romper",
        "sandals",
        "scarf",
        "shirt",
        "shoes",
        "shorts",
        "skin",
        "skirt",
        "sneakers",
        "socks",
        "stockings",
        "suit",
        "sunglasses",
        "sweater",
        "sweatshirt",
        "t-shirt",
        "tie",
        "tights",
        "top",
        "vest",
        "wallet",
        "watch",
        "wedges",
    }
)
"""What a person wears or is made of, in data sets that take one person apart."""

CARRIED = frozenset({"bag", "purse", "wallet", "accessories", "handbag", "backpack"})
"""Worn things of which nobody can say whether they are part of "the person"."""

COLOURS = (
    "black",
    "white",
    "grey",
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
)
PLACES = ("left", "right", "middle", "top", "bottom")
SIZES = ("big", "small")


def concept_of(category: str) -> str:
    """The one name of what this category means."""
    return CONCEPT_OF_CATEGORY.get(category, category)


def words_for(concept: str) -> tuple[str, ...]:
    """What people call it; the first is the plainest."""
    return SYNONYMS.get(concept, (concept,))


def plural_of(words: str) -> str:
    """The plural of an English noun phrase, by the rules that cover the categories here."""
    head, space, noun = words.rpartition(" ")
    irregular = {
        "person": "people",
        "man": "men",
        "woman": "women",
        "sheep": "sheep",
        "people": "people",
        "mouse": "mice",
        "knife": "knives",
    }
    if noun in irregular:
        noun = irregular[noun]
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
    """Whether the two concepts may go by the same word, or one is a part of the other."""
    if one == other or set(words_for(one)) & set(words_for(other)):
        return True
    if "person" in (one, other) and ({one, other} - {"person"}) & (WORN | {"face", "body"}):
        return True
    return any(one in group and other in group for group in RELATED)


def attributes_for(concepts: Iterable[str]) -> tuple[str, ...]:
    """All attribute names for data with these concepts, in a fixed order, each once.

    "orange" is a fruit and a colour, "top" a garment and a place: one word, one attribute.
    """
    return tuple(dict.fromkeys((*sorted(set(concepts)), *COLOURS, *PLACES, *SIZES)))
