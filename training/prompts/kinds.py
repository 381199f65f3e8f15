"""Words for what synthetic scenes, car parts and facades show: the vocabulary's second half.

The same tables as in `vocabulary`, which joins them; see there for what each one means.
"""

from __future__ import annotations

SYNONYMS: dict[str, tuple[str, ...]] = {
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

NARROWER: dict[str, tuple[str, ...]] = {
    "facade": ("building", "house"),
    "vegetation": ("tree", "bush"),
}

RELATED = (
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

PARTS: dict[str, frozenset[str]] = {
    "cell": frozenset({"nucleus"}),
    "wall": frozenset({"window", "door"}),
    "facade": frozenset({"window", "door", "balcony fence", "shop"}),
    "building": frozenset({"window", "door", "balcony fence", "shop", "facade"}),
    "car": frozenset(
        {
            "wheel",
            "hood",
            "trunk",
            "tailgate",
            *(n for n in SYNONYMS if n.startswith(("front ", "back ", "left ", "right "))),
        }
    ),
    "flower": frozenset({"leaf"}),
}
"""What is outlined by itself but may be meant as a part of the whole."""

IRREGULAR_PLURALS = {
    "nucleus": "nuclei",
    "leaf": "leaves",
    "vegetation": "vegetation",
    "greenery": "greenery",
    "infrastructure": "infrastructure",
    "furniture": "furniture",
}
