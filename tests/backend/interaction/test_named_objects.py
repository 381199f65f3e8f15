"""Objects that words name come from the versions that serve their labels, each once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest

from backend.interaction.named_objects import kinds_of, objects_named
from backend.label_studio.controls import BrushControl, Label
from model.crop import Box
from model.instances import Instance
from model.predictor import Embedding, Predictor

LABELS = ("Cup", "Dog", "Left lung")
BRUSH = BrushControl("brush", tuple(map(Label, LABELS)))


def thing(left: int, confidence: float) -> Instance:
    return Instance(100, 50, Box(left, 0, left + 10, 10), np.ones((10, 10), np.bool_), confidence)


@dataclass(frozen=True)
class Version:
    """Finds the same objects for every name."""

    version: str
    objects: tuple[Instance, ...]

    def instances_by_name(self, _: Embedding, names: Sequence[str], __: float) -> Any:
        return [(name, one) for name in names for one in self.objects], [0.9] * len(names)


@pytest.mark.parametrize(
    ("phrase", "meant"),
    [
        # the dog is the second cup, too, and surer
        ("cups and dogs", [("Dog", "base", 50), ("Cup", "tuned", 10)]),
        ("left cups", [("Cup", "tuned", 10)]),
        ("cups and left dogs", [("Cup", "tuned", 50), ("Cup", "tuned", 10)]),
        ("left lungs", [("Left lung", "tuned", 50), ("Left lung", "tuned", 10)]),
    ],
)
def test_each_label_is_found_by_its_version_and_each_object_once(
    phrase: str, meant: list[tuple[str, str, int]]
) -> None:
    # given a version that has not learned dogs, and the base
    versions = {
        "tuned": Version("tuned", (thing(50, 0.8), thing(10, 0.7))),
        "base": Version("base", (thing(51, 0.9),)),
    }
    labels = [(BRUSH, label) for label in BRUSH.labels]
    other = labels[2] if "lung" in phrase else labels[0]
    # when
    objects, _ = objects_named(
        kinds_of(phrase, labels, other),
        lambda label: cast(Predictor, versions["base" if label == Label("Dog") else "tuned"]),
        lambda predictor: cast(Embedding, None),
        0.4,
    )
    # then
    found = [(one.label and one.label.value, one.version, one.instance.box.left) for one in objects]
    assert found == [(label, version, 51 if label == "Dog" else at) for label, version, at in meant]
