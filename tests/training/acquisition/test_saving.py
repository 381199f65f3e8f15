"""What a training may save: clicks on objects that are sure by name and missed by clicks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model.predictor import Predictor
from training.acquisition import acquisition
from training.finetune.pseudo_objects import PseudoObject

Saving = Callable[[float, float], float]

PICTURE = np.zeros((40, 60, 3), np.uint8)


@pytest.fixture
def saving(unlearned: Path, monkeypatch: pytest.MonkeyPatch) -> Saving:
    """The saving of a picture with one object of this confidence and cost."""
    predictor = Predictor(unlearned, device="cpu")
    mask = np.zeros(PICTURE.shape[:2], bool)
    mask[10:30, 20:40] = True

    def expected(confidence: float, cost: float) -> float:
        objects = [PseudoObject(mask, "dog", confidence)]
        monkeypatch.setattr(acquisition, "named_objects", lambda *_: (objects, confidence))
        monkeypatch.setattr(acquisition, "_cost", lambda *_: cost)
        return acquisition.expected_clicks(predictor, PICTURE, names=("dog",)).saving

    return expected


def test_one_click_leaves_nothing_to_save(saving: Saving) -> None:
    assert saving(0.95, 1.0) == 0.0


def test_the_surer_and_the_costlier_the_more_may_be_saved(saving: Saving) -> None:
    assert saving(0.95, 4.0) > saving(0.95, 2.5) > saving(0.8, 2.5) > 0.0


def test_what_is_hardly_there_promises_nothing(saving: Saving) -> None:
    assert saving(0.5, 5.0) == saving(0.4, 5.0) == 0.0
