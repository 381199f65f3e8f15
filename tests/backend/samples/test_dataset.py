"""Accepted samples as a data set: pictures, masks, categories, phrases, clicks, splits."""

import hashlib
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from backend.db.models import SampleRow
from backend.samples.dataset import _layers, export
from backend.samples.rules import (
    CHANGED,
    GONE,
    OTHER_ANNOTATION,
    UNSEEN,
    count_samples,
    labeled,
    side,
)
from tests.backend.conftest import photograph
from tests.backend.samples.studio import HEIGHT, PROJECT, WIDTH, region, settle, square
from tests.backend.samples.studio_pictures import SIZE, Team
from training.data import Dataset, PackDataset, Tolerant, open_dataset
from training.data.sample import sides
from training.errors import DataError


def test_a_sample_is_picture_masks_categories_phrases_and_clicks(team: Team) -> None:
    # given
    cat, dog = square(4, 4), square(30, 20, 12)
    team.label(1, [region("a", cat), region("b", dog, "d")])
    with team.database.write() as connection:
        made = {"phrase": "the brown dog", "clicks": [[50.0, 25.0, True], [10.0, 75.0, False]]}
        connection.execute(update(SampleRow).where(SampleRow.region_id == "b").values(**made))
    team.look()
    # when
    dataset: Dataset = team.dataset()
    sample = dataset[0]
    # then
    assert (len(dataset), list(dataset.sources)) == (1, ["team"])
    assert sample.image.shape == (HEIGHT, WIDTH, 3)
    assert np.array_equal(sample.mask(1), cat)
    assert np.array_equal(sample.mask(2), dog)
    assert [(o.id, o.category, o.phrases) for o in sample.objects] == [
        (1, "Cat", ()),
        (2, "Dog", ("the brown dog",)),  # an alias is read as its label
    ]
    assert dataset.objects(0) == sample.objects
    assert dataset.size(0) == (WIDTH, HEIGHT)
    assert dataset.expressions(0) == ()
    assert sample.objects[1].clicks == ((32.0, 12.0, True), (6.4, 36.0, False))


def test_overlapping_masks_stay_whole(team: Team) -> None:
    rider, horse = square(10, 10, 6), square(5, 5, 20)
    team.label(1, [region("h", horse), region("r", rider)])
    team.look()

    sample = team.dataset()[0]

    assert np.array_equal(sample.mask(1), horse)
    assert np.array_equal(sample.mask(2), rider)
    assert sample.instances[12, 12] == 2


def test_of_several_annotations_the_ground_truth_counts_then_the_newest(team: Team) -> None:
    team.label(1, [region("old")])
    settle(team.store, team.studio.submit(11, 1, [region("new", label="Dog")], completed_by=2))
    team.look()
    assert [o.category for o in team.dataset().objects(0)] == ["Dog"]
    assert len(team.dataset()) == 1

    settle(team.store, team.studio.update(1, [region("old")], ground_truth=True))
    settle(team.store, team.studio.update(11, [region("new", label="Dog")]))
    team.look()
    assert [o.category for o in team.dataset().objects(0)] == ["Cat"]
    assert count_samples(team.database, PROJECT.key).of("regions left out")[OTHER_ANNOTATION] == 1


def test_an_annotation_without_masks_does_not_stand_in_the_way(team: Team) -> None:
    team.label(1, [region()])
    settle(team.store, team.studio.submit(11, 1, []))
    team.look()

    assert len(team.dataset()) == 1


def test_a_label_that_the_config_lost_keeps_its_name(team: Team) -> None:
    team.label(1, [region(label="Horse")])
    team.look()

    assert [o.category for o in team.dataset().objects(0)] == ["Horse"]
    assert (
        count_samples(team.database, PROJECT.key).of("regions that count")[
            "label unknown to the config"
        ]
        == 1
    )


def test_pictures_unseen_gone_and_changed_do_not_count_and_are_counted(team: Team) -> None:
    addresses = {n: team.label(n, [region("a"), region("b")]) for n in (1, 2, 3)}
    del team.host.pictures[addresses[2]]
    team.look()
    team.label(4, [region()])
    team.host.pictures[addresses[3]] = photograph(SIZE, seed=99)
    team.empty_cache()
    dataset = team.dataset()
    good = [n for n in range(len(dataset)) if Tolerant(dataset).get(n) is not None]

    assert len(good) == 1
    counts = count_samples(team.database, PROJECT.key)
    assert counts.of("regions left out") == {GONE: 2, CHANGED: 2, UNSEEN: 1}
    assert sum(counts.of("regions").values()) == 2
    assert sum(counts.of("pictures").values()) == 1
    assert len(team.dataset()) == 1


def test_a_picture_that_breaks_later_is_reported_and_skipped(team: Team) -> None:
    address = team.label(1, [region()])
    team.look()
    dataset = team.dataset()
    del team.host.pictures[address]
    team.empty_cache()

    with pytest.raises(DataError, match=r"task-1-annotation-1-image: The picture could not"):
        dataset[0]
    assert Tolerant(dataset).get(0) is None


def test_samples_deleted_during_a_run_are_reported_and_skipped(team: Team) -> None:
    team.label(1, [region()])
    team.look()
    dataset = team.dataset()
    settle(team.store, team.studio.delete(1))

    with pytest.raises(DataError, match="changed or deleted"):
        dataset[0]


# -- the split


def test_a_fifth_is_held_out_and_a_picture_stays_on_its_side() -> None:
    keys = [hashlib.sha256(b"%d" % n).hexdigest() for n in range(4000)]
    held_out = [key for key in keys if side(key) == "validation"]

    assert 0.17 < len(held_out) / len(keys) < 0.23
    assert side("00" * 32) == "validation"
    assert side("33" * 32) == "validation"
    assert side("34" * 32) == "train"
    assert side("ff" * 32) == "train"


def test_a_picture_of_two_tasks_is_never_set_aside_for_one_of_them() -> None:
    # given few pictures that the hash lets train, each in two tasks, so that some are set aside
    keys = [f"{digit}" * 64 for digit in "456789abcdef"]
    # when
    parts = sides([*keys, *keys])
    # then
    held_out = {n % len(keys) for n in parts["validation"]}
    assert held_out == {0, 1, 2, 3}
    assert sorted(parts["train"]) == [n for n in range(24) if n % 12 not in held_out]
    # and one picture alone trains
    assert sides(["ff" * 32] * 9) == {"train": list(range(9)), "validation": []}


def test_no_held_out_picture_trains_and_two_tasks_with_one_picture_are_on_one_side(
    team: Team,
) -> None:
    # given: each picture twice, under two addresses
    for number in range(1, 31):
        team.label(number, [region()])
        team.label(100 + number, [region()], seed=number)
    team.look()
    # then
    keys = {}
    for split in ("train", "validation"):
        dataset = team.dataset(split)  # type: ignore[arg-type]
        assert {dataset.split(n) for n in range(len(dataset))} == {split}
        keys[split] = [dataset.place(n).key for n in range(len(dataset))]
        assert all(keys[split].count(key) == 2 for key in keys[split])
    assert set(keys["train"]).isdisjoint(keys["validation"])
    assert len(keys["train"]) + len(keys["validation"]) == 60 == len(team.dataset())
    assert keys["validation"]


def test_counts_of_everything(team: Team) -> None:
    empty = np.zeros((HEIGHT, WIDTH), dtype=bool)
    team.label(1, [region("a"), region("b"), region("e", empty)])
    team.label(2, [])
    settle(team.store, team.studio.submit(3, team.studio.task(3), [], was_cancelled=True))
    settle(team.store, team.studio.submit(4, team.studio.task(4), [region()]))
    settle(team.store, team.studio.delete(4))
    made = {"clicks": [[50.0, 25.0, True]], "phrase": "it"}
    with team.database.write() as connection:
        connection.execute(update(SampleRow).where(SampleRow.region_id == "a").values(**made))
    team.look()

    counts = count_samples(team.database, PROJECT.key)

    assert counts.of("annotations") == {
        "accepted": 1,
        "skipped": 1,
        "without a mask": 1,
        "deleted": 1,
    }
    assert counts.of("regions that count") == {
        "with clicks": 1,
        "with a phrase": 1,
        "with neither": 1,
        "label unknown to the config": 0,
    }
    assert counts.of("regions left out") == {"empty mask": 1}
    assert sum(counts.of("regions").values()) == 2
    assert counts.numbers["regions left out", "empty mask"] == 1
    assert len(labeled(team.database, PROJECT.key)) == 1


def test_a_shard_holds_the_samples(team: Team, tmp_path: Path) -> None:
    # given
    cat, dog = square(4, 4), square(30, 20, 12)
    team.label(1, [region("a", cat), region("b", dog, "Dog")])
    team.label(2, [region("c", dog)])
    team.look()
    # when
    path = tmp_path / "out" / "team.tar"
    steps: list[tuple[int, int]] = []
    assert export(team.dataset(), path, lambda *step: steps.append(step)) == (3, [])
    # then
    assert steps == [(1, 2), (2, 2)]
    shard = open_dataset([path])
    assert isinstance(shard, PackDataset)
    assert (len(shard), shard.skipped, shard.sources) == (2, 0, ["team", "team"])
    first = shard[0]
    assert np.array_equal(first.mask(1), cat)
    assert np.array_equal(first.mask(2), dog)
    assert [o.category for o in first.objects] == ["Cat", "Dog"]
    original = team.dataset()[0].image.astype(int)
    assert np.abs(first.image.astype(int) - original).mean() < 4
    assert [entry.name for entry in path.parent.iterdir()] == ["team.tar"]


def test_masks_that_overlap_are_whole_in_records_of_their_own(team: Team, tmp_path: Path) -> None:
    rider, horse, tree = square(10, 10, 6), square(5, 5, 20), square(50, 5)
    team.label(1, [region("h", horse), region("r", rider, "Dog"), region("t", tree)])
    team.look()
    path = tmp_path / "team.tar"

    assert export(team.dataset(), path) == (3, [])

    shard = PackDataset([path])
    assert [[o.category for o in shard.objects(n)] for n in range(2)] == [["Cat", "Cat"], ["Dog"]]
    assert np.array_equal(shard[0].mask(1), horse)
    assert np.array_equal(shard[0].mask(2), tree)
    assert np.array_equal(shard[1].mask(1), rider)


def test_neighbours_that_share_a_border_stay_together() -> None:
    left, right = square(0, 0, 20), square(20, 0, 20)
    right[0, 19] = True

    assert list(_layers({1: left, 2: right})) == [{1, 2}]


def test_more_objects_than_a_map_has_numbers_go_into_several_records() -> None:
    masks = {}
    for number in range(1, 301):
        masks[number] = np.zeros((HEIGHT, WIDTH), dtype=bool)
        masks[number].flat[number] = True

    assert [len(layer) for layer in _layers(masks)] == [254, 46]


def test_clicks_phrase_and_side_go_along(team: Team, tmp_path: Path) -> None:
    team.label(1, [region()])
    with team.database.write() as connection:
        made = {"clicks": [[50.0, 25.0, False]], "phrase": "die Katze ☂"}
        connection.execute(update(SampleRow).values(**made))
    team.look()
    path = tmp_path / "team.tar"
    export(team.dataset(), path)

    with tarfile.open(path) as archive:
        name = next(n for n in archive.getnames() if n.endswith(".json"))
        stream = archive.extractfile(name)
        assert stream is not None
        about = json.load(stream)
    assert about["objects"][0]["clicks"] == [[32.0, 12.0, False]]
    assert about["split"] == team.dataset().split(0)
    (read,) = PackDataset([path]).objects(0)
    assert read.phrases == ("die Katze ☂",)
    assert read.clicks == ((32.0, 12.0, False),)


def test_unreadable_samples_are_reported_and_the_rest_written(team: Team, tmp_path: Path) -> None:
    address = team.label(1, [region()])
    team.label(2, [region()])
    team.look()
    dataset = team.dataset()
    del team.host.pictures[address]
    team.empty_cache()

    written, missing = export(dataset, tmp_path / "team.tar")

    assert written == 1
    assert len(missing) == 1
    assert missing[0].startswith("project-6-task-1-annotation-1-image")


def test_a_broken_off_export_leaves_nothing(team: Team, tmp_path: Path) -> None:
    team.label(1, [region()])
    team.look()
    path = tmp_path / "out" / "team.tar"
    path.parent.mkdir()
    path.write_bytes(b"the one before")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(team.dataset(), path, stop)
    assert path.read_bytes() == b"the one before"
    assert [entry.name for entry in path.parent.iterdir()] == ["team.tar"]
