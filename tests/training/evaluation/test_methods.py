"""What a project is served: suggestions of its champion, and the base for labels not learned."""

from pathlib import Path

import numpy as np
import pytest

from training.data import PackDataset
from training.evaluation import methods
from training.evaluation.methods import Checkpoint, Served


def test_suggestions_are_those_of_a_batch_prediction(
    unlearned: Path, shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a network that learned nothing, so that any confidence will do
    monkeypatch.setattr(methods, "LEAST_CONFIDENCE", 0.0)
    model, sample = Checkpoint(unlearned, device="cpu"), PackDataset([shard])[0]
    embedding = model.predictor.encode(sample.image, "picture")
    expected = model.predictor.instances_by_name(embedding, ["dog", "cat"], 0.0)
    # when, with a label that it has no word for
    regions = model.suggest(sample, "picture", ["dog", "kwyjibo", "cat"])
    # then
    assert [(region.label, region.confidence) for region in regions] == [
        (name, instance.confidence) for name, instance in expected
    ]
    for region, (_, instance) in zip(regions, expected, strict=True):
        assert np.array_equal(region.mask, instance.mask())
        assert region.mask.shape == sample.instances.shape


def test_a_label_that_the_champion_has_not_learned_is_answered_by_the_base(
    unlearned: Path,
) -> None:
    champion, base = (Checkpoint(unlearned, device="cpu") for _ in range(2))
    champion.labels = {"dog": 9, "cat": 1}
    served = Served(champion, base)
    assert served.for_label("dog") is champion
    assert served.for_label("cat") is base
