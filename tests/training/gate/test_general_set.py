"""The general set is a yardstick: it must be frozen, reproducible, free to ship, and true."""

import hashlib
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from training.data import PackDataset
from training.evaluation.cases import cases_of, target_of
from training.gate.general_set import SHARD, open_general_set
from training.gate.general_set.make import make
from training.gate.general_set.scene import SOURCES

FROZEN = "be2a228de641eb24db0b42fee8065eee3f7fa888d1e872e1fe609d644e52e32d"


@pytest.fixture(scope="module")
def general() -> PackDataset:
    return open_general_set()


def test_it_is_frozen() -> None:
    assert hashlib.sha256(SHARD.read_bytes()).hexdigest() == FROZEN


def test_it_is_small_and_there_is_enough_to_ask(general: PackDataset) -> None:
    assert SHARD.stat().st_size < 2_500_000
    assert len(general) == 52
    assert general.skipped == 0
    assert len(cases_of(general, "clicks")) == len(cases_of(general, "phrase+clicks")) == 140
    assert all(max(general.size(index)) <= 320 for index in range(len(general)))


def test_every_object_is_there_large_enough_and_has_a_name(general: PackDataset) -> None:
    for case in cases_of(general, "clicks"):
        target = target_of(general[case.index], case)
        assert np.count_nonzero(target.mask & ~target.void) >= 120
        assert case.phrase


def test_names_tell_two_of_a_kind_apart_truly(general: PackDataset) -> None:
    # given every pair of which one is called the left and the other the right one
    pairs = 0
    for index in range(len(general)):
        sample = general[index]
        middles = {
            about.phrases[0]: float(np.nonzero(sample.mask(about.id))[1].mean())
            for about in sample.objects
        }
        for phrase, middle in middles.items():
            other = phrase.replace("left ", "right ")
            if phrase.startswith("left ") and other in middles:
                # then it lies where its name says
                assert middle < middles[other], (sample.key, phrase)
                pairs += 1
    assert pairs >= 4


def test_each_picture_says_whose_it_is_and_under_which_terms() -> None:
    with tarfile.open(SHARD) as archive:
        for member in archive:
            if member.name.endswith(".json"):
                stream = archive.extractfile(member)
                assert stream is not None
                licences = json.load(stream)["licence"]
                assert licences
                for licence in licences:
                    if licence["photograph"] is not None:
                        source = SOURCES[licence["photograph"]]
                        assert (licence["terms"], licence["by"]) == (source.terms, source.by)


@pytest.mark.slow
def test_it_can_be_made_again_from_scikit_image_alone(general: PackDataset, tmp_path: Path) -> None:
    # when made anew
    make(tmp_path / "again.tar")
    again = PackDataset([tmp_path / "again.tar"])
    # then masks and names are the very same, and pictures but for their encoder
    assert len(again) == len(general)
    for index in range(len(general)):
        old, new = general[index], again[index]
        assert (old.key, old.objects) == (new.key, new.objects)
        assert np.mean(old.instances != new.instances) < 0.001
        assert np.mean(np.abs(old.image.astype(float) - new.image)) < 2.0
